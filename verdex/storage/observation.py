"""What can be measured of the registry: jobs that ended, jobs that have not, and when repositories last succeeded."""

from collections.abc import Iterable
from typing import Final, NamedTuple
from uuid import UUID

from verdex.contracts import JobStatus, Phase
from verdex.storage.claims import REPOSITORIES
from verdex.storage.database import Database


class Ended(NamedTuple):
    """A job that ended; `event_id` is that of the event which says so, and is higher for later ones."""

    event_id: int
    job_id: str
    status: JobStatus
    error_type: str | None
    revision: int
    duration_seconds: float | None
    files_indexed: int
    files_skipped: int
    files_failed: int
    chunks_created: int


class PhaseTime(NamedTuple):
    """How long a job was in a phase, also while it was blocked there."""

    phase: Phase
    seconds: float


class Unfinished(NamedTuple):
    """The jobs with a row that have not ended; the ages are seconds, 0 where there is no such job."""

    pending: int
    running: int
    blocked: int
    pending_age: float
    blocked_age: float


class ProjectHealth(NamedTuple):
    """How the repositories of a project are; times are seconds since 1970."""

    project_id: str
    oldest_success: float | None
    """The last success of the repository whose last success is longest ago."""
    failing_since: float | None
    """The first failure, since its last success, of the repository that has failed for longest."""
    failing: int
    """Repositories that failed since their last success."""


_ENDED: Final = """
SELECT job_events.id, indexing_jobs.id::text, status, error_type, revision, duration_seconds,
       files_indexed, files_skipped, files_failed, chunks_created
FROM job_events JOIN indexing_jobs ON indexing_jobs.id = job_id
WHERE job_events.id > $1 AND event IN ('completed', 'failed', 'cancelled')
ORDER BY job_events.id
"""
_PHASES: Final = """
SELECT phase, extract(epoch FROM sum(until - at))::float8
FROM (
    SELECT job_id, phase, at, lead(at) OVER (PARTITION BY job_id ORDER BY id) AS until
    FROM job_events WHERE job_id = ANY ($1::uuid[])
) AS events
WHERE phase IS NOT NULL AND until IS NOT NULL
GROUP BY job_id, phase
"""
_UNFINISHED: Final = """
WITH unfinished AS (
    SELECT id, status, created_at FROM indexing_jobs WHERE status IN ('pending', 'running', 'blocked')
), blocked AS (
    SELECT min(at) AS since FROM job_events JOIN unfinished ON unfinished.id = job_id
    WHERE status = 'blocked' AND NOT EXISTS (
        SELECT FROM job_events AS later
        WHERE later.job_id = job_events.job_id AND later.id >= job_events.id AND later.event <> 'blocked')
)
SELECT
    count(*) FILTER (WHERE status = 'pending'),
    count(*) FILTER (WHERE status = 'running'),
    count(*) FILTER (WHERE status = 'blocked'),
    coalesce(extract(epoch FROM now() - min(created_at) FILTER (WHERE status = 'pending')), 0)::float8,
    coalesce(extract(epoch FROM now() - (SELECT since FROM blocked)), 0)::float8
FROM unfinished
"""
_PROJECTS: Final = f"""
WITH RECURSIVE {REPOSITORIES}, ends AS (
    SELECT project_id, last, (
        SELECT min(completed_at) FROM indexing_jobs
        WHERE project_id = repositories.project_id AND repo_path = repositories.repo_path AND status = 'failed'
          AND completed_at > coalesce(last, '-infinity')) AS failing_since
    FROM repositories CROSS JOIN LATERAL (
        SELECT max(completed_at) AS last FROM indexing_jobs
        WHERE project_id = repositories.project_id AND repo_path = repositories.repo_path AND status = 'completed'
    ) AS succeeded
)
SELECT project_id, extract(epoch FROM min(last))::float8, extract(epoch FROM min(failing_since))::float8,
       count(failing_since)
FROM ends GROUP BY project_id
"""  # noqa: S608
_KINDS: Final = """
WITH RECURSIVE kinds (status, error_type) AS (
    SELECT status, (SELECT min(error_type) FROM indexing_jobs WHERE status = ended.status)
    FROM unnest('{completed,failed,cancelled}'::text[]) AS ended (status)
    UNION ALL
    SELECT status, (
        SELECT min(error_type) FROM indexing_jobs WHERE status = kinds.status AND error_type > kinds.error_type)
    FROM kinds WHERE error_type IS NOT NULL
)
SELECT status, error_type FROM kinds WHERE error_type IS NOT NULL
"""


class Observation:
    """Reads the registry; every method raises as `Database.connection`."""

    def __init__(self, registry: Database) -> None:
        """`registry` is migrated."""
        self._registry = registry

    async def last_event(self) -> int:
        """The id of the newest event of any job; 0 where there is none."""
        async with self._registry.connection() as connection:
            return int(await connection.fetchval("SELECT coalesce(max(id), 0) FROM job_events"))

    async def ended(self, after: int) -> list[Ended]:
        """The jobs of which an event later than that with the id `after` says that they ended, in this order."""
        async with self._registry.connection() as connection:
            return [Ended(*row) for row in await connection.fetch(_ENDED, after)]

    async def kinds(self) -> list[tuple[JobStatus, str]]:
        """The ends with an error that jobs have had, each once: status and type of error."""
        async with self._registry.connection() as connection:
            return [(row["status"], row["error_type"]) for row in await connection.fetch(_KINDS)]

    async def phases(self, job_ids: Iterable[str]) -> list[PhaseTime]:
        """How long each of the jobs was in each phase. One that passed too quickly to be recorded is not there."""
        async with self._registry.connection() as connection:
            return [PhaseTime(*row) for row in await connection.fetch(_PHASES, [UUID(job_id) for job_id in job_ids])]

    async def unfinished(self) -> Unfinished:
        """How many jobs there are that have not ended, and since when."""
        async with self._registry.connection() as connection:
            (row,) = await connection.fetch(_UNFINISHED)
        return Unfinished(*row)

    async def projects(self) -> list[ProjectHealth]:
        """How each project is."""
        async with self._registry.connection() as connection:
            return [ProjectHealth(*row) for row in await connection.fetch(_PROJECTS)]
