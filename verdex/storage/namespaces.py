"""The Temporal namespace that a registry belongs to."""

from typing import NamedTuple

from verdex.storage.database import Connection, Database


class Namespace(NamedTuple):
    """A namespace of a Temporal service; no two have the same id, whatever their names."""

    id: str
    name: str


async def owner(registry: Database, candidate: Namespace) -> Namespace:
    """The namespace that runs the jobs of the registry: the first that ever did, so at the first time `candidate`."""
    async with registry.transaction() as connection:
        if not await _is_migrated(connection):
            return candidate
        await connection.execute(
            "INSERT INTO temporal_namespace (id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING", *candidate
        )
        return await _remembered(connection) or candidate


async def remembered(registry: Database) -> Namespace | None:
    """The namespace that runs the jobs of the registry; None if none ever did."""
    async with registry.connection() as connection:
        return await _remembered(connection) if await _is_migrated(connection) else None


async def _is_migrated(connection: Connection) -> bool:
    """Whether a worker has set up the registry."""
    return await connection.fetchval("SELECT to_regclass('temporal_namespace')") is not None


async def _remembered(connection: Connection) -> Namespace | None:
    row = await connection.fetchrow("SELECT id, name FROM temporal_namespace")
    return Namespace(**row) if row else None
