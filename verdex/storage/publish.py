"""Publishing: the one transaction that makes a manifest what a search sees, or decides that it never will be."""

from typing import Final
from uuid import UUID

import asyncpg

from verdex.contracts import Counts, IndexResult
from verdex.errors import DatabaseNotFound
from verdex.storage.database import Connection, Database, Server
from verdex.storage.migrations import version
from verdex.storage.projects import database_name
from verdex.storage.statements import statement

NAMED_FAILURES: Final = 5
KEPT_FAILURES: Final = 100


async def publish(database: Database, manifest_id: int, *, max_failed_ratio: float) -> IndexResult:
    """Publish a manifest, or abandon it if it must not be; the counts are read back inside the transaction.

    Asked again, it gives the first answer. A repository whose generation moved since the job started is left alone.
    """
    async with database.transaction() as connection:
        manifest = await _lock(connection, manifest_id)
        if manifest["result"] is not None:
            return IndexResult.model_validate_json(manifest["result"])
        result = await _judge(connection, manifest, max_failed_ratio)
        await _decide(connection, manifest, result)
    return result


async def abandon(database: Database, job_id: str) -> IndexResult | None:
    """See to it that the manifest of a job is never published; the result, if it was published before."""
    async with database.transaction() as connection:
        if await version(connection) == 0:
            return None
        row = await connection.fetchrow(
            "SELECT id, state, result FROM manifests WHERE job_id = $1 FOR UPDATE", UUID(job_id)
        )
        if row is None:
            return None
        if row["state"] == "published":
            return IndexResult.model_validate_json(row["result"])
        await connection.execute("UPDATE manifests SET state = 'abandoned' WHERE id = $1", row["id"])
    return None


async def withdraw(server: Server, project_id: str, job_id: str) -> IndexResult | None:
    """As `abandon`, whatever became of the project: what is gone with its database cannot be published."""
    try:
        return await abandon(server.database(database_name(project_id)), job_id)
    except DatabaseNotFound:
        return None


async def _lock(connection: Connection, manifest_id: int) -> asyncpg.Record:
    with statement(connection, "SELECT", "manifests", "repositories"):
        row = await connection.fetchrow(_LOCK, manifest_id)
    if row is None:
        raise LookupError(f"there is no manifest {manifest_id}")
    return row


_LOCK: Final = """
SELECT manifests.*, repositories.path, repositories.generation AS current_generation,
       repositories.manifest_id AS published_id
FROM manifests JOIN repositories ON repositories.id = manifests.repository_id
WHERE manifests.id = $1 FOR UPDATE
"""


async def _judge(connection: Connection, manifest: asyncpg.Record, max_failed_ratio: float) -> IndexResult:
    counts = await _count(connection, manifest)
    errors = await _failures(connection, manifest["id"], counts)
    base, current = manifest["base_generation"], manifest["current_generation"]
    if manifest["state"] == "abandoned":
        return _failed(counts, "JobAbandoned", "the work of this job was given up")
    if base != current:
        return _failed(
            counts, "Superseded", f"another job published generation {current} while this one worked on {base}"
        )
    if counts.files_failed > max_failed_ratio * counts.files_total:
        limit = f"at most {max_failed_ratio:g} of them may fail: VERDEX_MAX_FAILED_RATIO"
        return _failed(counts, "TooManyFailedFiles", f"{errors[0]} ({limit})", *errors[1:])
    if counts.files_indexed == 0:
        return _failed(counts, "NothingToIndex", _nothing(manifest["path"], counts), *errors)
    with statement(connection, "SELECT", "files", "blobs"):
        digest = await connection.fetchval(_DIGEST, manifest["id"])
    return IndexResult(
        **counts.model_dump(),
        status="partial" if errors else "success",
        errors=errors,
        error_type="FilesFailed" if errors else None,
        generation=base + 1,
        manifest_digest=digest,
    )


def _failed(counts: Counts, error_type: str, *errors: str) -> IndexResult:
    seen = Counts(files_total=counts.files_total, files_skipped=counts.files_skipped, files_failed=counts.files_failed)
    return IndexResult(**seen.model_dump(), status="failed", errors=list(errors), error_type=error_type)


def _nothing(path: str, counts: Counts) -> str:
    if counts.files_total == 0:
        return f"nothing to index: {path} holds no files, or git's rules ignore them all"
    seen = f"{counts.files_total} seen, {counts.files_skipped} skipped, {counts.files_failed} failed"
    return f"nothing to index: no file of {path} can be indexed ({seen})"


async def _decide(connection: Connection, manifest: asyncpg.Record, result: IndexResult) -> None:
    if manifest["state"] == "abandoned":
        return
    state = "abandoned" if result.status == "failed" else "published"
    with statement(connection, "UPDATE", "manifests"):
        await connection.execute(
            "UPDATE manifests SET state = $2, generation = $3, result = $4 WHERE id = $1",
            manifest["id"],
            state,
            result.generation,
            result.model_dump_json(),
        )
    if state == "published":
        with statement(connection, "UPDATE", "repositories"):
            await connection.execute(
                "UPDATE repositories SET generation = $2, manifest_id = $3 WHERE id = $1",
                manifest["repository_id"],
                result.generation,
                manifest["id"],
            )


async def _count(connection: Connection, manifest: asyncpg.Record) -> Counts:
    with statement(connection, "SELECT", "files", "blobs", "chunks"):
        row = await connection.fetchrow(_COUNT, manifest["id"], manifest["published_id"])
    return Counts.model_validate(dict(row or {}))


_COUNT: Final = """
WITH new AS (
    SELECT path, outcome, blob_id FROM files WHERE manifest_id = $1
), old AS (
    SELECT path, blob_id FROM files WHERE manifest_id = $2 AND outcome = 'indexed'
), compared AS (
    SELECT new.blob_id AS new_blob, old.blob_id AS old_blob,
           CASE WHEN new.blob_id = old.blob_id THEN true
                ELSE (SELECT content_hash FROM blobs WHERE id = new.blob_id)
                   = (SELECT content_hash FROM blobs WHERE id = old.blob_id) END AS is_same
    FROM (SELECT * FROM new WHERE outcome = 'indexed') AS new FULL JOIN old USING (path)
)
SELECT
    (SELECT count(*) FROM new) AS files_total,
    (SELECT count(*) FROM new WHERE outcome = 'indexed') AS files_indexed,
    (SELECT count(*) FROM new WHERE outcome = 'skipped') AS files_skipped,
    (SELECT count(*) FROM new WHERE outcome = 'failed') AS files_failed,
    count(*) FILTER (WHERE old_blob IS NULL) AS files_added,
    count(*) FILTER (WHERE new_blob IS NULL) AS files_deleted,
    count(*) FILTER (WHERE is_same) AS files_unchanged,
    count(*) FILTER (WHERE NOT is_same) AS files_changed,
    (SELECT count(*) FROM chunks WHERE blob_id IN (SELECT id FROM blobs WHERE manifest_id = $1)) AS chunks_created,
    (SELECT count(*) FROM chunks WHERE blob_id IN (SELECT blob_id FROM new)) AS chunks_total
FROM compared
"""

# What is indexed, in the byte order of the paths, so that anybody can compute it again from the source alone.
_DIGEST: Final = r"""
SELECT encode(sha256(string_agg(
    convert_to(path, 'UTF8') || '\x00'::bytea || content_hash, '' ORDER BY path COLLATE "C")), 'hex')
FROM files JOIN blobs ON blobs.id = files.blob_id
WHERE files.manifest_id = $1 AND outcome = 'indexed'
"""


async def _failures(connection: Connection, manifest_id: int, counts: Counts) -> list[str]:
    """The files that failed: first a summary that names some, then one by one."""
    if counts.files_failed == 0:
        return []
    rows = await connection.fetch(
        "SELECT path, reason FROM files WHERE manifest_id = $1 AND outcome = 'failed' ORDER BY path LIMIT $2",
        manifest_id,
        KEPT_FAILURES,
    )
    each = [f"{row['path']}: {row['reason']}" for row in rows]
    more = ", …" if counts.files_failed > NAMED_FAILURES else ""
    summary = f"{counts.files_failed} of {counts.files_total} files could not be indexed"
    return [f"{summary}: {'; '.join(each[:NAMED_FAILURES])}{more}", *each]
