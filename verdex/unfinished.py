"""Jobs that have not ended, as the registry and Temporal together know them: what of the Python API asks Temporal."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Final

from opentelemetry import trace
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import TypedSearchAttributes, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from verdex import temporal
from verdex.contracts import INDEX_REPOSITORY, TERMINAL, IndexRequest, Job, Started, index_workflow_id
from verdex.errors import DatabaseUnavailable, JobNotFound, TemporalUnavailable, TransientError
from verdex.reconcile import Reconciler
from verdex.storage.database import Server
from verdex.storage.registry import Registry
from verdex.temporal import search_attributes, web_ui
from verdex.temporal.jobs import TemporalJobs

NO_POLLER: Final = "no worker is polling (start one: verdex worker)"
CLOSING_SECONDS: Final = 30.0
TASK_TIMEOUT: Final = timedelta(seconds=5)
"""After this, a workflow task that a killed worker had goes to another. It takes milliseconds, if nothing is wrong."""


class UnfinishedJobs:
    """Starts jobs, compares them with Temporal until they have ended, and cancels them.

    Methods raise TemporalUnavailable and DatabaseUnavailable where a service does not answer.
    """

    def __init__(self, client: Client, server: Server, task_queue: str) -> None:
        """Jobs are started for, and looked for in, `task_queue`."""
        self._client = client
        self._task_queue = task_queue
        self._registry = Registry(server.registry)
        self._temporal = TemporalJobs(client)
        self._reconciler = Reconciler(self._temporal, server)

    async def check_ownership(self) -> None:
        """Make sure that the registry and Temporal belong together; see `verdex.ownership`."""
        await self._reconciler.check_ownership()

    async def start(self, request: IndexRequest) -> Started:
        """Start a job, or find the one that indexes the repository already."""
        while True:
            started = await self._start(request)
            if not (started.already_running and await self._has_ended(started.job_id)):
                return started
            await self._closed(started)

    async def _start(self, request: IndexRequest) -> Started:
        tracer = trace.get_tracer(__name__)  # not before: see `WhenNeeded`
        with tracer.start_as_current_span("start job", kind=trace.SpanKind.PRODUCER), temporal.translated():
            try:
                return await self._start_workflow(request, search_attributes.at_start(request))
            except RPCError as error:
                if not search_attributes.are_refused(error):
                    raise
                return await self._start_workflow(request, TypedSearchAttributes.empty)

    async def _start_workflow(self, request: IndexRequest, attributes: TypedSearchAttributes) -> Started:
        try:
            handle = await self._client.start_workflow(
                INDEX_REPOSITORY,
                request,
                id=index_workflow_id(request.project_id, request.repo_path),
                task_queue=self._task_queue,
                task_timeout=TASK_TIMEOUT,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                static_summary=web_ui.summary(request),
                static_details=web_ui.details(request),
                search_attributes=attributes,
                rpc_timeout=temporal.RPC_TIMEOUT,
            )
        except WorkflowAlreadyStartedError as running:  # the id of its first run may be that of a job that was reset
            return Started(running.run_id or "", running.workflow_id, already_running=True)
        return Started(handle.result_run_id or "", handle.id, already_running=False)

    async def _has_ended(self, job_id: str) -> bool:
        """Whether the row is terminal: the workflow closes a moment later, and until then it is found as running."""
        row = await self._registry.job(job_id)
        return row is not None and row.is_terminal

    async def _closed(self, started: Started) -> None:
        """Wait for the workflow of a job that has ended: to take it for the one asked for would be a lie."""
        try:
            async with asyncio.timeout(CLOSING_SECONDS):
                await self.wait_for_end(started.workflow_id, started.job_id)
        except TimeoutError:
            message = f"job {started.job_id} has ended, but its workflow does not close: is a worker running?"
            raise TemporalUnavailable(message) from None

    async def current(self, job: Job) -> Job:
        """The row of a job that has not ended, as it is when it was compared with Temporal.

        A row whose workflow is gone is ended first, so that a stale `running` is never shown.
        """
        if await self._reconciler.reconcile(job):
            return await self._registry.job(job.job_id) or job
        current = await self._registry.job(job.job_id) or job
        return await self._waiting(current) if current.status == "pending" else current

    async def _waiting(self, job: Job) -> Job:
        """A job that no worker has taken up, and the reason, if that is that there is none."""
        workflow = await self._temporal.describe(job.workflow_id, job.job_id)
        queue = workflow.task_queue if workflow else self._task_queue
        if await temporal.has_poller(self._client, queue):
            return job
        other = "" if queue == self._task_queue else f' the task queue "{queue}" (VERDEX_TASK_QUEUE)'
        return job.model_copy(update={"status_message": f"{NO_POLLER}{other}"})

    async def without_row(self, job_id: str) -> Job:
        """A job that no worker has taken up yet: all there is stands in Temporal.

        Raises:
            JobNotFound: nor does Temporal know it.
            SettingsError: this is not the Temporal that the registry belongs to.
        """
        await self.check_ownership()
        return await self._started(job_id)

    async def _started(self, job_id: str) -> Job:
        job = await self._temporal.find(job_id)
        if job is None:
            raise JobNotFound(f"there is no job {job_id} (list them with: verdex jobs)")
        return job

    async def without_registry(self, job_id: str, unavailable: DatabaseUnavailable) -> Job:
        """While the registry is away, the workflow itself knows best; it cannot end without the registry.

        Raises:
            DatabaseUnavailable: `unavailable`; the workflow cannot be asked, or does not run.
        """
        try:
            job = await self._started(job_id)
        except (JobNotFound, TransientError):
            raise unavailable from None
        state = await self._temporal.state(job)
        if state is None or state.status in TERMINAL:
            raise unavailable
        reason = state.status_message or str(unavailable)
        return job.model_copy(update={**state.model_dump(), "status": "blocked", "status_message": reason})

    async def reconcile(self) -> None:
        """End every row whose workflow is gone, and make those of workflows that closed without one."""
        await self._reconciler.reconcile_all()
        with suppress(TemporalUnavailable):  # no row that is shown depends on it
            await self._reconciler.reconcile_unrecorded(self._task_queue)

    async def not_taken_up(self) -> list[Job]:
        """The jobs that no worker has taken up yet; none where Temporal does not answer."""
        recorded = {job.job_id for job in await self._registry.unfinished()}
        try:
            await self.check_ownership()
            found = await self._temporal.open_jobs(self._task_queue, known=recorded)
        except TemporalUnavailable:
            return []  # no row that is shown depends on it: those that have not ended were compared before
        waiting = await self._registry.unrecorded(job.job_id for job in found)
        return [job for job in found if job.job_id in waiting]

    async def cancel(self, job: Job) -> None:
        """Ask the workflow of a job to stop, if it runs."""
        handle = self._client.get_workflow_handle(job.workflow_id, run_id=job.job_id)
        with temporal.unless_gone():
            await handle.cancel(rpc_timeout=temporal.RPC_TIMEOUT)

    async def wait_for_end(self, workflow_id: str, run_id: str) -> None:
        """Return when the workflow closes; how it closed stands in the row. Never, if it cannot be watched."""
        handle = self._client.get_workflow_handle(workflow_id, run_id=run_id)
        try:
            await handle.result()
        except WorkflowFailureError:
            return
        except RPCError:
            await asyncio.Event().wait()
