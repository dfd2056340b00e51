"""Vectors: what an embedder makes of a text, kept once for each embedder, by the hash of the text.

They need the extension `vector`. It and the tables that use it are made with the first embedder of a project, so that
a project without one does without. A blob of an embedder has a vector for each of its chunks, from the transaction on
that stores it; whatever would break that is refused by a foreign key, or at the latest when its manifest is published.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from verdex.contracts import Embedder
from verdex.errors import DatabaseRefused, VectorsUnsupported
from verdex.storage.database import Connection, Database
from verdex.storage.migrations import LOCK
from verdex.storage.statements import statement

LEAST_VERSION: Final = (0, 8)
"""Of the extension: from this on, an index goes on to look until enough is found that a filter accepts."""

MANY_FILES: Final = 20_000
"""Of which the index is made before their vectors: to make it of them all at once would take too long."""
INDEX_MEMORY: Final = "256MB"
"""To make an index in; what has no room in it takes longer."""
INDEX_TIMEOUT: Final = 3_000.0
"""Seconds that this may take; some 2 ms a vector."""


class StoredEmbedder(NamedTuple):
    """An embedder as the database of a project knows it."""

    id: int
    embedder: Embedder


async def prepare(database: Database, embedder: Embedder) -> int:
    """See to it that vectors of an embedder can be stored and searched; its id in this database.

    Raises:
        VectorsUnsupported: PostgreSQL lacks the extension, or has an old one.
        DatabaseRefused: the role may not create the extension.
    """
    document = embedder.model_dump_json()
    async with database.connection() as connection:
        found: int | None = await connection.fetchval(_PREPARED, document)
    if found is not None:
        return found
    async with database.transaction() as connection:
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        await _see_to_extension(connection)
        await connection.execute(_TABLES)
        await connection.execute("INSERT INTO embedders (embedder) VALUES ($1) ON CONFLICT DO NOTHING", document)
        return int(await connection.fetchval("SELECT id FROM embedders WHERE embedder = $1::jsonb", document))


async def are_prepared(database: Database) -> bool:
    """Whether there are the tables of vectors."""
    async with database.connection() as connection:
        return bool(await connection.fetchval("SELECT to_regclass('chunk_vectors') IS NOT NULL"))


async def index(database: Database, stored: StoredEmbedder) -> None:
    """Make the index over the vectors of an embedder, unless it is there: at the latest before a publish.

    To make it of many vectors at once is several times as fast as to add them one by one. Other jobs of the project
    that store some meanwhile are held up.
    """
    async with database.connection() as connection:
        if await connection.fetchval("SELECT to_regclass($1)", _INDEX_NAME.format(stored.id)) is not None:
            return
    async with database.transaction() as connection:
        await connection.execute(_INDEXING)
        with statement(connection, "CREATE INDEX", "vectors"):
            await connection.execute(
                _INDEX.format(_INDEX_NAME.format(stored.id), stored.embedder.dimensions, stored.id),
                timeout=INDEX_TIMEOUT,
            )


async def drop_indexes(database: Database) -> None:
    """Drop the indexes over vectors that are all gone, unless a job is about to store some."""
    async with database.connection() as connection:
        for row in await connection.fetch(_UNUSED_INDEXES):
            await connection.execute(f"DROP INDEX IF EXISTS {_INDEX_NAME.format(row['id'])}")


async def _see_to_extension(connection: Connection) -> None:
    installed = await connection.fetchval("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    if installed is None:
        installed = await _create_extension(connection)
    if tuple(map(int, re.findall(r"\d+", installed)[:2])) < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        raise VectorsUnsupported(
            f'the extension "vector" of PostgreSQL is version {installed}, and vectors need {least}: '
            "install a newer pgvector, then ALTER EXTENSION vector UPDATE in each database that has it"
        )


async def _create_extension(connection: Connection) -> str:
    available: str | None = await connection.fetchval(
        "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'"
    )
    if available is None:
        raise VectorsUnsupported(
            'PostgreSQL lacks the extension "vector", which vectors need: install pgvector on its server '
            "(a package such as postgresql-18-pgvector; docker-compose.yml has an image with it)"
        )
    if not await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
        name = await connection.fetchval("SELECT current_database()")
        raise DatabaseRefused(
            f'only a superuser of PostgreSQL may create the extension "vector": CREATE EXTENSION vector in "{name}"'
        )
    await connection.execute("CREATE EXTENSION vector")
    return available


async def of_manifest(database: Database, manifest_id: int) -> StoredEmbedder | None:
    """The embedder that a manifest had from its scan on."""
    async with database.connection() as connection:
        row = await connection.fetchrow(_OF_MANIFEST, manifest_id)
    return None if row is None else StoredEmbedder(row["id"], Embedder.model_validate_json(row["embedder"]))


async def known(database: Database, embedder_id: int, hashes: Collection[bytes]) -> set[bytes]:
    """Those of `hashes` whose texts have a vector."""
    async with database.connection() as connection:
        with statement(connection, "SELECT", "vectors") as select:
            rows = await connection.fetch(_KNOWN, embedder_id, list(hashes))
            select.rows = len(rows)
    return {row["content_hash"] for row in rows}


async def store(database: Database, embedder_id: int, vectors: Mapping[bytes, Sequence[float]]) -> None:
    """Keep vectors by the hashes of their texts, in a transaction of their own; one that is there stays as it is."""
    if not vectors:
        return
    hashes = sorted(vectors)  # in one order everywhere, so that two jobs cannot wait for each other
    numbers = [number for key in hashes for number in vectors[key]]
    async with database.connection() as connection:
        with statement(connection, "INSERT", "vectors") as insert:
            insert.completed(
                await connection.execute(_STORE, embedder_id, hashes, numbers, len(numbers) // len(hashes))
            )


async def hold(connection: Connection, embedder_id: int, hashes: Collection[bytes]) -> bool:
    """Whether all these are there still; until the caller's transaction ends, they cannot be collected."""
    rows = await connection.fetch(f"{_KNOWN} FOR KEY SHARE", embedder_id, list(hashes))
    return len(rows) == len(hashes)


async def link(connection: Connection, blob_ids: Collection[int]) -> None:
    """Say of each chunk of blobs that have an embedder which vector is its own, in the caller's transaction.

    The database itself computes the hashes of what it stored. A vector that is not there is refused.
    """
    with statement(connection, "INSERT", "chunk_vectors") as insert:
        insert.completed(await connection.execute(_LINK, list(blob_ids)))


_PREPARED: Final = """
SELECT id FROM embedders WHERE embedder = $1::jsonb AND to_regclass('chunk_vectors') IS NOT NULL
"""
# A vector that no chunk has is kept for a while (`retention.collect_vectors`): its job may be held up.
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS vectors (
    embedder_id  integer NOT NULL REFERENCES embedders,
    content_hash bytea NOT NULL CHECK (length(content_hash) = 32),  -- SHA-256 of the text
    embedding    halfvec NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (embedder_id, content_hash)
);
CREATE TABLE IF NOT EXISTS chunk_vectors (
    blob_id      bigint NOT NULL,
    ordinal      integer NOT NULL,
    embedder_id  integer NOT NULL,
    content_hash bytea NOT NULL,
    PRIMARY KEY (blob_id, ordinal),
    FOREIGN KEY (blob_id, ordinal) REFERENCES chunks ON DELETE CASCADE,
    FOREIGN KEY (embedder_id, content_hash) REFERENCES vectors
);
CREATE INDEX IF NOT EXISTS chunk_vectors_by_vector ON chunk_vectors (embedder_id, content_hash);
"""
# By one process: others would need shared memory, of which a container has little, and the job would fail for it.
_INDEXING: Final = f"""
SET LOCAL max_parallel_maintenance_workers = 0; SET LOCAL maintenance_work_mem = '{INDEX_MEMORY}'
"""
_INDEX_NAME: Final = "vectors_of_{}"
_INDEX: Final = """
CREATE INDEX IF NOT EXISTS {} ON vectors USING hnsw ((embedding::halfvec({})) halfvec_cosine_ops) WHERE embedder_id = {}
"""
_UNUSED_INDEXES: Final = f"""
SELECT id FROM embedders
WHERE to_regclass(format('{_INDEX_NAME.format("%s")}', id)) IS NOT NULL
  AND NOT EXISTS (SELECT FROM manifests WHERE embedder_id = embedders.id)
  AND NOT EXISTS (SELECT FROM vectors WHERE embedder_id = embedders.id)
"""  # noqa: S608  (constants only)
_OF_MANIFEST: Final = """
SELECT embedders.id, embedder FROM manifests JOIN embedders ON embedders.id = embedder_id WHERE manifests.id = $1
"""
_KNOWN: Final = "SELECT content_hash FROM vectors WHERE embedder_id = $1 AND content_hash = ANY ($2::bytea[])"
# All numbers in one array of floats: asyncpg would have to be taught the type of a vector on each connection.
_STORE: Final = """
INSERT INTO vectors (embedder_id, content_hash, embedding)
SELECT $1, content_hash, ($3::real[])[(number - 1) * $4::int + 1 : number * $4::int]::halfvec
FROM unnest($2::bytea[]) WITH ORDINALITY AS new (content_hash, number) ORDER BY number
ON CONFLICT DO NOTHING
"""
_LINK: Final = r"""
INSERT INTO chunk_vectors (blob_id, ordinal, embedder_id, content_hash)
SELECT blob_id, ordinal, embedder_id, sha256(convert_to(concat_ws(E'\n', symbol, content), 'UTF8'))
FROM blobs JOIN chunks ON blob_id = blobs.id WHERE blobs.id = ANY ($1::bigint[]) AND embedder_id IS NOT NULL
"""
