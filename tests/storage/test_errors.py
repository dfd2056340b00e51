"""What PostgreSQL and the network do, in verdex's own terms: some of it by code, most of it as it really happens."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from verdex.errors import (
    DatabaseDiskFull,
    DatabaseNotFound,
    DatabaseRefused,
    DatabaseUnavailable,
    PermanentError,
    SchemaMissing,
    SettingsError,
    StateRefused,
    TransientError,
    VerdexError,
)
from verdex.local.postgres import Postgres
from verdex.storage.database import Database, Server
from verdex.storage.errors import translate, translated

UNAVAILABLE = (
    "08000 08001 08003 08004 08006 08P01 25006 25P03 25P04 40001 40P01 53000 53200 53300 53400 55000 55006 55P03 "
    "57014 57P01 57P02 57P03 57P05"
)
BUGS = "22000 22021 23502 23503 23505 25P02 42601 42703 54000 XX000 XX001 99999"
CODES: list[tuple[str, type[VerdexError] | None]] = [
    *((code, DatabaseUnavailable) for code in UNAVAILABLE.split()),
    ("3D000", DatabaseNotFound),
    ("57P04", DatabaseNotFound),
    ("28000", DatabaseRefused),
    ("28P01", DatabaseRefused),
    ("42501", DatabaseRefused),
    ("42P01", SchemaMissing),
    ("53100", DatabaseDiskFull),
    ("23514", StateRefused),
    *((code, None) for code in BUGS.split()),
]


@pytest.mark.parametrize(("code", "kind"), CODES)
def test_every_code_has_a_meaning(code: str, kind: type[VerdexError] | None):
    error = asyncpg.PostgresError.new({"C": code, "M": "what the server said", "S": "ERROR"})
    found = translate(error)
    assert type(found) is (kind or type(None))
    assert found is None or "what the server said" in str(found)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("unexpected message"),
        ConnectionResetError(104, "Connection reset by peer"),
        TimeoutError(),
    ],
    ids=repr,
)
def test_a_connection_that_breaks_is_unavailable_and_says_how(error: Exception):
    found = translate(error)
    assert type(found) is DatabaseUnavailable
    assert str(found).removeprefix("PostgreSQL is not available: ")


@pytest.mark.parametrize(
    "error", [ValueError("oh"), KeyError("oh"), FileNotFoundError(2, "gone"), OSError(5, "I/O error")]
)
def test_what_is_not_of_the_database_is_left_as_it_is(error: Exception):
    assert translate(error) is None
    with pytest.raises(type(error)) as raised, translated():
        raise error
    assert raised.value is error


def test_what_can_pass_is_told_from_what_cannot():
    assert issubclass(DatabaseUnavailable, TransientError)
    for kind in (DatabaseNotFound, DatabaseRefused, DatabaseDiskFull, StateRefused, SettingsError):
        assert issubclass(kind, PermanentError)


async def use(database: Database, query: str = "SELECT 1") -> None:
    try:
        async with database.connection() as connection:
            await connection.execute(query)
    finally:
        await database.close()


async def test_a_server_that_does_not_listen_is_unavailable(tmp_path: Path):
    with pytest.raises(DatabaseUnavailable, match="not available: "):
        await use(Database(f"postgresql://verdex@/verdex?host={tmp_path}"))
    with pytest.raises(DatabaseUnavailable, match="Connect call failed"):
        await use(Database("postgresql://verdex@127.0.0.1:1/verdex"))


@pytest.mark.parametrize(
    ("dsn", "message"),
    [
        ("postgresql://verdex@/verdex?sslmode=never", "`sslmode` parameter must be one of"),
        ("postgresql://verdex@host:sesame/verdex", "should look like postgresql://"),
        ("postgresql://verdex:sesame@[::1/verdex", "should look like postgresql://"),
    ],
)
async def test_an_address_that_makes_no_sense_is_a_wrong_setting(dsn: str, message: str):
    with pytest.raises(SettingsError, match=f"VERDEX_DATABASE_URL is wrong: .*{message}") as raised:
        await use(Database(dsn))
    assert "sesame" not in str(raised.value)


async def test_a_database_that_is_missing_is_named(postgres: Postgres):
    with pytest.raises(DatabaseNotFound, match='"cb_proj_nowhere" does not exist'):
        await use(Database(postgres.url("cb_proj_nowhere")))


async def test_a_role_that_is_missing_is_named(postgres: Postgres):
    with pytest.raises(DatabaseRefused, match='role "nobody" does not exist'):
        await use(Database(postgres.url().replace("//verdex@", "//nobody@")))


@pytest.fixture
async def role(postgres: Postgres) -> AsyncIterator[str]:
    """A role that may have one connection and no right to anything."""
    name = f"role_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(postgres.url("postgres"))
    await admin.execute(f"CREATE ROLE {name} LOGIN CONNECTION LIMIT 1")
    yield name
    await admin.execute(f"DROP ROLE {name}")
    await admin.close()


async def test_too_many_connections_can_pass(postgres: Postgres, role: str):
    dsn = postgres.url("postgres").replace("//verdex@", f"//{role}@")
    first = await asyncpg.connect(dsn)
    with pytest.raises(DatabaseUnavailable, match="too many connections"):
        await use(Database(dsn))
    await first.close()


async def test_a_missing_right_is_refused(server: Server, postgres: Postgres, role: str):
    async with server.registry.connection() as connection:
        name = await connection.fetchval("SELECT current_database()")
    with pytest.raises(DatabaseRefused, match="permission denied for table indexing_jobs"):
        await use(Database(postgres.url(name).replace("//verdex@", f"//{role}@")), "SELECT * FROM indexing_jobs")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SET LOCAL statement_timeout = 1; SELECT pg_sleep(9)", "statement timeout"),
        ("SET LOCAL transaction_timeout = 1; SELECT pg_sleep(9)", "transaction timeout"),
        ("SET TRANSACTION READ ONLY; DELETE FROM projects", "read-only transaction"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", "terminating connection due to administrator command"),
        ("SELECT pg_cancel_backend(pg_backend_pid())", "canceling statement due to user request"),
    ],
)
async def test_a_statement_that_is_broken_off_can_be_tried_again(server: Server, query: str, message: str):
    with pytest.raises(DatabaseUnavailable, match=message):
        async with server.registry.transaction() as connection:
            await connection.execute(query)
    async with server.registry.connection() as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_a_lock_that_is_not_given_can_be_tried_again(server: Server):
    async with server.registry.transaction() as holder:
        await holder.execute("LOCK TABLE indexing_jobs")
        for query in ("LOCK TABLE indexing_jobs NOWAIT", "SET LOCAL lock_timeout = 1; LOCK TABLE indexing_jobs"):
            with pytest.raises(DatabaseUnavailable, match="lock"):
                async with server.registry.transaction() as other:
                    await other.execute(query)


async def test_a_deadlock_can_be_tried_again(server: Server):
    async def lock(first: int, second: int, ready: asyncio.Barrier) -> None:
        async with server.registry.transaction() as connection:
            await connection.execute("SET LOCAL deadlock_timeout = '10ms'")
            await connection.execute("SELECT pg_advisory_xact_lock($1)", first)
            await ready.wait()
            await connection.execute("SELECT pg_advisory_xact_lock($1)", second)

    ready = asyncio.Barrier(2)
    results = await asyncio.gather(lock(1, 2, ready), lock(2, 1, ready), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["DatabaseUnavailable", "NoneType"]


async def test_a_connection_that_was_lost_while_idle_is_replaced(server: Server, postgres: Postgres):
    async with server.registry.connection() as connection:
        lost = connection.get_server_pid()
    admin = await asyncpg.connect(postgres.url("postgres"))
    await admin.execute("SELECT pg_terminate_backend($1, 9000)", lost)
    await admin.close()
    async with server.registry.connection() as connection:
        assert connection.get_server_pid() != lost


async def test_a_database_that_is_dropped_meanwhile_is_named_by_the_next_attempt(server: Server):
    name = "cb_proj_dropped"
    async with server.registry.connection() as registry:
        await registry.execute(f"CREATE DATABASE {name}")

        async def work() -> None:
            async with server.database(name).transaction() as connection:
                await registry.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
                await connection.execute("SELECT 1")

        with pytest.raises(DatabaseUnavailable):
            await work()
        with pytest.raises(DatabaseNotFound, match=name):
            await work()


async def test_what_a_constraint_refuses_is_named(server: Server):
    with pytest.raises(StateRefused, match="projects_id_check"):
        async with server.registry.connection() as connection:
            await connection.execute("INSERT INTO projects VALUES ('Übung', 'cb_proj_Übung')")


async def test_a_bug_stays_a_bug(server: Server):
    with pytest.raises(asyncpg.PostgresSyntaxError):
        async with server.registry.connection() as connection:
            await connection.execute("SELEC 1")
    with pytest.raises(asyncpg.DataError):
        async with server.registry.connection() as connection:
            await connection.fetchval("SELECT $1::int", 2**40)
