"""Rows whose workflow is gone: no job outlives its workflow, whatever closed it."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from opentelemetry import trace
from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus

from verdex.contracts import IndexResult, Job, JobIdentity, JobRecord, JobState, JobStatus
from verdex.errors import JobConflict, JobNotFound, SettingsError, TemporalUnavailable
from verdex.ownership import check_ownership
from verdex.presence import Absence, absent
from verdex.storage import publish, retention
from verdex.storage.claims import claims, repositories
from verdex.storage.database import Server
from verdex.storage.projects import database_name
from verdex.storage.registry import Registry
from verdex.telemetry import redact, within_trace
from verdex.telemetry.spans import record_error
from verdex.telemetry.steps import RESULT
from verdex.temporal.jobs import TemporalJobs

LAST_REVISION: Final = 2**31 - 1
LATELY: Final = timedelta(hours=1)
"""How long after its end a workflow that left no row is looked for."""
_ENDED_WITHOUT_RECORD: Final = {
    WorkflowExecutionStatus.TERMINATED: ("WorkflowTerminated", "the workflow was terminated"),
    WorkflowExecutionStatus.TIMED_OUT: ("WorkflowTimedOut", "the workflow ran into its timeout"),
    WorkflowExecutionStatus.FAILED: ("WorkflowFailed", "the workflow failed before it could record why"),
    WorkflowExecutionStatus.COMPLETED: ("WorkflowLost", "the workflow ended without recording its outcome"),
    WorkflowExecutionStatus.CONTINUED_AS_NEW: ("WorkflowLost", "the workflow went on under another run id"),
}
_LOST: Final = "Temporal does not know the workflow any more: deleted, its retention is over, or its history is lost"
_KEPT: Final = {"phase", "attempt", "files_total"}
"""What a row goes on to say of a job that cannot be settled yet."""

_logger = logging.getLogger(__name__)


class _Cause(NamedTuple):
    """What ended a workflow whose row does not say it, in the words of the row."""

    status: JobStatus
    error_type: str
    message: str


class Reconciler:
    """Compares rows that have not ended with Temporal, and ends those whose workflow has."""

    def __init__(self, jobs: TemporalJobs, server: Server) -> None:
        """`server` holds the registry and the databases of the projects."""
        self._temporal = jobs
        self._server = server
        self._registry = Registry(server.registry)
        self._warned = dict[str, Absence | None]()

    async def reconcile_all(self) -> int:
        """End every row whose workflow is closed or lost; the number of rows that were ended.

        A row that cannot be ended now, because of the database of its project, does not hold up the others.

        Raises:
            TemporalUnavailable, DatabaseUnavailable
        """
        return sum([await self._reconcile_apart(job) for job in await self._registry.unfinished()])

    async def reconcile_unrecorded(self, task_queue: str) -> int:
        """Make a row for every job whose workflow closed lately without one; the number of these rows.

        So ends what is terminated before a worker takes it up, or reset to a point where all is recorded.

        Raises:
            TemporalUnavailable, DatabaseUnavailable
            SettingsError: the registry belongs to another Temporal.
        """
        closed = await self._temporal.closed_ids(task_queue, datetime.now(UTC) - LATELY)
        unrecorded = await self._registry.unrecorded(closed)
        if unrecorded:
            await self.check_ownership()
        jobs = [job for job_id in unrecorded if (job := await self._temporal.find(job_id))]
        return sum([await self._reconcile_apart(job) for job in jobs])

    async def check_ownership(self) -> None:
        """Make sure that the registry and Temporal belong together; see `verdex.ownership`."""
        await check_ownership(self._temporal, self._server.registry)

    async def warn_of_absent(self) -> None:
        """Log each index that a job published and that is gone, once for each way in which it is."""
        registry = self._server.registry
        last = await claims(registry, await repositories(registry))
        found = await absent(self._server, last)
        for repository, claim in last.items():
            absence = found.get(claim.job_id)
            if absence and self._warned.get(claim.job_id) != absence:
                _logger.warning(
                    "published index is not there" if absence.is_certain else "published index cannot be looked for",
                    extra={**repository._asdict(), "job_id": claim.job_id, "error": absence.message},
                )
            self._warned[claim.job_id] = absence

    async def _reconcile_apart(self, job: Job) -> bool:
        try:
            return await self.reconcile(job)
        except (TemporalUnavailable, SettingsError):
            raise
        except Exception:
            _logger.warning(  # an ERROR line stands for a job that failed, and this one is tried again
                "job cannot be reconciled",
                exc_info=True,
                extra={"job_id": job.job_id, "project_id": job.project_id},
            )
            return False

    async def reconcile(self, job: Job) -> bool:
        """End the row of a job if its workflow is closed or lost; whether it was.

        Where the database of its project does not answer, so that what was published is not known, the row is
        blocked instead and says so.

        Raises:
            TemporalUnavailable, DatabaseUnavailable
            JobNotFound: there was a row, which had ended long ago.
            SettingsError: the workflow is not known in this Temporal, and the registry belongs to another one.
        """
        workflow = await self._temporal.describe(job.workflow_id, job.job_id)
        if workflow is not None and workflow.status == WorkflowExecutionStatus.RUNNING:
            return False
        current = await self._registry.job(job.job_id)  # the workflow may have recorded its end just now
        if current is not None and current.is_terminal:
            return False
        if current is None and await retention.was_removed(self._server.registry, job.job_id):
            raise JobNotFound(f"job {job.job_id} ended so long ago that it was removed")
        cause = await self._what_ended(workflow)
        closed_at = workflow.close_time if workflow and workflow.close_time else datetime.now(UTC)
        try:
            published = await publish.withdraw(self._server, job.project_id, job.job_id)
        except Exception as error:  # noqa: BLE001  (whatever it is, what was published is not known)
            await self._wait(job, cause, error)
            return False
        await self._end(job, cause, closed_at, published)
        return True

    async def _what_ended(self, workflow: WorkflowExecutionDescription | None) -> _Cause:
        if workflow is None:
            await self.check_ownership()  # it may be another Temporal that does not know it
            return _Cause("failed", "WorkflowLost", _LOST)
        if workflow.status == WorkflowExecutionStatus.CANCELED:
            return _Cause("cancelled", "Cancelled", "cancelled before the job recorded it")
        error_type, message = _ENDED_WITHOUT_RECORD[workflow.status or WorkflowExecutionStatus.COMPLETED]
        return _Cause("failed", error_type, message + await self._temporal.last_words(workflow))

    async def _wait(self, job: Job, cause: _Cause, error: Exception) -> None:
        """Say what holds up the end of a job: that it runs would be a lie, and how it ended is not known."""
        waiting = f'waiting for database "{database_name(job.project_id)}" to settle what was published: {error}'
        message = redact(f"{cause.message}; {waiting}")
        record = JobRecord(
            identity=_identity(job),
            revision=_revision_now(),
            state=JobState(status="blocked", status_message=message, **job.model_dump(include=_KEPT)),
            started_at=job.started_at or job.created_at,
        )
        await self._registry.record(record)
        if job.status_message != record.state.status_message:
            _logger.warning(
                "job cannot be reconciled",
                extra={"job_id": job.job_id, "project_id": job.project_id, "error": message},
            )

    async def _end(self, job: Job, cause: _Cause, closed_at: datetime, published: IndexResult | None) -> None:
        status, result, message = _verdict(cause, published)
        started_at = job.started_at or job.created_at
        record = JobRecord(
            identity=_identity(job),
            revision=LAST_REVISION,
            state=JobState(status=status, status_message=message),
            started_at=started_at,
            completed_at=max(closed_at, started_at),
            result=result,
        )
        try:
            await self._registry.record(record)
        except JobConflict:
            return  # somebody else ended it at the same moment
        _trace_end(record.identity, status, cause.error_type, message)


def _trace_end(job: JobIdentity, status: JobStatus, error_type: str, message: str) -> None:
    """The span of the job went with its workflow, so this says in its trace how it ended."""
    attributes = {"verdex.job_id": job.job_id, "verdex.project_id": job.project_id, "verdex.repo_path": job.repo_path}
    tracer = trace.get_tracer(__name__)  # not before: see `WhenNeeded`
    with within_trace(job.trace_id), tracer.start_as_current_span("reconcile", attributes=attributes) as span:
        if status == "completed":
            span.set_attribute(f"{RESULT}error_message", message)
        else:
            record_error(span, error_type, message)


def _verdict(cause: _Cause, published: IndexResult | None) -> tuple[JobStatus, IndexResult | None, str]:
    if published is not None:
        return "completed", published, f"published, then {cause.message}"
    if cause.status == "cancelled":
        return "cancelled", None, cause.message
    return "failed", IndexResult(status="failed", errors=[cause.message], error_type=cause.error_type), cause.message


def _revision_now() -> int:
    """Minutes since 1970: later than all that a workflow wrote, and than what was said here before."""
    return int(datetime.now(UTC).timestamp() // 60)


def _identity(job: Job) -> JobIdentity:
    return JobIdentity(
        job_id=job.job_id,
        workflow_id=job.workflow_id,
        project_id=job.project_id,
        repo_path=job.repo_path,
        force_reindex=job.force_reindex,
        trace_id=job.trace_id or job.job_id.replace("-", ""),  # a run id has the size of a trace id
        created_at=job.created_at,
    )
