"""Migrations run once, whole, and never backwards."""

import asyncio
from pathlib import Path
from typing import get_args

import asyncpg
import pytest

from verdex.errors import SchemaTooNew
from verdex.storage import migrations
from verdex.storage.database import Database
from verdex.storage.migrations import Kind, migrate, newest, version

KINDS = get_args(Kind)
TABLES = {
    "registry": {"projects", "indexing_jobs", "job_events", "removed_jobs", "temporal_namespace", "untold_ends"},
    "project": {"repositories", "manifests", "files", "blobs", "chunks", "embedders"},
}


async def _tables(database: Database) -> set[str]:
    async with database.connection() as connection:
        rows = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
    return {row["relname"] for row in rows}


async def _applied(database: Database) -> list[int]:
    async with database.connection() as connection:
        return [row["version"] for row in await connection.fetch("SELECT version FROM schema_migrations ORDER BY 1")]


@pytest.mark.parametrize("kind", KINDS)
def test_migrations_are_numbered_without_gaps(kind: Kind):
    numbers = [number for number, _ in migrations.migrations(kind)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert all(file.name.startswith(f"{number:04}_") for number, file in migrations.migrations(kind))


@pytest.mark.parametrize("kind", KINDS)
async def test_an_empty_database_comes_to_the_newest_version(empty_database: Database, kind: Kind):
    async with empty_database.connection() as connection:
        assert await version(connection) == 0
    await migrate(empty_database, kind)
    async with empty_database.connection() as connection:
        assert await version(connection) == newest(kind)
    assert await _tables(empty_database) == TABLES[kind] | {"schema_migrations"}


@pytest.mark.parametrize("kind", KINDS)
async def test_migrating_again_changes_nothing(empty_database: Database, kind: Kind):
    await migrate(empty_database, kind)
    applied = await _applied(empty_database)
    await migrate(empty_database, kind)
    assert await _applied(empty_database) == applied == list(range(1, newest(kind) + 1))


async def test_five_may_migrate_at_the_same_time(empty_database: Database):
    await asyncio.gather(*(migrate(empty_database, "registry") for _ in range(5)))
    assert await _applied(empty_database) == list(range(1, newest("registry") + 1))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_database_of_a_newer_verdex_is_left_alone(empty_database: Database, kind: Kind):
    await migrate(empty_database, kind)
    async with empty_database.connection() as connection:
        await connection.execute("INSERT INTO schema_migrations (version, name) VALUES (99, '0099_later.sql')")
    message = f'"{empty_database.name}" has schema version 99, this verdex knows {newest(kind)}'
    with pytest.raises(SchemaTooNew, match=message):
        await migrate(empty_database, kind)


def _provide(monkeypatch: pytest.MonkeyPatch, folder: Path, *scripts: str) -> None:
    files = [folder / f"{number:04}_step.sql" for number in range(1, len(scripts) + 1)]
    for file, script in zip(files, scripts, strict=True):
        file.write_text(script)
    monkeypatch.setattr(migrations, "migrations", lambda _kind: list(enumerate(files, start=1)))


async def test_a_migration_that_fails_leaves_nothing_half(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    _provide(monkeypatch, tmp_path, "CREATE TABLE one ()", "CREATE TABLE two (); CREATE TABLE one ()")
    with pytest.raises(asyncpg.DuplicateTableError):
        await migrate(empty_database, "registry")
    assert await _tables(empty_database) == set()


async def test_a_migration_that_fails_keeps_those_before(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    _provide(monkeypatch, tmp_path, "CREATE TABLE one ()")
    await migrate(empty_database, "registry")
    _provide(monkeypatch, tmp_path, "CREATE TABLE one ()", "CREATE TABLE two (); CREATE TABLE one ()")
    with pytest.raises(asyncpg.DuplicateTableError):
        await migrate(empty_database, "registry")
    assert await _tables(empty_database) == {"schema_migrations", "one"}
    _provide(monkeypatch, tmp_path, "never read", "CREATE TABLE two ()")
    await migrate(empty_database, "registry")
    assert await _applied(empty_database) == [1, 2]


async def test_a_newer_verdex_that_migrates_at_the_same_moment_is_noticed(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    _provide(monkeypatch, tmp_path, "CREATE TABLE one ()")
    async with empty_database.transaction() as newer:
        await newer.execute("SELECT pg_advisory_xact_lock($1)", migrations.LOCK)
        older = asyncio.create_task(migrate(empty_database, "registry"))
        query = "SELECT true FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
        async with asyncio.timeout(30):
            while not await newer.fetchval(query):
                await asyncio.sleep(0.01)
        await newer.execute(migrations._TABLE)
        await newer.execute("INSERT INTO schema_migrations (version, name) VALUES (2, '0002_later.sql')")
    with pytest.raises(SchemaTooNew):
        await older
