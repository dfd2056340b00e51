"""The Temporal namespace that a registry belongs to."""

from typing import NamedTuple

from verdex.storage.database import Database


class Namespace(NamedTuple):
    """A namespace of a Temporal service; no two have the same id, whatever their names."""

    id: str
    name: str


async def owner(registry: Database, candidate: Namespace) -> Namespace:
    """The namespace that runs the jobs of the registry: the first that ever did, so at the first time `candidate`."""
    async with registry.transaction() as connection:
        if await connection.fetchval("SELECT to_regclass('temporal_namespace')") is None:
            return candidate  # no worker has migrated the registry yet
        await connection.execute(
            "INSERT INTO temporal_namespace (id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING", *candidate
        )
        row = await connection.fetchrow("SELECT id, name FROM temporal_namespace")
    return Namespace(**row) if row else candidate
