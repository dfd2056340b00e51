"""What `doctor` asks PostgreSQL; nothing is changed."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import asyncpg

from verdex.errors import DatabaseUnavailable, VerdexError
from verdex.local.findings import Finding, bad, clock, size, some, well, worrying
from verdex.storage.database import Connection, Server
from verdex.storage.migrations import Kind, newest, version
from verdex.storage.projects import Project, Projects
from verdex.telemetry import redact

_WRONG_PROJECTS: Final = "restore the database, or drop the project; where its schema is newer, install a newer verdex"

_Health = Literal["well", "behind", "away", "wrong"]
"""Of the database of a project: away is what takes no connections now, wrong what somebody has to mend."""


async def examine_postgres(dsn: str) -> list[Finding]:
    """Look at the server, the registry and the databases of the projects.

    Raises:
        VerdexError, asyncpg.PostgresError: the registry cannot be read.
    """
    async with Server(dsn) as server:
        async with server.registry.connection() as connection:
            found = await version(connection)
            findings = [
                well("PostgreSQL", await _server(connection)),
                clock("PostgreSQL", await _difference(connection)),
                _schema("registry", "registry", found),
            ]
        if found == newest("registry"):
            findings += [await _projects(server), await _databases(server)]
    return findings


async def _server(connection: Connection) -> str:
    held = await connection.fetchval(
        "SELECT sum(pg_database_size(oid))::bigint FROM pg_database WHERE has_database_privilege(oid, 'CONNECT')"
    )
    server = str(await connection.fetchval("SHOW server_version")).split()[0]
    return f"{server}, holds {size(held or 0)}"


async def _difference(connection: Connection) -> timedelta:
    """How far the clock of PostgreSQL is ahead of that of this machine."""
    before = datetime.now(UTC)
    told: datetime = await connection.fetchval("SELECT clock_timestamp()")
    return told - before - (datetime.now(UTC) - before) / 2


def _schema(part: str, kind: Kind, found: int) -> Finding:
    known = newest(kind)
    told = f"schema version {found} of {known}"
    if found == known:
        return well(part, told)
    return bad(part, told, "start a worker of this version: it migrates" if found < known else "install a newer verdex")


async def _projects(server: Server) -> Finding:
    """The databases of the projects, of which the first ones that are not well are named."""
    told = defaultdict[_Health, list[str]](list)
    for project in await Projects(server).list():
        health, found = await _project(server, project)
        told[health].append(f"{project.id}: {found}")
    if told["wrong"]:
        return bad("projects", some(told["wrong"] + told["away"]), _WRONG_PROJECTS)
    if told["away"]:
        return bad(
            "projects", some(told["away"]), "let the database accept connections: jobs in the project wait for it"
        )
    if told["behind"]:
        return worrying("projects", some(told["behind"]), "nothing: the next job in the project migrates it")
    return well("projects", f"{len(told['well'])}, all with schema version {newest('project')}")


async def _project(server: Server, project: Project) -> tuple[_Health, str]:
    """How the database of a project is, and what there is to say of it."""
    known = newest("project")
    try:
        async with server.database(project.database_name).connection() as connection:
            found = await version(connection)
    except DatabaseUnavailable as error:
        return "away", redact(str(error))
    except (VerdexError, asyncpg.PostgresError) as error:
        return "wrong", redact(str(error))
    finally:
        await server.forget(project.database_name)
    health: _Health = "well" if found == known else "wrong" if found > known else "behind"
    return health, f"schema version {found} of {known}"


async def _databases(server: Server) -> Finding:
    """Those that are named like the database of a project, but are none."""
    async with server.registry.connection() as connection:
        rows = await connection.fetch(
            "SELECT datname FROM pg_database WHERE datname LIKE 'cb\\_proj\\_%'"
            " AND datname NOT IN (SELECT database_name FROM projects) ORDER BY datname"
        )
    if rows:
        advice = "they may be of another registry on this server; if not: DROP DATABASE"
        return worrying("leftovers", f"databases of no project: {some([row[0] for row in rows])}", advice)
    return well("leftovers", "no database without a project")
