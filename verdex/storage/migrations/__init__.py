"""Migrations: numbered SQL files, applied in order, each once, under a lock."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, Literal

from verdex.errors import SchemaTooNew
from verdex.storage.database import Connection, Database
from verdex.storage.statements import statement

Kind = Literal["registry", "project"]

LOCK: Final = 0x76657264  # "verd": any number that every verdex agrees on
"""Held by who changes the schema of a database."""
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


def migrations(kind: Kind) -> list[tuple[int, Traversable]]:
    """The migrations of a kind of database, oldest first, by version."""
    found = (files(__package__) / kind).iterdir()
    return sorted((int(file.name.split("_")[0]), file) for file in found if file.name.endswith(".sql"))


def newest(kind: Kind) -> int:
    """The schema version that this program works with."""
    return migrations(kind)[-1][0]


async def version(connection: Connection) -> int:
    """The schema version of a database; 0 before the first migration."""
    if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
        return 0
    return int(await connection.fetchval("SELECT coalesce(max(version), 0) FROM schema_migrations"))


async def migrate(database: Database, kind: Kind) -> None:
    """Bring a database to the newest version; all or nothing, and safe to run from several processes.

    Raises:
        SchemaTooNew: the database is ahead of this program.
    """
    async with database.connection() as connection:
        with statement(connection, "SELECT", "schema_migrations"):
            found = await _checked_version(connection, kind)
    if found == newest(kind):
        return
    async with database.transaction() as connection:
        with statement(connection, "BATCH", "schema_migrations") as migration:
            migration.rows = await _apply_missing(connection, kind)


async def _apply_missing(connection: Connection, kind: Kind) -> int:
    """Apply those migrations that nobody has applied by now; their number."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
    await connection.execute(_TABLE)
    found = await _checked_version(connection, kind)
    missing = [(number, file) for number, file in migrations(kind) if number > found]
    for number, file in missing:
        await connection.execute(file.read_text())
        await connection.execute("INSERT INTO schema_migrations (version, name) VALUES ($1, $2)", number, file.name)
    return len(missing)


async def _checked_version(connection: Connection, kind: Kind) -> int:
    found, known = await version(connection), newest(kind)
    if found > known:
        raise SchemaTooNew(await connection.fetchval("SELECT current_database()"), found, known)
    return found
