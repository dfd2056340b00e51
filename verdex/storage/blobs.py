"""Blobs: contents, each chunked once for a language, a version of the pipeline and an embedder.

However many paths hold it. Where there is an embedder, each chunk has a vector of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import asyncpg

from verdex.errors import PermanentError
from verdex.storage import vectors
from verdex.storage.copying import COLUMNS, EncodedChunk, copied
from verdex.storage.database import Connection, Database
from verdex.storage.statements import statement


class BlobKey(NamedTuple):
    """What a blob is known by, beside the version of the pipeline and the embedder."""

    content_hash: bytes  # SHA-256
    language: str  # "" where there is no grammar


async def known(database: Database, manifest_id: int, keys: Iterable[BlobKey]) -> dict[BlobKey, int]:
    """The ids of those of `keys` that need not be chunked for this manifest.

    A manifest that is forced knows only the blobs that were made for it.
    """
    wanted = set(keys)
    async with database.connection() as connection:
        with statement(connection, "SELECT", "blobs", "manifests") as select:
            rows = await connection.fetch(_KNOWN, manifest_id, [key.content_hash for key in wanted])
            select.rows = len(rows)
    return {key: blob_id for key, blob_id in _ids(rows).items() if key in wanted}


async def hold(connection: Connection, manifest_id: int, known: Mapping[BlobKey, int]) -> dict[BlobKey, int]:
    """Those of `known` that have not been collected since; until the caller's transaction ends, they cannot be.

    Raises:
        PermanentError: the manifest itself was collected, long after its job ended.
    """
    if not await connection.fetchval("SELECT true FROM manifests WHERE id = $1 FOR KEY SHARE", manifest_id):
        raise PermanentError(f"the work of this job was given up (manifest {manifest_id})")
    if not known:
        return {}
    rows = await connection.fetch("SELECT id FROM blobs WHERE id = ANY ($1::bigint[]) FOR KEY SHARE", [*known.values()])
    held = {row["id"] for row in rows}
    return {key: blob_id for key, blob_id in known.items() if blob_id in held}


async def store(
    connection: Connection, manifest_id: int, blobs: Mapping[BlobKey, Sequence[EncodedChunk]]
) -> dict[BlobKey, int]:
    """Store blobs with all their chunks, in the caller's transaction, and give the id of each.

    A blob that another job stored in the meantime is taken as it is. The manifest must be there, as `hold` sees to,
    and where that has an embedder, the vectors of all the chunks, as `vectors.hold` does.
    """
    if not blobs:
        return {}
    keys = sorted(blobs)  # in one order everywhere, so that two jobs cannot wait for each other
    hashes = [key.content_hash for key in keys]
    with statement(connection, "INSERT", "blobs") as insert:
        created = await connection.fetch(_INSERT, manifest_id, hashes, [key.language for key in keys])
        insert.rows = len(created)
    ids = _ids(created)
    await _copy_chunks(connection, {blob_id: blobs[key] for key, blob_id in ids.items()})
    if any(row["embedder_id"] is not None for row in created):
        await vectors.link(connection, ids.values())
    if len(ids) < len(keys):
        found = _ids(await connection.fetch(_FIND, manifest_id, hashes))
        ids = {key: found[key] for key in keys if key in found}
    if collected := {key: blobs[key] for key in keys if key not in ids}:  # between the two statements
        ids |= await store(connection, manifest_id, collected)
    return ids


def _ids(rows: Iterable[asyncpg.Record]) -> dict[BlobKey, int]:
    return {BlobKey(row["content_hash"], row["language"]): row["id"] for row in rows}


async def _copy_chunks(connection: Connection, chunks: Mapping[int, Sequence[EncodedChunk]]) -> None:
    if not chunks:
        return
    with statement(connection, "COPY", "chunks") as copy:
        copy.completed(
            await connection.copy_to_table("chunks", source=copied(chunks), columns=COLUMNS, format="binary")
        )


# By hash alone, and so by the index: PostgreSQL may think that a table which grows fast is small, and join all of it.
_KNOWN = """
SELECT DISTINCT ON (content_hash, language) content_hash, language, blobs.id
FROM blobs JOIN manifests ON manifests.id = $1
WHERE content_hash = ANY ($2::bytea[]) AND blobs.pipeline_version = manifests.pipeline_version
  AND blobs.embedder_id IS NOT DISTINCT FROM manifests.embedder_id
  AND (NOT manifests.force_reindex OR blobs.revision = manifests.id)
ORDER BY content_hash, language, blobs.revision DESC
"""
_INSERT = """
INSERT INTO blobs (content_hash, language, pipeline_version, embedder_id, revision, manifest_id)
SELECT new.content_hash, new.language, pipeline_version, embedder_id,
       CASE WHEN force_reindex THEN manifests.id ELSE 0 END, $1
FROM unnest($2::bytea[], $3::text[]) WITH ORDINALITY AS new (content_hash, language, ordinal)
JOIN manifests ON manifests.id = $1
ORDER BY ordinal
ON CONFLICT DO NOTHING
RETURNING id, content_hash, language, embedder_id
"""
_FIND = """
SELECT content_hash, language, blobs.id
FROM blobs JOIN manifests ON manifests.id = $1
WHERE content_hash = ANY ($2::bytea[]) AND blobs.pipeline_version = manifests.pipeline_version
  AND blobs.embedder_id IS NOT DISTINCT FROM manifests.embedder_id
  AND blobs.revision = CASE WHEN force_reindex THEN manifests.id ELSE 0 END
FOR KEY SHARE OF blobs
"""
