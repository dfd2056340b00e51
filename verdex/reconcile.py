"""Rows whose workflow is gone: no job outlives its workflow, whatever closed it."""

import logging
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHistoryEventFilterType,
)

from verdex import temporal
from verdex.contracts import IndexRequest, IndexResult, Job, JobIdentity, JobRecord, JobState, JobStatus
from verdex.errors import DatabaseNotFound, JobConflict, SettingsError, TemporalUnavailable
from verdex.storage import publish
from verdex.storage.database import Server
from verdex.storage.projects import database_name
from verdex.storage.registry import Registry

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

    def __init__(self, client: Client, server: Server) -> None:
        """`server` holds the registry and the databases of the projects."""
        self._client = client
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
        """
        workflow = await self.describe(job.workflow_id, job.job_id)
        if workflow is not None and workflow.status == WorkflowExecutionStatus.RUNNING:
            return False
        current = await self._registry.job(job.job_id)  # the workflow may have recorded its end just now
        if current is not None and current.is_terminal:
            return False
        await self._end(job, workflow)
        return True

    async def describe(self, workflow_id: str, run_id: str) -> WorkflowExecutionDescription | None:
        """What Temporal knows of a run; None if nothing."""
        handle = self._client.get_workflow_handle(workflow_id, run_id=run_id)
        with temporal.unless_gone():
            return await handle.describe(rpc_timeout=temporal.RPC_TIMEOUT)
        return None

    async def request(self, workflow_id: str, run_id: str) -> IndexRequest | None:
        """The input that a run was started with; None where it is not that of a job."""
        handle = self._client.get_workflow_handle(workflow_id, run_id=run_id)
        with temporal.unless_gone():
            async for event in handle.fetch_history_events(page_size=1):
                payloads = event.workflow_execution_started_event_attributes.input.payloads
                with suppress(ValueError):
                    return IndexRequest.model_validate_json(payloads[0].data if payloads else b"")
        return None

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
        return error_type, message + await self._last_words(workflow)

    async def _last_words(self, workflow: WorkflowExecutionDescription) -> str:
        """Who terminated a workflow and why, or what failed it; empty for other ends."""
        handle = self._client.get_workflow_handle(workflow.id, run_id=workflow.run_id)
        closing = WorkflowHistoryEventFilterType.CLOSE_EVENT
        with temporal.unless_gone():
            async for event in handle.fetch_history_events(event_filter_type=closing):
                if event.HasField("workflow_execution_terminated_event_attributes"):
                    terminated = event.workflow_execution_terminated_event_attributes
                    reason = f": {terminated.reason}" if terminated.reason else ""
                    return f" by {terminated.identity or 'somebody'}{reason}"
                failure = event.workflow_execution_failed_event_attributes.failure.message
                return f": {failure}" if failure else ""
        return ""


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
