"""Retention: old jobs, manifests that neither a job nor a search needs, blobs and vectors that nothing holds.

A row stays for the retention time, and as the newest of its repository. A manifest stays as long as the row of its
job, and as long as searches see it. A blob stays as long as a manifest holds it, a vector as long as a chunk has it.

No lock keeps jobs and collectors apart as a whole, and nothing here asks whether a job runs. Each thing is locked
alone, then looked at by a statement of its own, which sees all that was committed before the lock; what somebody
else holds is left for the next time. A job that is about to hold a blob locks it as well (`blobs.hold`), and makes it
anew if it is gone. So whoever is first wins, it matters to neither whether the other is a zombie, and a job waits at
most for one batch.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from verdex.storage import vectors
from verdex.storage.claims import LAST_COMPLETED, Repository
from verdex.storage.database import Database
from verdex.storage.newest import newest

REMEMBERED: Final = timedelta(days=365)
"""How long it is known that a job was removed: for longer than Temporal remembers its workflow."""
BATCH_JOBS: Final = 1_000
"""Jobs that are looked at at a time: a statement may only take so long."""
BATCH_BLOBS: Final = 500
"""Blobs that are locked and removed at a time."""
BATCH_VECTORS: Final = 2_000

Vector = tuple[int, bytes]
"""An embedder and the hash of a text."""


async def remove_old_jobs(registry: Database, older_than: timedelta) -> int:
    """Remove the jobs that ended longer ago than `older_than`, with their events; the number of jobs.

    Each repository keeps its newest job, and the last that completed: that one tells what its index holds. Temporal
    runs one job of a repository at a time, so a row whose workflow may still write it is always the newest.
    """
    removed, at, job_id = 0, None, None
    async with registry.connection() as connection:
        await connection.execute("DELETE FROM removed_jobs WHERE removed_at < now() - $1::interval", REMEMBERED)
        while batch := await connection.fetchrow(_REMOVE_JOBS, older_than, at, job_id, BATCH_JOBS):
            count, at, job_id = batch
            removed += count
    return removed


async def was_removed(registry: Database, job_id: str) -> bool:
    """Whether there was a row of the job, which had ended."""
    async with registry.connection() as connection:
        return bool(await connection.fetchval("SELECT true FROM removed_jobs WHERE id = $1", UUID(job_id)))


async def collect_manifests(database: Database, registry: Database, older_than: timedelta) -> int:
    """Remove the manifests of a project, with their files, that searches do not see and whose job has no row.

    A job has a row before it has a manifest, and only what has ended loses it. One that is younger than `older_than`
    is left alone all the same: it may be that of a registry that was restored, or of another one on this server.
    """
    jobs = await _unpublished(database, older_than)  # read before the rows, or a job could begin in between
    recorded = await _recorded(registry, jobs.values())
    unneeded = [manifest_id for manifest_id, job_id in jobs.items() if job_id not in recorded]
    return sum([await _remove_manifest(database, manifest_id) for manifest_id in unneeded])


async def collect_blobs(database: Database) -> int:
    """Remove the blobs of a project, with their chunks, that no manifest holds; the number of blobs."""
    removed, last = 0, 0
    while batch := await _unheld(database, last):
        removed += await _remove_blobs(database, batch)
        last = batch[-1]
    return removed


async def collect_vectors(database: Database, older_than: timedelta) -> int:
    """Remove the vectors of a project that no chunk has; the number of vectors.

    One that is younger than `older_than` is left alone: its job may be held up, and shall not embed it again.
    """
    if not await vectors.are_prepared(database):
        return 0
    removed, last = 0, (0, b"")
    while batch := await _unused(database, last, older_than):
        removed += await _remove_vectors(database, batch)
        last = batch[-1]
    await vectors.drop_indexes(database)
    return removed


async def _unused(database: Database, after: Vector, older_than: timedelta) -> list[Vector]:
    async with database.connection() as connection:
        rows = await connection.fetch(_UNUSED, *after, older_than, BATCH_VECTORS)
    return [(row["embedder_id"], row["content_hash"]) for row in rows]


async def _remove_vectors(database: Database, batch: Sequence[Vector]) -> int:
    columns = list(zip(*batch, strict=True))
    async with database.transaction() as connection:
        locked = await connection.fetch(_LOCK_VECTORS, *columns)
        columns = list(zip(*map(tuple, locked), strict=True)) or [(), ()]
        return int(await connection.fetchval(_REMOVE_VECTORS, *columns))


async def _unpublished(database: Database, older_than: timedelta) -> dict[int, UUID]:
    async with database.connection() as connection:
        rows = await connection.fetch(_UNPUBLISHED, older_than)
    return {row["id"]: row["job_id"] for row in rows}


async def _recorded(registry: Database, job_ids: Iterable[UUID]) -> set[UUID]:
    async with registry.connection() as connection:
        rows = await connection.fetch("SELECT id FROM indexing_jobs WHERE id = ANY ($1::uuid[])", list(job_ids))
    return {row["id"] for row in rows}


async def _remove_manifest(database: Database, manifest_id: int) -> int:
    """One a transaction, so that no manifest is ever half there."""
    async with database.transaction() as connection:
        locked = await connection.fetch("SELECT id FROM manifests WHERE id = $1 FOR UPDATE SKIP LOCKED", manifest_id)
        return int(await connection.fetchval(_REMOVE_MANIFESTS, [row["id"] for row in locked]))


async def _unheld(database: Database, after: int) -> list[int]:
    async with database.connection() as connection:
        return [row["id"] for row in await connection.fetch(_UNHELD, after, BATCH_BLOBS)]


async def _remove_blobs(database: Database, blob_ids: Sequence[int]) -> int:
    async with database.transaction() as connection:
        locked = await connection.fetch("SELECT id FROM blobs WHERE id = ANY ($1) FOR UPDATE SKIP LOCKED", blob_ids)
        return int(await connection.fetchval(_REMOVE_BLOBS, [row["id"] for row in locked]))


_REMOVE_JOBS: Final = f"""
WITH old AS MATERIALIZED (
    SELECT id, project_id, repo_path, created_at FROM indexing_jobs
    WHERE completed_at <= now() - $1::interval AND created_at <= now() - $1::interval  -- this has an index
      AND (created_at, id) > (coalesce($2, '-infinity'::timestamptz), coalesce($3, '{UUID(int=0)}'::uuid))
    ORDER BY created_at, id LIMIT $4
), kept AS MATERIALIZED (
    SELECT kept.id FROM (SELECT DISTINCT project_id, repo_path FROM old) AS repository CROSS JOIN LATERAL (
        ({newest("id", {name: f"repository.{name}" for name in Repository._fields}, limit="1")})
        UNION ALL
        (SELECT id FROM indexing_jobs
         WHERE project_id = repository.project_id AND repo_path = repository.repo_path AND status = 'completed'
         ORDER BY {LAST_COMPLETED} LIMIT 1)
    ) AS kept
), removed AS (
    DELETE FROM indexing_jobs WHERE id = ANY (ARRAY(SELECT id FROM old EXCEPT SELECT id FROM kept)) RETURNING id
)
SELECT (SELECT count(*) FROM removed), created_at, id FROM old ORDER BY created_at DESC, id DESC LIMIT 1
"""  # noqa: S608  (names of columns only)
_UNPUBLISHED: Final = """
SELECT id, job_id FROM manifests
WHERE created_at <= now() - $1::interval AND NOT EXISTS (SELECT FROM repositories WHERE manifest_id = manifests.id)
ORDER BY id
"""
_REMOVE_MANIFESTS: Final = """
WITH removed AS (
    DELETE FROM manifests
    WHERE id = ANY ($1) AND NOT EXISTS (SELECT FROM repositories WHERE manifest_id = manifests.id)
    RETURNING id
)
SELECT count(*) FROM removed
"""
_UNHELD: Final = """
SELECT id FROM blobs
WHERE id > $1 AND NOT EXISTS (SELECT FROM files WHERE blob_id = blobs.id)
ORDER BY id LIMIT $2
"""
_REMOVE_BLOBS: Final = """
WITH removed AS (
    DELETE FROM blobs
    WHERE id = ANY ($1) AND NOT EXISTS (SELECT FROM files WHERE blob_id = blobs.id)
    RETURNING id
)
SELECT count(*) FROM removed
"""
_UNUSED: Final = """
SELECT embedder_id, content_hash FROM vectors
WHERE (embedder_id, content_hash) > ($1, $2) AND created_at <= now() - $3::interval
  AND NOT EXISTS (
      SELECT FROM chunk_vectors AS used
      WHERE used.embedder_id = vectors.embedder_id AND used.content_hash = vectors.content_hash)
ORDER BY embedder_id, content_hash LIMIT $4
"""
_LOCK_VECTORS: Final = """
SELECT embedder_id, content_hash FROM vectors JOIN unnest($1::int[], $2::bytea[]) AS old (embedder_id, content_hash)
USING (embedder_id, content_hash)
FOR UPDATE OF vectors SKIP LOCKED
"""
_REMOVE_VECTORS: Final = """
WITH removed AS (
    DELETE FROM vectors USING unnest($1::int[], $2::bytea[]) AS old (embedder_id, content_hash)
    WHERE vectors.embedder_id = old.embedder_id AND vectors.content_hash = old.content_hash
      AND NOT EXISTS (
          SELECT FROM chunk_vectors AS used
          WHERE used.embedder_id = old.embedder_id AND used.content_hash = old.content_hash)
    RETURNING 1
)
SELECT count(*) FROM removed
"""
