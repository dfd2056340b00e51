"""Retention: rows of old jobs, manifests that neither a job nor a search needs, and blobs that no manifest holds.

A row stays for the retention time, and as the newest of its repository. A manifest stays as long as the row of its
job, and as long as searches see it. A blob stays as long as a manifest holds it.

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

from verdex.storage.claims import LAST_COMPLETED, Repository
from verdex.storage.database import Database
from verdex.storage.newest import newest

REMEMBERED: Final = timedelta(days=365)
"""How long it is known that a job was removed: for longer than Temporal remembers its workflow."""
BATCH_JOBS: Final = 1_000
"""Jobs that are looked at at a time: a statement may only take so long."""
BATCH_BLOBS: Final = 500
"""Blobs that are locked and removed at a time."""


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
