"""Rows whose workflow is gone: no job outlives its workflow, whatever closed it."""

import logging
from datetime import UTC, datetime
from typing import Final

from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus

from verdex.contracts import IndexResult, Job, JobIdentity, JobRecord, JobState, JobStatus
from verdex.errors import DatabaseNotFound, JobConflict, JobNotFound, SettingsError, TemporalUnavailable
from verdex.storage import publish, retention
from verdex.storage.database import Server
from verdex.storage.projects import database_name
from verdex.storage.registry import Registry
from verdex.temporal_jobs import TemporalJobs

LAST_REVISION: Final = 2**31 - 1
_ENDED_WITHOUT_RECORD: Final = {
    WorkflowExecutionStatus.TERMINATED: ("WorkflowTerminated", "the workflow was terminated"),
    WorkflowExecutionStatus.TIMED_OUT: ("WorkflowTimedOut", "the workflow ran into its timeout"),
    WorkflowExecutionStatus.FAILED: ("WorkflowFailed", "the workflow failed before it could record why"),
    WorkflowExecutionStatus.COMPLETED: ("WorkflowLost", "the workflow ended without recording its outcome"),
    WorkflowExecutionStatus.CONTINUED_AS_NEW: ("WorkflowLost", "the workflow went on under another run id"),
}
_LOST: Final = ("WorkflowLost", "Temporal does not know the workflow any more: deleted, or its history is lost")

_logger = logging.getLogger(__name__)


class Reconciler:
    """Compares rows that have not ended with Temporal, and ends those whose workflow has."""

    def __init__(self, jobs: TemporalJobs, server: Server) -> None:
        """`server` holds the registry and the databases of the projects."""
        self._temporal = jobs
        self._server = server
        self._registry = Registry(server.registry)

    async def reconcile_all(self) -> int:
        """End every row whose workflow is closed or lost; the number of rows that were ended.

        A row that cannot be ended now, because of the database of its project, does not hold up the others.

        Raises:
            TemporalUnavailable, DatabaseUnavailable
        """
        return sum([await self._reconcile_apart(job) for job in await self._registry.unfinished()])

    async def _reconcile_apart(self, job: Job) -> bool:
        try:
            return await self.reconcile(job)
        except (TemporalUnavailable, SettingsError):
            raise
        except Exception:
            _logger.exception("job cannot be reconciled", extra={"job_id": job.job_id, "project_id": job.project_id})
            return False

    async def reconcile(self, job: Job) -> bool:
        """End the row of a job if its workflow is closed or lost; whether it was.

        Raises:
            TemporalUnavailable, DatabaseUnavailable
            JobNotFound: there was a row, which had ended long ago.
        """
        workflow = await self._temporal.describe(job.workflow_id, job.job_id)
        if workflow is not None and workflow.status == WorkflowExecutionStatus.RUNNING:
            return False
        current = await self._registry.job(job.job_id)  # the workflow may have recorded its end just now
        if current is not None and current.is_terminal:
            return False
        if current is None and await retention.was_removed(self._server.registry, job.job_id):
            raise JobNotFound(f"job {job.job_id} ended so long ago that it was removed")
        await self._end(job, workflow)
        return True

    async def _end(self, job: Job, workflow: WorkflowExecutionDescription | None) -> None:
        published = await self._withdraw(job)
        status, result, message = await self._verdict(workflow, published)
        started_at = job.started_at or job.created_at
        closed_at = workflow.close_time if workflow and workflow.close_time else datetime.now(UTC)
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
        _logger.error(
            "job ended by reconciliation",
            extra={"job_id": job.job_id, "project_id": job.project_id, "status": status, "error": message},
        )

    async def _withdraw(self, job: Job) -> IndexResult | None:
        try:
            return await publish.abandon(self._server.database(database_name(job.project_id)), job.job_id)
        except DatabaseNotFound:
            return None

    async def _verdict(
        self, workflow: WorkflowExecutionDescription | None, published: IndexResult | None
    ) -> tuple[JobStatus, IndexResult | None, str]:
        error_type, message = _LOST if workflow is None else await self._what_ended(workflow)
        if published is not None:
            return "completed", published, f"published, then {message}"
        if workflow is not None and workflow.status == WorkflowExecutionStatus.CANCELED:
            return "cancelled", None, message
        return "failed", IndexResult(status="failed", errors=[message], error_type=error_type), message

    async def _what_ended(self, workflow: WorkflowExecutionDescription) -> tuple[str, str]:
        if workflow.status == WorkflowExecutionStatus.CANCELED:
            return "Cancelled", "cancelled before the job recorded it"
        status = workflow.status or WorkflowExecutionStatus.COMPLETED
        error_type, message = _ENDED_WITHOUT_RECORD[status]
        return error_type, message + await self._temporal.last_words(workflow)


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
