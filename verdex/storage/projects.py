"""Projects: a row in the registry and a database each."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Final, NamedTuple

from verdex.contracts import DEFAULT_PROJECT
from verdex.errors import (
    DatabaseNotFound,
    ProjectExists,
    ProjectInUse,
    ProjectNameInvalid,
    ProjectNotFound,
)
from verdex.storage.database import Connection, Database, Server
from verdex.storage.migrations import migrate
from verdex.storage.statements import statement

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,54}")


class Project(NamedTuple):
    """A row of `projects`."""

    id: str
    database_name: str
    created_at: datetime


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

    async def create(self, project_id: str) -> Project:
        """Create the database of a project and register it; what an interrupted call left behind is taken up.

        Raises:
            ProjectNameInvalid, ProjectExists
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
            await migrate(self._server.database(name), "project")
            row = await registry.fetchrow(
                "INSERT INTO projects (id, database_name) VALUES ($1, $2) RETURNING *", project_id, name
            )
        assert row is not None  # noqa: S101  (RETURNING of a plain INSERT)
        return Project(**row)

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
            rows = await connection.fetch("SELECT id, database_name, created_at FROM projects ORDER BY id")
        return [Project(**row) for row in rows]

    async def database(self, project_id: str, *, create_default: bool = True) -> Database:
        """The database of a project; of `default`, created where it is missing.

        Raises:
            ProjectNotFound: nobody created the project.
            DatabaseNotFound: somebody dropped its database.
        """
        name = database_name(project_id)
        async with self._server.registry.connection() as connection:
            found = await connection.fetchval("SELECT id FROM projects WHERE database_name = $1", name)
            exists = await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name)
        if found is None and project_id == DEFAULT_PROJECT and create_default:
            await self._create_default()
        elif found != project_id:
            raise ProjectNotFound(project_id, name, alike=found)
        elif not exists:
            raise DatabaseNotFound(
                f'database "{name}" does not exist, though project "{project_id}" does: restore it, or begin anew with '
                f"verdex project drop {project_id} and verdex project create {project_id}"
            )
        return self._server.database(name)

    async def _create_default(self) -> None:
        with suppress(ProjectExists):  # another worker was faster
            await self.create(DEFAULT_PROJECT)

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
