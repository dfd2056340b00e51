"""Projects: a row in the registry and a database each."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final, NamedTuple

import asyncpg

from verdex.contracts import DEFAULT_PROJECT, Embedder
from verdex.errors import (
    DatabaseNotFound,
    ProjectExists,
    ProjectInUse,
    ProjectNameInvalid,
    ProjectNotFound,
)
from verdex.storage import vectors
from verdex.storage.database import Connection, Database, Server
from verdex.storage.migrations import migrate
from verdex.storage.statements import statement

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,54}")


class Project(NamedTuple):
    """A row of `projects`."""

    id: str
    database_name: str
    created_at: datetime
    embedder: Embedder | None = None
    """What searches by meaning are made with; None: they go by words only."""


def database_name(project_id: str) -> str:
    """Name of the database of a project.

    >>> database_name("web-shop")
    'cb_proj_web_shop'
    """
    return "cb_proj_" + re.sub(r"[^a-z0-9_]", "_", project_id.lower())


class Projects:
    """Creates, finds and drops projects."""

    def __init__(self, server: Server) -> None:
        """The registry and the databases of the projects are on `server`."""
        self._server = server

    async def create(self, project_id: str, embedder: Embedder | None = None) -> Project:
        """Create the database of a project and register it; what an interrupted call left behind is taken up.

        `Verdex.embedder` gives an embedder whose dimensions are known.

        Raises:
            ProjectNameInvalid, ProjectExists
            VectorsUnsupported, DatabaseRefused: PostgreSQL cannot store what the embedder makes.
        """
        if not _NAME.fullmatch(project_id):
            raise ProjectNameInvalid(
                f'"{project_id}" cannot name a project: use 1 to 55 of a-z, 0-9, "_" and "-"; '
                "the first is a letter or a digit"
            )
        name = database_name(project_id)
        async with self._locked(name) as registry:
            if taken := await registry.fetchval("SELECT id FROM projects WHERE database_name = $1", name):
                raise ProjectExists(_taken(project_id, taken, name))
            if not await registry.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
                with statement(registry, "CREATE DATABASE"):
                    await registry.execute(f'CREATE DATABASE "{name}" TEMPLATE template0 ENCODING UTF8')
            await self._set_up(name, embedder)
            row = await registry.fetchrow(
                "INSERT INTO projects (id, database_name, embedder) VALUES ($1, $2, $3) RETURNING *",
                project_id,
                name,
                _stored(embedder),
            )
        assert row is not None  # noqa: S101  (RETURNING of a plain INSERT)
        return _project(row)

    async def set_embedder(self, project_id: str, embedder: Embedder | None) -> Project:
        """Give a project an embedder, another one, or none. The project `default` is created where it is missing.

        Nothing is embedded by this: until a repository is indexed anew, searches use what is there of it.

        Raises:
            ProjectNotFound, DatabaseNotFound
            ProjectInUse: a job of the project has not ended.
            VectorsUnsupported, DatabaseRefused: PostgreSQL cannot store what the embedder makes.
        """
        name = (await self.find(project_id)).database_name
        async with self._locked(name) as registry:
            await _refuse_while_running(registry, project_id)
            await self._set_up(name, embedder)
            row = await registry.fetchrow(
                "UPDATE projects SET embedder = $2 WHERE id = $1 RETURNING *", project_id, _stored(embedder)
            )
        if row is None:  # dropped in between
            raise ProjectNotFound(project_id, name)
        return _project(row)

    async def _set_up(self, name: str, embedder: Embedder | None) -> None:
        database = self._server.database(name)
        await migrate(database, "project")
        if embedder is not None:
            await vectors.prepare(database, embedder)

    @asynccontextmanager
    async def _locked(self, name: str) -> AsyncIterator[Connection]:
        """A connection that alone creates or drops the database `name`, outside a transaction as both must be.

        The pool unlocks it when it is given back. To take a second one meanwhile could wait for ever.
        """
        async with self._server.registry.connection() as connection:
            await connection.execute("SELECT pg_advisory_lock(hashtextextended($1, 0))", name)
            yield connection

    async def list(self) -> list[Project]:
        """All projects, by name."""
        async with self._server.registry.connection() as connection:
            rows = await connection.fetch("SELECT * FROM projects ORDER BY id")
        return [_project(row) for row in rows]

    async def database(self, project_id: str) -> Database:
        """The database of a project; raises as `find`."""
        return self._server.database((await self.find(project_id)).database_name)

    async def find(self, project_id: str, *, create_default: bool = True) -> Project:
        """A project; `default` is created where it is missing.

        Raises:
            ProjectNotFound: nobody created the project.
            DatabaseNotFound: somebody dropped its database.
        """
        name = database_name(project_id)
        async with self._server.registry.connection() as connection:
            row = await connection.fetchrow("SELECT * FROM projects WHERE database_name = $1", name)
            exists = await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name)
        if row is None and project_id == DEFAULT_PROJECT and create_default:
            return await self._create_default()
        if row is None or row["id"] != project_id:
            raise ProjectNotFound(project_id, name, alike=row["id"] if row else None)
        if not exists:
            raise DatabaseNotFound(
                f'database "{name}" does not exist, though project "{project_id}" does: restore it, or begin anew with '
                f"verdex project drop {project_id} and verdex project create {project_id}"
            )
        return _project(row)

    async def _create_default(self) -> Project:
        try:
            return await self.create(DEFAULT_PROJECT)
        except ProjectExists:  # another worker was faster
            return await self.find(DEFAULT_PROJECT, create_default=False)

    async def drop(self, project_id: str) -> None:
        """Drop the database of a project and what the registry knows of it, but for its jobs: they are history.

        Raises:
            ProjectNotFound
            ProjectInUse: a job of the project has not ended.
        """
        name = database_name(project_id)
        async with self._locked(name) as registry:
            if not await registry.fetchval("SELECT true FROM projects WHERE id = $1", project_id):
                raise ProjectNotFound(project_id, name)
            await _refuse_while_running(registry, project_id)
            await self._server.forget(name)
            await registry.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            # Last, so that what is left of an interrupted call can be dropped again.
            await registry.execute("DELETE FROM projects WHERE id = $1", project_id)


def _project(row: asyncpg.Record) -> Project:
    embedder = row.get("embedder")  # a registry that no worker of this version has migrated yet has none
    return Project(
        row["id"],
        row["database_name"],
        row["created_at"],
        None if embedder is None else Embedder.model_validate_json(embedder),
    )


def _stored(embedder: Embedder | None) -> str | None:
    return None if embedder is None else embedder.model_dump_json()


async def _refuse_while_running(registry: Connection, project_id: str) -> None:
    job = await registry.fetchval(
        "SELECT id FROM indexing_jobs WHERE project_id = $1 AND status IN ('pending', 'running', 'blocked') LIMIT 1",
        project_id,
    )
    if job is not None:
        raise ProjectInUse(f'project "{project_id}" is being indexed by job {job}: wait for it or cancel it first')


def _taken(project_id: str, other: str, name: str) -> str:
    if other == project_id:
        return f'project "{project_id}" exists already'
    return f'project "{project_id}" would share database "{name}" with project "{other}": choose another name'
