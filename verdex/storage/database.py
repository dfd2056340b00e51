"""Connections to one PostgreSQL server: a pool for the registry and one for each project."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any, Final, Self, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from verdex.errors import SettingsError
from verdex.storage.errors import translated, unreachable
from verdex.storage.statements import connecting, statement

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

CONNECT_TIMEOUT: Final = 5.0
"""Seconds until a server that does not answer counts as unavailable."""
COMMAND_TIMEOUT: Final = 300.0
"""Seconds that one statement may take."""
LOCK_TIMEOUT: Final = 10
"""Seconds to wait for what somebody else has locked; then the step is tried again, and its job says why."""
IDLE_TIMEOUT: Final = 60
"""Seconds until a transaction of a worker that fell silent, with its machine or the network, loses its locks."""
POOL_SIZE: Final = 8
PENDING_LEXEMES: Final = "16MB"
"""Of chunks that were stored and are not merged into the index of lexemes yet: merging more at a time costs less."""
WORK_MEMORY: Final = "64MB"
"""For a sort or a hash of one statement: those over the files of a large tree would go through temporary files."""


class Database:
    """One database. Nothing is connected until it is used, and a lost connection is replaced."""

    def __init__(self, dsn: str, name: str | None = None) -> None:
        """`dsn` addresses the server; `name` takes the place of the database that it names."""
        self.name = name
        self._dsn = dsn
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def _connected(self) -> "asyncpg.Pool[asyncpg.Record]":
        if self._pool is None:
            self._pool = await asyncpg.create_pool(
                self._dsn,
                connect=_connect,
                database=self.name,
                min_size=0,
                max_size=POOL_SIZE,
                timeout=CONNECT_TIMEOUT,
                command_timeout=COMMAND_TIMEOUT,
                max_inactive_connection_lifetime=60,
                reset=_as_it_is if self.name else None,
                server_settings={
                    "application_name": "verdex",
                    "jit": "off",
                    "work_mem": WORK_MEMORY,
                    "gin_pending_list_limit": PENDING_LEXEMES,
                    "lock_timeout": f"{LOCK_TIMEOUT}s",
                    "idle_in_transaction_session_timeout": f"{IDLE_TIMEOUT}s",
                },
            )
        return self._pool

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection of the pool.

        Raises:
            DatabaseUnavailable, DatabaseNotFound, DatabaseRefused, DatabaseDiskFull: see `verdex.errors`.
        """
        with translated():
            pool = await self._connected()
            try:
                async with pool.acquire(timeout=2 * CONNECT_TIMEOUT) as connection:
                    yield connection
            except asyncpg.QueryCanceledError:  # by a limit, perhaps, that is raised for new sessions only
                await pool.expire_connections()
                raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside a transaction that commits at the end of the block; raises as `connection`."""
        async with self.connection() as connection, _transaction(connection):
            yield connection

    async def close(self) -> None:
        """Give every connection back; those in use are broken off."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()


async def _as_it_is(_: "asyncpg.Connection[asyncpg.Record]") -> None:
    """The default asks the server to forget what a session may have set, each time; in a project's, nothing is."""


@asynccontextmanager
async def _transaction(connection: Connection) -> AsyncIterator[None]:
    """Who is cancelled does not wait long for a rollback: a connection that does not answer is dropped."""
    breaking_off: asyncio.TimerHandle | None = None
    try:
        with ExitStack() as committing:
            async with connection.transaction():
                try:
                    yield
                except asyncio.CancelledError:
                    breaking_off = asyncio.get_running_loop().call_later(CONNECT_TIMEOUT, connection.terminate)
                    raise
                committing.enter_context(statement(connection, "COMMIT"))
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if breaking_off is not None:
            raise asyncio.CancelledError from error
        raise
    finally:
        if breaking_off is not None:
            breaking_off.cancel()


async def _connect(*arguments: Any, **options: Any) -> "asyncpg.Connection[asyncpg.Record]":  # noqa: ANN401
    try:
        with connecting(options.get("database")):
            return await asyncpg.connect(*arguments, **options)
    except OSError as error:
        raise unreachable(error) from error
    except asyncpg.ClientConfigurationError as error:
        raise SettingsError(f"VERDEX_DATABASE_URL is wrong: {error}") from error
    except ValueError:  # its text may hold a part of the password
        raise SettingsError(
            "VERDEX_DATABASE_URL is wrong: it should look like postgresql://user:password@host:5432/database"
        ) from None


class Server:
    """The PostgreSQL server: the registry and the databases of the projects beside it."""

    def __init__(self, dsn: str) -> None:
        """`dsn` names the database of the registry."""
        self._dsn = dsn
        self._databases: dict[str, Database] = {}
        self.registry = Database(dsn)

    def database(self, name: str) -> Database:
        """The database `name` of this server; the same object, and so the same pool, each time."""
        return self._databases.setdefault(name, Database(self._dsn, name))

    async def forget(self, name: str) -> None:
        """Close the pool of a database."""
        if database := self._databases.pop(name, None):
            await database.close()

    async def close(self) -> None:
        """Close all pools."""
        for database in (self.registry, *self._databases.values()):
            await database.close()

    async def __aenter__(self) -> Self:
        """For `async with`."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all pools."""
        await self.close()
