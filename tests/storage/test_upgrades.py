"""What users have in their databases stays theirs: no released migration changes, and each old version is upgraded.

`schemas` holds what each version left behind, with rows of every kind; `record_schemas.py` made it.
"""

import hashlib
import subprocess
from pathlib import Path
from typing import Any, Final, get_args

import pytest

from tests.storage.conftest import new_database
from tests.storage.record_schemas import dump_path, dumped
from verdex.errors import SchemaTooNew
from verdex.local.postgres import Postgres, binaries
from verdex.storage.database import Database
from verdex.storage.migrations import Kind, migrate, migrations, newest
from verdex.storage.registry import Registry

RELEASED: Final = {
    "project/0001_project.sql": "a9b03404477b4b799e607d2f16be94a3898193eb4cd2918557123f015ee34afc",
    "project/0002_search.sql": "60c8fc23723577ac82ae2b6a62ca2861699b926d8ff043d4f856a984eb261f9f",
    "registry/0001_registry.sql": "7b5c65dc8a6b88b1bdfe4ae6c74cc495e5f85825dbbb442b748bf36a159c000d",
    "registry/0002_job_events.sql": "6eaf9a52168537db94c1a4ccb01f4458fc164fd89cc499ec0ebf519e377202c2",
    "registry/0003_removed_jobs.sql": "505e54240f95d08082f8445fadf1407853e173d60e34ea2095f9dcf0473b8a3b",
    "registry/0004_temporal_namespace.sql": "fa64c25706f1a71ebfe3b226b5b9303217d025fac5e107f80f63d55bb9592f49",
    "registry/0005_untold_ends.sql": "581ba794b0cbfc0d5cc55f85cdb19602bd87eabf9ab70a5ff553486e0a83d58c",
    "registry/0006_many_jobs.sql": "59c9e5043888044562b33c964bac6d8ec698dbe246284597ab15f7b0bbd810eb",
}
"""SHA-256 of every migration that a user may have applied. A line is added with each release and never changed."""
OLD: Final = [(kind, int(file[:4])) for kind, file in (name.split("/") for name in RELEASED)]


@pytest.mark.parametrize("name", RELEASED)
def test_a_migration_that_was_released_is_never_edited(name: str):
    kind, _, file_name = name.partition("/")
    found = {file.name: file for _, file in migrations(kind)}  # type: ignore[arg-type]
    assert file_name in found, (
        f"the migration {name} was released and is gone: databases that have it cannot be upgraded"
    )
    digest = hashlib.sha256(found[file_name].read_bytes()).hexdigest()
    assert digest == RELEASED[name], (
        f"the migration {name} was released: put it back, and change the schema in a new one"
    )


@pytest.mark.parametrize("kind", get_args(Kind))
def test_all_but_the_newest_migration_count_as_released(kind: Kind):
    names = [f"{kind}/{file.name}" for _, file in migrations(kind)[:-1]]
    assert set(names) <= RELEASED.keys(), "add the digest, and run record_schemas.py"


@pytest.mark.parametrize(("kind", "version"), OLD)
def test_what_every_released_version_left_is_kept(kind: Kind, version: int):
    assert dump_path(kind, version).exists(), "run record_schemas.py"


def restore(url: str, dump: Path) -> None:
    command = [str(binaries() / "psql"), "-X", "-q", "-o", "/dev/null", "-v", "ON_ERROR_STOP=1", "-f", str(dump), url]
    subprocess.run(command, check=True, capture_output=True)


async def rows(database: Database, tables: list[str]) -> dict[str, list[dict[str, Any]]]:
    async with database.connection() as connection:
        return {
            table: sorted((dict(row) for row in await connection.fetch(f'SELECT * FROM "{table}"')), key=repr)
            for table in tables
        }


async def tables_of(database: Database) -> list[str]:
    query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_migrations'"
    async with database.connection() as connection:
        return [row["tablename"] for row in await connection.fetch(query)]


@pytest.mark.parametrize(("kind", "version"), OLD)
async def test_an_old_database_is_upgraded_to_the_schema_of_a_new_one_and_keeps_its_rows(
    postgres: Postgres, kind: Kind, version: int
):
    async with new_database(postgres) as old, new_database(postgres, kind) as new:
        restore(postgres.url(str(old.name)), dump_path(kind, version))
        tables = await tables_of(old)
        before = await rows(old, tables)
        assert all(before[table] for table in tables if table != "removed_jobs")
        await migrate(old, kind)
        after = await rows(old, tables)
        for table in tables:
            kept = [{name: row[name] for name in before[table][0]} for row in after[table]] if before[table] else []
            assert kept == before[table]
        schemas = [dumped(postgres.url(str(one.name)), "--schema-only") for one in (old, new)]
        assert schemas[0] == schemas[1]


@pytest.mark.parametrize("version", [version for kind, version in OLD if kind == "registry"])
async def test_the_jobs_of_an_old_registry_are_read_and_go_on(postgres: Postgres, version: int):
    async with new_database(postgres) as old:
        restore(postgres.url(str(old.name)), dump_path("registry", version))
        await migrate(old, "registry")
        registry = Registry(old)
        jobs = {job.status: job for job in await registry.jobs()}
        assert set(jobs) == {"pending", "running", "blocked", "completed", "failed", "cancelled"}
        for status, job in jobs.items():
            events = await registry.events(job.job_id)
            assert (events[0].event, events[-1].event) == ("created", "created" if status == "pending" else status)
        await registry.record_progress(jobs["running"].job_id, 4)
        running = await registry.job(jobs["running"].job_id)
        assert running is not None
        assert running.files_done == 4


@pytest.mark.parametrize("kind", get_args(Kind))
async def test_a_database_that_is_newer_than_the_program_is_refused_and_left_as_it_is(postgres: Postgres, kind: Kind):
    async with new_database(postgres, kind) as newer:
        url = postgres.url(str(newer.name))
        async with newer.connection() as connection:
            await connection.execute("CREATE TABLE of_the_future ()")
            await connection.execute(
                "INSERT INTO schema_migrations (version, name) VALUES ($1, 'later.sql')", newest(kind) + 1
            )
        before = dumped(url)
        message = f"schema version {newest(kind) + 1}, this verdex knows {newest(kind)}"
        with pytest.raises(SchemaTooNew, match=message):
            await migrate(newer, kind)
        assert dumped(url) == before
