"""The table `indexing_jobs`: one row a job."""

from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Final, get_args
from uuid import UUID

import asyncpg

from verdex.contracts import TERMINAL, Counts, Job, JobEvent, JobRecord, JobStatus
from verdex.errors import JobConflict
from verdex.storage.database import Connection, Database
from verdex.storage.newest import newest
from verdex.storage.statements import statement
from verdex.telemetry.redaction import redact

_COLUMNS: Final = ", ".join("id::text AS job_id" if name == "job_id" else name for name in Job.model_fields)

_INSERT: Final = """
INSERT INTO indexing_jobs (id, workflow_id, project_id, repo_path, force_reindex, trace_id, created_at, status)
VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending')
ON CONFLICT (id) DO NOTHING
"""
# From pending there is no way to blocked, and from neither to completed, but through running.
_REACH: Final = """
UPDATE indexing_jobs SET status = 'running', status_message = NULL, started_at = $4
WHERE id = $1 AND revision < $2
  AND (status = 'pending' AND $3::text IN ('blocked', 'completed') OR status = 'blocked' AND $3::text = 'completed')
"""
_UPDATE_STATE: Final = """
UPDATE indexing_jobs
SET status = $3, phase = $4, status_message = $5, attempt = $6, started_at = $7, revision = $2,
    files_total = greatest(files_total, $8)
WHERE id = $1 AND revision < $2 AND status IN ('pending', 'running', 'blocked')
"""
_COUNTS: Final = tuple(name for name in Counts.model_fields if name != "files_total")
_SEEN: Final = frozenset({"files_skipped", "files_failed"})
"""What a job that published nothing can still tell."""
_UPDATE_END: Final = f"""
UPDATE indexing_jobs
SET revision = $2, status = $3::text, status_message = $4, started_at = $5, completed_at = $6,
    result_status = $7, error_message = $8, error_type = $9, errors = $10, generation = $11,
    manifest_digest = $12, phase = coalesce($13, phase),
    files_total = CASE $3::text WHEN 'completed' THEN $14::bigint ELSE greatest(files_total, $14::bigint) END,
    files_done = CASE $3::text WHEN 'completed' THEN $14::bigint ELSE files_done END,
    {", ".join(f"{name} = ${number}" for number, name in enumerate(_COUNTS, start=15))}
WHERE id = $1 AND status IN ('pending', 'running', 'blocked')
"""  # noqa: S608  (names of columns only)

_LOWEST, _HIGHEST = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"
_IDS: Final = """
(SELECT id, created_at FROM indexing_jobs WHERE id BETWEEN $2 AND $3 ORDER BY id DESC LIMIT $4)
UNION
(SELECT id, created_at FROM indexing_jobs
 WHERE reverse(id::text) COLLATE "C" BETWEEN reverse($1) AND reverse($1) || 'g'  -- which comes after every digit
 ORDER BY reverse(id::text) COLLATE "C" LIMIT $4)
ORDER BY created_at DESC LIMIT $4
"""

UNTOLD_AT_ONCE: Final = 1_000
_TAKE_UNTOLD: Final = f"""
WITH taken AS (
    DELETE FROM untold_ends WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM untold_ends
        WHERE job_id BETWEEN coalesce($1, '{_LOWEST}'::uuid) AND coalesce($1, '{_HIGHEST}'::uuid)
        ORDER BY job_id LIMIT $2 FOR UPDATE SKIP LOCKED))
    RETURNING job_id
)
SELECT {_COLUMNS} FROM indexing_jobs WHERE id IN (SELECT job_id FROM taken) ORDER BY completed_at
"""  # noqa: S608


class Registry:
    """Reads and writes jobs."""

    def __init__(self, database: Database) -> None:
        """`database` is the registry's."""
        self._database = database

    async def record(self, record: JobRecord) -> None:
        """Make the row say what the record says; a record that is older than the row changes nothing.

        Messages are stored without secrets.

        Raises:
            JobConflict: the row is terminal already and says something else.
        """
        async with self._database.transaction() as connection:
            await _begin(connection, record)
            await _reach(connection, record)
            with statement(connection, "UPDATE", "indexing_jobs"):
                if record.state.status in TERMINAL:
                    await _end(connection, record)
                else:
                    await _update(connection, record)

    async def record_progress(self, job_id: str, files_done: int) -> None:
        """Tell how many files have an outcome by now; never goes back."""
        async with self._database.connection() as connection:
            await connection.execute(
                """
                UPDATE indexing_jobs SET files_done = least($2, files_total)
                WHERE id = $1 AND files_done < least($2, files_total) AND status IN ('running', 'blocked')
                """,
                UUID(job_id),
                files_done,
            )

    async def job(self, job_id: str) -> Job | None:
        """One job; None where there is no row."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                f"SELECT {_COLUMNS} FROM indexing_jobs WHERE id = $1",  # noqa: S608
                UUID(job_id),
            )
        return _job(row) if row else None

    async def jobs(
        self,
        *,
        project_id: str | None = None,
        status: JobStatus | None = None,
        repo_path: str | None = None,
        limit: int = 20,
    ) -> list[Job]:
        """The newest jobs first."""
        filters = {"project_id": project_id, "repo_path": repo_path}
        given = {name: value for name, value in filters.items() if value is not None}
        values = {name: f"${number}" for number, name in enumerate(given, start=3)}
        query = newest(_COLUMNS, values, statuses="$2::text[]", limit="$1")
        statuses = [status] if status else get_args(JobStatus)
        async with self._database.connection() as connection:
            return [_job(row) for row in await connection.fetch(query, limit, statuses, *given.values())]

    async def newest_of(self, project_id: str, repo_paths: Collection[str]) -> list[Job]:
        """The newest job of each repository."""
        one = newest(_COLUMNS, {"project_id": "$1", "repo_path": "repository.path"}, limit="1")
        query = f"SELECT job.* FROM unnest($2::text[]) AS repository (path) CROSS JOIN LATERAL ({one}) AS job"  # noqa: S608
        async with self._database.connection() as connection:
            return [_job(row) for row in await connection.fetch(query, project_id, list(repo_paths))]

    async def with_ids(self, job_ids: Collection[str]) -> list[Job]:
        """Those of these jobs that have a row."""
        query = f"SELECT {_COLUMNS} FROM indexing_jobs WHERE id = ANY ($1::text[]::uuid[])"  # noqa: S608
        async with self._database.connection() as connection:
            return [_job(row) for row in await connection.fetch(query, list(job_ids))]

    async def ids(self, part: str, limit: int) -> list[str]:
        """At most `limit` of the ids that begin or end with `part`, of lower-case hexadecimal digits and dashes.

        The ids of newer jobs come first.
        """
        async with self._database.connection() as connection:
            return [str(row["id"]) for row in await connection.fetch(_IDS, part, *_beginning_with(part), limit)]

    async def events(self, job_id: str) -> list[JobEvent]:
        """What happened to a job, the oldest first; nothing where there is no row."""
        query = "SELECT at, event, phase, attempt, message FROM job_events WHERE job_id = $1 ORDER BY id"
        async with self._database.connection() as connection:
            return [JobEvent.model_validate(dict(row)) for row in await connection.fetch(query, UUID(job_id))]

    async def unrecorded(self, job_ids: Iterable[str]) -> set[str]:
        """Those jobs that have no row and never had one."""
        query = """
            SELECT id::text FROM unnest($1::text[]::uuid[]) AS job (id)
            WHERE NOT EXISTS (SELECT FROM indexing_jobs WHERE id = job.id)
              AND NOT EXISTS (SELECT FROM removed_jobs WHERE id = job.id)
        """
        if not (asked := list(job_ids)):
            return set()
        async with self._database.connection() as connection:
            return {row["id"] for row in await connection.fetch(query, asked)}

    @asynccontextmanager
    async def untold_ends(self, job_id: str | None = None) -> AsyncIterator[list[Job]]:
        """Jobs that ended and whose end was not told yet, or one of them; they count as told if the block ends well.

        What another process is telling at the moment is left to it.
        """
        async with self._database.transaction() as connection:
            rows = await connection.fetch(_TAKE_UNTOLD, job_id and UUID(job_id), UNTOLD_AT_ONCE)
            yield [_job(row) for row in rows]

    async def unfinished(self) -> list[Job]:
        """Every job that has not ended, the oldest first."""
        query = f"""
            SELECT {_COLUMNS} FROM indexing_jobs WHERE status IN ('pending', 'running', 'blocked')
            ORDER BY created_at
        """  # noqa: S608
        async with self._database.connection() as connection:
            return [_job(row) for row in await connection.fetch(query)]


def _job(row: asyncpg.Record) -> Job:
    return Job.model_validate(dict(row))


def _beginning_with(part: str) -> tuple[UUID | None, UUID | None]:
    """The lowest and the highest id that begins so; None where none can."""
    lowest, highest = (part + rest[len(part) :] for rest in (_LOWEST, _HIGHEST))
    with suppress(ValueError):
        if str(UUID(lowest)) == lowest:
            return UUID(lowest), UUID(highest)
    return None, None


async def _begin(connection: Connection, record: JobRecord) -> None:
    identity = record.identity
    await connection.execute(
        _INSERT,
        UUID(identity.job_id),
        identity.workflow_id,
        identity.project_id,
        identity.repo_path,
        identity.force_reindex,
        identity.trace_id,
        identity.created_at,
    )


async def _reach(connection: Connection, record: JobRecord) -> None:
    await connection.execute(
        _REACH, UUID(record.identity.job_id), record.revision, record.state.status, record.started_at
    )


async def _update(connection: Connection, record: JobRecord) -> None:
    state = record.state
    await connection.execute(
        _UPDATE_STATE,
        UUID(record.identity.job_id),
        record.revision,
        state.status,
        state.phase,
        _redacted(state.status_message),
        state.attempt,
        record.started_at,
        state.files_total,
    )


async def _end(connection: Connection, record: JobRecord) -> None:
    job_id, status = UUID(record.identity.job_id), record.state.status
    done = await connection.execute(_UPDATE_END, job_id, record.revision, status, *_end_values(record))
    if done == "UPDATE 0":
        digest = record.result.manifest_digest if record.result else None
        await _refuse_another_end(connection, job_id, status, digest)


def _end_values(record: JobRecord) -> list[object]:
    result, completed = record.result, record.state.status == "completed"
    counts = result or Counts()
    return [
        _redacted(record.state.status_message),
        record.started_at,
        record.completed_at and max(record.completed_at, record.started_at),  # clocks differ
        result and result.status,
        _redacted(result.error_message) if result else None,
        result and result.error_type,
        [redact(error) for error in result.errors] if result else [],
        result.generation if result and completed else None,
        result.manifest_digest if result and completed else None,
        record.state.phase,
        counts.files_total,
        *(getattr(counts, name) if completed or name in _SEEN else 0 for name in _COUNTS),
    ]


def _redacted(text: str | None) -> str | None:
    return None if text is None else redact(text)


async def _refuse_another_end(
    connection: Connection, job_id: UUID, status: JobStatus, manifest_digest: str | None
) -> None:
    found = await connection.fetchrow("SELECT status, manifest_digest FROM indexing_jobs WHERE id = $1", job_id)
    if found is None or found["status"] != status:
        raise JobConflict(f"job {job_id} is {found and found['status']} already and cannot become {status}")
    if status == "completed" and found["manifest_digest"] != manifest_digest:
        raise JobConflict(f"job {job_id} is completed already, with another index than the one that it published")
