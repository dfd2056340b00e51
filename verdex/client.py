"""The Python API: start jobs, follow them, and read what the registry and Temporal together know of them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, NamedTuple, Self
from uuid import UUID, uuid4

from opentelemetry import trace
from pydantic import ValidationError
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import TemporalError
from temporalio.service import RPCError

from verdex import temporal
from verdex.contracts import (
    DEFAULT_PROJECT,
    INDEX_REPOSITORY,
    JOB_STATE_QUERY,
    TERMINAL,
    FileOutcome,
    IndexRequest,
    Job,
    JobState,
    JobStatus,
    Outcome,
    index_workflow_id,
)
from verdex.errors import DatabaseUnavailable, JobNotFound, RepositoryError, TransientError
from verdex.reconcile import Reconciler
from verdex.settings import Settings
from verdex.sources.paths import to_text
from verdex.storage.database import Server
from verdex.storage.manifests import Manifests
from verdex.storage.projects import Projects
from verdex.storage.registry import Registry

NO_POLLER: Final = "no worker is polling"
_STARTER: Final = "starter"
"""In the memo of a workflow: who started it, to tell a new job from one that ran already."""
_tracer = trace.get_tracer(__name__)


class Started(NamedTuple):
    """What `Verdex.index` gives: the job, and whether it ran already."""

    job_id: str
    workflow_id: str
    already_running: bool


class Verdex:
    """A connection to verdex: the registry in PostgreSQL and the Temporal service."""

    def __init__(self, client: Client, server: Server, settings: Settings) -> None:
        """Use `connect`, unless the parts are at hand."""
        self._client = client
        self._server = server
        self._settings = settings
        self._registry = Registry(server.registry)
        self._reconciler = Reconciler(client, server)
        self.projects = Projects(server)

    @classmethod
    async def connect(cls, settings: Settings | None = None) -> Self:
        """Connect as the environment says. Nothing is sent before the first call.

        Raises:
            SettingsError: a setting is missing or malformed.
        """
        settings = settings or Settings.load()
        return cls(await temporal.connect(lazy=True), Server(settings.database_dsn), settings)

    async def __aenter__(self) -> Self:
        """For `async with`."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections to PostgreSQL."""
        await self._server.close()

    async def index(
        self, path: Path | str, *, project_id: str = DEFAULT_PROJECT, force_reindex: bool = False
    ) -> Started:
        """Start a job for the repository at `path`, or find the one that runs.

        Raises:
            RepositoryError: the path cannot name a repository at all; what is wrong with the tree itself fails the job.
            TemporalUnavailable
        """
        request = self._request(Path(path), project_id, force_reindex)
        workflow_id, token = index_workflow_id(project_id, request.repo_path), uuid4().hex
        with _tracer.start_as_current_span("start job", kind=trace.SpanKind.PRODUCER), temporal.translated():
            handle = await self._client.start_workflow(
                INDEX_REPOSITORY,
                request,
                id=workflow_id,
                task_queue=self._settings.task_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                static_summary=f"Index {request.repo_path[-40:]}",
                memo={_STARTER: token},
                rpc_timeout=temporal.RPC_TIMEOUT,
            )
        job_id = handle.first_execution_run_id or ""
        return Started(job_id, workflow_id, already_running=await self._starter(workflow_id, job_id) != token)

    def _request(self, path: Path, project_id: str, force_reindex: bool) -> IndexRequest:
        try:
            return IndexRequest(
                repo_path=_repo_path(path),
                project_id=project_id,
                force_reindex=force_reindex,
                blocked_limit_seconds=self._settings.blocked_limit_seconds,
            )
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        except (ValueError, RuntimeError) as error:  # a NUL in it, or the home directory of nobody
            reason = str(error)
        raise RepositoryError(f"{str(path)!r} cannot be indexed: {reason}")

    async def _starter(self, workflow_id: str, job_id: str) -> object:
        workflow = await self._reconciler.describe(workflow_id, job_id)
        return (await workflow.memo()).get(_STARTER) if workflow else None

    async def job(self, job_id: str) -> Job:
        """A job as it is now: the row, compared with Temporal unless it is terminal.

        A row whose workflow is gone is ended first, so that a stale `running` is never shown.

        Raises:
            JobNotFound, DatabaseUnavailable, TemporalUnavailable
        """
        try:
            row = await self._registry.job(_checked(job_id))
        except DatabaseUnavailable as error:
            return await self._job_without_registry(job_id, str(error))
        if row is not None and row.is_terminal:
            return row
        return await self._unfinished(row or await self._job_without_row(job_id))

    async def _unfinished(self, job: Job) -> Job:
        if await self._reconciler.reconcile(job):
            return await self._recorded(job.job_id)
        current = await self._registry.job(job.job_id) or job
        if current.status == "pending" and not await temporal.has_poller(self._client, self._settings.task_queue):
            return current.model_copy(update={"status_message": NO_POLLER})
        return current

    async def _recorded(self, job_id: str) -> Job:
        job = await self._registry.job(job_id)
        if job is None:
            raise JobNotFound(f"there is no job {job_id}")
        return job

    async def _job_without_row(self, job_id: str) -> Job:
        """A job that no worker has taken up yet: all there is stands in Temporal."""
        with temporal.translated():
            async for found in self._client.list_workflows(f"RunId = '{job_id}'", limit=1):
                request = await self._reconciler.request(found.id, job_id)
                if found.workflow_type == INDEX_REPOSITORY and request is not None:
                    return Job(
                        job_id=job_id,
                        workflow_id=found.id,
                        status="pending",
                        created_at=found.start_time,
                        **request.model_dump(include={"project_id", "repo_path", "force_reindex"}),
                    )
        raise JobNotFound(f"there is no job {job_id} (list them with: verdex jobs)")

    async def _job_without_registry(self, job_id: str, reason: str) -> Job:
        """While the registry is away, the workflow itself knows best; it cannot end without the registry."""
        try:
            job = await self._job_without_row(job_id)
            handle = self._client.get_workflow_handle(job.workflow_id, run_id=job_id)
            with temporal.translated():
                state: JobState = await handle.query(
                    JOB_STATE_QUERY, result_type=JobState, rpc_timeout=temporal.RPC_TIMEOUT
                )
        except (JobNotFound, TemporalError, TransientError):
            raise DatabaseUnavailable(reason) from None
        if state.status in TERMINAL:
            raise DatabaseUnavailable(reason)
        blocked = state.model_copy(update={"status": "blocked", "status_message": state.status_message or reason})
        return job.model_copy(update=blocked.model_dump())

    async def follow(self, job_id: str, *, interval: float = 0.25) -> AsyncIterator[Job]:
        """The job again and again, every `interval` seconds and at its end, which is the last.

        Raises:
            TransientError: a part does not answer; the job goes on, and can be followed again.
        """
        job = await self.job(job_id)
        ended = asyncio.create_task(self._wait_for_end(job.workflow_id, job_id))
        try:
            while not job.is_terminal:
                yield job
                await asyncio.wait({ended}, timeout=interval)
                job = await self.job(job_id)
            yield job
        finally:
            ended.cancel()

    async def _wait_for_end(self, workflow_id: str, run_id: str) -> None:
        """Return when the workflow closes; how it closed stands in the row. Never, if it cannot be watched."""
        handle = self._client.get_workflow_handle(workflow_id, run_id=run_id)
        try:
            await handle.result()
        except WorkflowFailureError:
            return
        except RPCError:
            await asyncio.Event().wait()

    async def jobs(
        self,
        *,
        project_id: str | None = None,
        status: JobStatus | None = None,
        repo_path: Path | str | None = None,
        limit: int = 20,
    ) -> list[Job]:
        """The newest jobs first, each compared with Temporal unless it is terminal.

        Raises:
            DatabaseUnavailable, TemporalUnavailable
        """
        await self._reconciler.reconcile_all()
        path = None if repo_path is None else _repo_path(Path(repo_path))
        return await self._registry.jobs(project_id=project_id, status=status, repo_path=path, limit=limit)

    async def cancel(self, job_id: str) -> Job:
        """Ask the workflow of a job to stop; the job as it was when asked. A job that has ended is left alone.

        Raises:
            JobNotFound, DatabaseUnavailable, TemporalUnavailable
        """
        job = await self.job(job_id)
        if not job.is_terminal:
            handle = self._client.get_workflow_handle(job.workflow_id, run_id=job_id)
            with temporal.unless_gone():
                await handle.cancel(rpc_timeout=temporal.RPC_TIMEOUT)
        return job

    async def files(self, job_id: str, outcome: Outcome | None = None) -> list[FileOutcome]:
        """What became of each file of a job, by path.

        Raises:
            JobNotFound, ProjectNotFound, DatabaseNotFound, DatabaseUnavailable
        """
        job = await self.job(job_id)
        database = await self.projects.database(job.project_id)
        return await Manifests(database).outcomes(job_id, outcome)


def _repo_path(path: Path) -> str:
    """A repository has one name, however its path is written."""
    return to_text(bytes(path.expanduser().resolve()))


def _checked(job_id: str) -> str:
    """Job ids are UUIDs, written in the one way that Temporal knows."""
    try:
        return str(UUID(job_id))
    except ValueError:
        raise JobNotFound(f'"{job_id}" is not the id of a job (list them with: verdex jobs)') from None
