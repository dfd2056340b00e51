"""What Temporal alone knows of jobs: their workflows, before, beside and after their rows."""

import asyncio
import time
from collections.abc import AsyncIterator, Container
from contextlib import suppress
from datetime import datetime
from typing import Final
from uuid import UUID

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowHistoryEventFilterType,
)
from temporalio.exceptions import TemporalError

from verdex import temporal
from verdex.contracts import INDEX_REPOSITORY, JOB_STATE_QUERY, IndexRequest, Job, JobState
from verdex.errors import TransientError
from verdex.storage.namespaces import Namespace

LISTED_SECONDS: Final = 5.0
"""After this, a workflow that was started is listed, or there is something wrong with the service."""


class TemporalJobs:
    """Reads Temporal; every method raises TemporalUnavailable where that does not answer."""

    def __init__(self, client: Client) -> None:
        """Read through `client`."""
        self._client = client

    async def namespace(self) -> Namespace:
        """The namespace that is read."""
        request = DescribeNamespaceRequest(namespace=self._client.namespace)
        with temporal.translated():
            answer = await self._client.workflow_service.describe_namespace(request, timeout=temporal.RPC_TIMEOUT)
        return Namespace(answer.namespace_info.id, answer.namespace_info.name)

    async def describe(self, workflow_id: str, run_id: str) -> WorkflowExecutionDescription | None:
        """What Temporal knows of a run; None if nothing."""
        handle = self._client.get_workflow_handle(workflow_id, run_id=run_id)
        with temporal.unless_gone():
            return await handle.describe(rpc_timeout=temporal.RPC_TIMEOUT)
        return None

    async def find(self, job_id: str) -> Job | None:
        """A job by its id alone, as it was started; None if no workflow is a job by that id.

        Temporal lists a workflow a moment after its start, so one that is not there yet is looked for again.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(LISTED_SECONDS):
                while True:
                    async for job in self._list(f"RunId = '{job_id}'"):
                        return job
                    if not _was_started_just_now(job_id):
                        return None
                    await asyncio.sleep(0.02)
        return None

    async def open_jobs(self, task_queue: str, known: Container[str]) -> list[Job]:
        """The jobs of a task queue, as they were started, whose workflow runs, but for those whose id is known."""
        return [job async for job in self._list(_running(task_queue), known)]

    async def closed_ids(self, task_queue: str, since: datetime) -> list[str]:
        """The ids of the jobs of a task queue whose workflow has closed since then."""
        condition = (
            f"ExecutionStatus != 'Running' AND TaskQueue = '{task_queue}' AND CloseTime >= '{since.isoformat()}'"
        )
        return [found.run_id async for found in self._workflows(condition)]

    async def open_ids(self, task_queue: str) -> dict[str, datetime]:
        """The ids of the jobs of a task queue whose workflow runs, and when each was started."""
        return {found.run_id: found.start_time async for found in self._workflows(_running(task_queue))}

    async def state(self, job: Job) -> JobState | None:
        """What the workflow of a job says that it is doing; None where it cannot be asked."""
        handle = self._client.get_workflow_handle(job.workflow_id, run_id=job.job_id)
        try:
            with temporal.translated():
                answer = await handle.query(JOB_STATE_QUERY, rpc_timeout=temporal.RPC_TIMEOUT)
                return JobState.model_validate(answer)
        except (TemporalError, TransientError):
            return None

    async def last_words(self, workflow: WorkflowExecutionDescription) -> str:
        """Who terminated a workflow and why, or what failed it; empty for other ends."""
        handle = self._client.get_workflow_handle(workflow.id, run_id=workflow.run_id)
        closing = WorkflowHistoryEventFilterType.CLOSE_EVENT
        with temporal.unless_gone():
            async for event in handle.fetch_history_events(event_filter_type=closing):
                if event.HasField("workflow_execution_terminated_event_attributes"):
                    terminated = event.workflow_execution_terminated_event_attributes
                    reason = f": {terminated.reason}" if terminated.reason else ""
                    return f" by {terminated.identity or 'somebody'}{reason}{_reset(workflow)}"
                failure = event.workflow_execution_failed_event_attributes.failure.message
                return f": {failure}" if failure else ""
        return ""

    async def _list(self, condition: str, known: Container[str] = ()) -> AsyncIterator[Job]:
        async for found in self._workflows(condition):
            if found.run_id not in known and (request := await self._request(found)):
                yield _as_started(found, request)

    async def _workflows(self, condition: str) -> AsyncIterator[WorkflowExecution]:
        query = f"WorkflowType = '{INDEX_REPOSITORY}' AND {condition}"
        with temporal.translated():
            async for found in self._client.list_workflows(query):
                yield found

    async def _request(self, workflow: WorkflowExecution) -> IndexRequest | None:
        """The input that a run was started with; None where it is not that of a job."""
        handle = self._client.get_workflow_handle(workflow.id, run_id=workflow.run_id)
        with temporal.unless_gone():
            async for event in handle.fetch_history_events(page_size=1):
                payloads = event.workflow_execution_started_event_attributes.input.payloads
                with suppress(ValueError):
                    return IndexRequest.model_validate_json(payloads[0].data if payloads else b"")
        return None


def _was_started_just_now(job_id: str) -> bool:
    """As far as the id tells: those of runs are UUIDs of version 7, which begin with the milliseconds since 1970."""
    run_id = UUID(job_id)
    return run_id.version == 7 and abs(time.time() - (run_id.int >> 80) / 1000) < LISTED_SECONDS


def _running(task_queue: str) -> str:
    return f"ExecutionStatus = 'Running' AND TaskQueue = '{task_queue}'"


def _reset(workflow: WorkflowExecutionDescription) -> str:
    new = workflow.raw_description.workflow_extended_info.reset_run_id
    return f" (it was reset, and goes on as job {new})" if new else ""


def _as_started(workflow: WorkflowExecution, request: IndexRequest) -> Job:
    return Job(
        job_id=workflow.run_id,
        workflow_id=workflow.id,
        status="pending",
        created_at=workflow.start_time,
        **request.model_dump(include={"project_id", "repo_path", "force_reindex"}),
    )
