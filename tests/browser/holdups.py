"""What holds a job up for as long as a test wants: a database that refuses connections, and locks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from verdex.local.postgres import Postgres


class Door:
    """The database of a project, which is closed to everybody, or open."""

    def __init__(self, admin: asyncpg.Connection, project: str) -> None:
        """Nothing is closed yet; `admin` is connected to another database of the server."""
        self.project = project
        self.database = f"cb_proj_{project}"
        self._admin = admin

    async def close(self) -> None:
        """Refuse connections, and end those that there are."""
        await self._admin.execute(f"ALTER DATABASE {self.database} ALLOW_CONNECTIONS false")
        leaving = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"
        await self._admin.execute(leaving, self.database)

    async def open(self) -> None:
        """Let everybody in again."""
        await self._admin.execute(f"ALTER DATABASE {self.database} ALLOW_CONNECTIONS true")


@asynccontextmanager
async def closed_door(postgres: Postgres, project: str) -> AsyncIterator[Door]:
    """A project whose database is closed; it is open afterwards."""
    admin = await asyncpg.connect(postgres.url("postgres"))
    door = Door(admin, project)
    await door.close()
    try:
        yield door
    finally:
        await door.open()
        await admin.close()


@asynccontextmanager
async def held(postgres: Postgres, project: str, statement: str) -> AsyncIterator[None]:
    """The locks of a statement, in the database of a project."""
    holder = await asyncpg.connect(postgres.url(f"cb_proj_{project}"))
    try:
        await holder.execute(f"BEGIN; {statement}")
        yield
    finally:
        holder.terminate()  # also where the server is gone
