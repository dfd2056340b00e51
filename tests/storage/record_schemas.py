"""Keep what a version of verdex leaves behind in its databases, which `test_upgrades.py` upgrades. From the root:

    python tests/storage/record_schemas.py

Run it with each release that has a new migration. For each version of the schema that has no dump yet, a database is
migrated so far, jobs of every kind are written to it as the program writes them, and `pg_dump` writes it down. A dump
is never made anew: it is what users have.
"""

import asyncio
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, get_args
from uuid import UUID

import pytest

from tests.storage.conftest import CREATED, File, Tree, failure, job_record, new_database, success
from verdex.local.postgres import Postgres, binaries
from verdex.storage import migrations
from verdex.storage.database import Database
from verdex.storage.migrations import Kind, migrate, newest
from verdex.storage.registry import Registry

SCHEMAS: Final = Path(__file__).with_name("schemas")
UNTOLD: Final = re.compile(r"^(?:--.*|\\(?:un)?restrict .*|)\n", re.MULTILINE)
"""Comments, blank lines and what differs from one dump to the next."""


def dump_path(kind: Kind, version: int) -> Path:
    return SCHEMAS / f"{kind}_{version:04}.sql"


def dumped(url: str, *options: str) -> str:
    """A database as SQL."""
    command = [str(binaries() / "pg_dump"), "--no-owner", "--no-privileges", *options, url]
    return UNTOLD.sub("", subprocess.run(command, text=True, capture_output=True, check=True).stdout)


async def migrate_to(database: Database, kind: Kind, version: int) -> None:
    """As the version of verdex did that knew no newer migrations."""
    known = migrations.migrations(kind)[:version]
    with pytest.MonkeyPatch.context() as older:
        older.setattr(migrations, "migrations", lambda _kind: known)
        await migrate(database, kind)


async def fill_registry(database: Database) -> None:
    """A job of every kind."""
    registry = Registry(database)
    states: list[dict[str, Any]] = [
        {"status": "pending"},
        {"status": "running", "phase": "index", "files_total": 9},
        {"status": "blocked", "phase": "scan", "status_message": "connection refused", "attempt": 3},
        {"status": "completed", "phase": "publish", "result": success(5, chunks_created=7, chunks_total=7)},
        {"status": "failed", "phase": "scan", "result": failure("disk full", "and more")},
        {"status": "cancelled", "phase": "index", "status_message": "cancelled on request"},
    ]
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO projects VALUES ('default', 'cb_proj_default', $1), ('my-team', 'cb_proj_my_team', $1)",
            CREATED,
        )
        if await connection.fetchval("SELECT to_regclass('temporal_namespace')"):
            await connection.execute("INSERT INTO temporal_namespace VALUES ('an id', 'default', $1)", CREATED)
    for number, state in enumerate(states, start=1):
        await registry.record(job_record(job_id=str(UUID(int=number)), **state))


async def fill_project(database: Database) -> None:
    """A repository that was indexed twice, with files of every outcome, and a job under way in another."""
    first, second = Tree(database), Tree(database)
    first.path, second.path = "/srv/first", "/srv/second"
    files: dict[str, File | str] = {
        "a.py": "one",
        "b.py": "two",
        "c.bin": File(outcome="skipped"),
        "d.py": File(outcome="failed"),
    }
    await first.index(files)
    await first.index(files | {"b.py": "three", "e.py": "one"})
    await second.plan(await second.open(), {"a.py": "one"})


FILLERS: Final = {"registry": fill_registry, "project": fill_project}


async def record(postgres: Postgres, kind: Kind, version: int) -> None:
    async with new_database(postgres) as database:
        await migrate_to(database, kind, version)
        await FILLERS[kind](database)
        text = await asyncio.to_thread(dumped, postgres.url(str(database.name)))
    dump_path(kind, version).write_text(text)


async def main(postgres: Postgres) -> None:
    for kind in get_args(Kind):
        for version in range(1, newest(kind) + 1):
            if not dump_path(kind, version).exists():
                sys.stdout.write(f"{kind} {version}\n")
                await record(postgres, kind, version)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="verdex-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        server = Postgres(Path(name))
        server.start()
        try:
            asyncio.run(main(server))
        finally:
            server.stop()
