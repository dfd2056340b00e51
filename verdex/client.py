"""The Python API: start jobs, follow them, and read what the registry and Temporal together know of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, NamedTuple, Self
from uuid import UUID, uuid4

from opentelemetry import trace
from pydantic import ValidationError
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import TypedSearchAttributes, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError

from verdex import temporal
from verdex.contracts import (
    DEFAULT_PROJECT,
    INDEX_REPOSITORY,
    TERMINAL,
    FileOutcome,
    IndexRequest,
    Job,
    JobEvent,
    JobStatus,
    Outcome,
    Verification,
    index_workflow_id,
)
from verdex.errors import (
    DatabaseUnavailable,
    JobNotFound,
    ProjectNameInvalid,
    RepositoryError,
    TemporalUnavailable,
    TransientError,
)
from verdex.presence import absent
from verdex.reconcile import Reconciler
from verdex.settings import Settings
from verdex.sources.paths import to_text
from verdex.storage.database import Server
from verdex.storage.manifests import Manifests
from verdex.storage.projects import Projects
from verdex.storage.registry import Registry, Repository
from verdex.temporal import search_attributes, web_ui
from verdex.temporal.jobs import STARTER, TemporalJobs
from verdex.verify import verify

NO_POLLER: Final = "no worker is polling"
CLOSING_SECONDS: Final = 30.0
TASK_TIMEOUT: Final = timedelta(seconds=5)
"""After this, a workflow task that a killed worker had goes to another. It takes milliseconds, if nothing is wrong."""
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
        self._temporal = TemporalJobs(client)
        self._reconciler = Reconciler(self._temporal, server)
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
            ProjectNameInvalid: nor can the name be that of a project.
            TemporalUnavailable, DatabaseUnavailable
        """
        request = self._request(Path(path), project_id, force_reindex)
        with suppress(DatabaseUnavailable):  # the job waits for it
            await self._reconciler.check_ownership()
            if await self._is_gone(request):  # what is left of it may look as if nothing had changed
                request = request.model_copy(update={"force_reindex": True})
        while True:
            started = await self._start(request)
            if not (started.already_running and await self._has_ended(started.job_id)):
                return started
            await self._closed(started)

    async def _is_gone(self, request: IndexRequest) -> bool:
        """Whether the index that the last completed job of a repository published is not there any more."""
        repository = Repository(request.project_id, request.repo_path)
        claim = await self._registry.claim(*repository)
        found = await absent(self._server, {repository: claim} if claim else {})
        return any(absence.is_certain for absence in found.values())

    async def _start(self, request: IndexRequest) -> Started:
        starter = uuid4().hex
        with _tracer.start_as_current_span("start job", kind=trace.SpanKind.PRODUCER), temporal.translated():
            try:
                handle = await self._start_workflow(request, starter, search_attributes.at_start(request))
            except RPCError as error:
                if not search_attributes.are_refused(error):
                    raise
                handle = await self._start_workflow(request, starter, TypedSearchAttributes.empty)
        job_id = handle.first_execution_run_id or ""
        found = await self._temporal.starter(handle.id, job_id)
        return Started(job_id, handle.id, already_running=found != starter)

    async def _start_workflow(
        self, request: IndexRequest, starter: str, attributes: TypedSearchAttributes
    ) -> WorkflowHandle[Any, Any]:
        return await self._client.start_workflow(
            INDEX_REPOSITORY,
            request,
            id=index_workflow_id(request.project_id, request.repo_path),
            task_queue=self._settings.task_queue,
            task_timeout=TASK_TIMEOUT,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            static_summary=web_ui.summary(request),
            static_details=web_ui.details(request),
            search_attributes=attributes,
            memo={STARTER: starter},
            rpc_timeout=temporal.RPC_TIMEOUT,
        )

    async def _has_ended(self, job_id: str) -> bool:
        """Whether the row is terminal: the workflow closes a moment later, and until then it is found as running."""
        row = await self._registry.job(job_id)
        return row is not None and row.is_terminal

    async def _closed(self, started: Started) -> None:
        """Wait for the workflow of a job that has ended: to take it for the one asked for would be a lie."""
        try:
            async with asyncio.timeout(CLOSING_SECONDS):
                await self._wait_for_end(started.workflow_id, started.job_id)
        except TimeoutError:
            message = f"job {started.job_id} has ended, but its workflow does not close: is a worker running?"
            raise TemporalUnavailable(message) from None

    def _request(self, path: Path, project_id: str, force_reindex: bool) -> IndexRequest:
        try:
            return IndexRequest(
                repo_path=_repo_path(path),
                project_id=project_id,
                force_reindex=force_reindex,
                blocked_limit_seconds=self._settings.blocked_limit_seconds,
            )
        except ValidationError as error:
            wrong = error.errors()[0]
            if wrong["loc"] == ("project_id",):
                raise ProjectNameInvalid(f"{project_id!r} cannot name a project") from None
            reason = wrong["msg"].removeprefix("Value error, ")
        except (ValueError, RuntimeError) as error:  # a NUL in it, or the home directory of nobody
            reason = str(error)
        raise RepositoryError(f"{str(path)!r} cannot be indexed: {reason}")

    async def job(self, job_id: str) -> Job:
        """A job as it is now: the row, compared with Temporal unless it is terminal.

        A row whose workflow is gone is ended first, so that a stale `running` is never shown.

        Raises:
            JobNotFound, DatabaseUnavailable, TemporalUnavailable
        """
        job_id = _checked(job_id)
        try:
            row = await self._registry.job(job_id)
        except DatabaseUnavailable as error:
            return await self._job_without_registry(job_id, error)
        if row is None:
            await self._reconciler.check_ownership()
            row = await self._started(job_id)
        if not row.is_terminal:
            row = await self._unfinished(row)
        return (await self._with_absence([row]))[0]

    async def job_ids(self, part: str, *, limit: int = 10) -> list[str]:
        """The ids of jobs that begin or end with `part`, of lower-case hexadecimal digits and dashes.

        Raises:
            DatabaseUnavailable
        """
        waiting = [job.job_id for job in await self._not_taken_up()]
        found = [job_id for job_id in waiting if job_id.startswith(part) or job_id.endswith(part)]
        return list(dict.fromkeys([*found, *await self._registry.ids(part, limit)]))[:limit]

    async def _with_absence(self, jobs: list[Job]) -> list[Job]:
        """Jobs, of which those that published what searches should see now say if it is not there."""
        repositories = {Repository(job.project_id, job.repo_path) for job in jobs if job.status == "completed"}
        shown, claims = {job.job_id for job in jobs}, {one: await self._registry.claim(*one) for one in repositories}
        last = {one: claim for one, claim in claims.items() if claim and claim.job_id in shown}
        found = await absent(self._server, last)
        return [_told(job, found[job.job_id].message) if job.job_id in found else job for job in jobs]

    async def _unfinished(self, job: Job) -> Job:
        if await self._reconciler.reconcile(job):
            return await self._registry.job(job.job_id) or job
        current = await self._registry.job(job.job_id) or job
        return await self._waiting(current) if current.status == "pending" else current

    async def _waiting(self, job: Job) -> Job:
        """A job that no worker has taken up, and the reason, if that is that there is none."""
        workflow = await self._temporal.describe(job.workflow_id, job.job_id)
        queue = workflow.task_queue if workflow else self._settings.task_queue
        if await temporal.has_poller(self._client, queue):
            return job
        other = "" if queue == self._settings.task_queue else f' the task queue "{queue}" (VERDEX_TASK_QUEUE)'
        return job.model_copy(update={"status_message": f"{NO_POLLER}{other}"})

    async def _started(self, job_id: str) -> Job:
        """A job that no worker has taken up yet: all there is stands in Temporal."""
        job = await self._temporal.find(job_id)
        if job is None:
            raise JobNotFound(f"there is no job {job_id} (list them with: verdex jobs)")
        return job

    async def _job_without_registry(self, job_id: str, unavailable: DatabaseUnavailable) -> Job:
        """While the registry is away, the workflow itself knows best; it cannot end without the registry."""
        try:
            job = await self._started(job_id)
        except (JobNotFound, TransientError):
            raise unavailable from None
        state = await self._temporal.state(job)
        if state is None or state.status in TERMINAL:
            raise unavailable
        reason = state.status_message or str(unavailable)
        return job.model_copy(update={**state.model_dump(), "status": "blocked", "status_message": reason})

    async def events(self, job_id: str) -> list[JobEvent]:
        """What happened to a job, the oldest first; nothing before a worker has taken it up.

        Raises:
            JobNotFound, DatabaseUnavailable, TemporalUnavailable
        """
        return await self._registry.events((await self.job(job_id)).job_id)

    async def follow(self, job_id: str, *, interval: float = 0.25) -> AsyncIterator[Job]:
        """The job again and again, every `interval` seconds and at its end, which is the last.

        Raises:
            TransientError: a part does not answer; the job goes on, and can be followed again.
        """
        job = await self.job(job_id)
        ended = asyncio.create_task(self._wait_for_end(job.workflow_id, job.job_id))
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
        with suppress(TemporalUnavailable):  # no row that is shown depends on it
            await self._reconciler.reconcile_unrecorded(self._settings.task_queue)
        path = None if repo_path is None else _repo_path(Path(repo_path))
        recorded = await self._registry.jobs(project_id=project_id, status=status, repo_path=path, limit=limit)
        wanted = {"project_id": project_id, "status": status, "repo_path": path}
        found = [*await self._not_taken_up(), *recorded]
        matching = [job for job in found if all(value in {None, getattr(job, name)} for name, value in wanted.items())]
        newest = sorted(matching, key=attrgetter("created_at"), reverse=True)[:limit]
        return await self._with_absence(newest)

    async def _not_taken_up(self) -> list[Job]:
        """The jobs that no worker has taken up yet."""
        recorded = {job.job_id for job in await self._registry.unfinished()}
        try:
            await self._reconciler.check_ownership()
            found = await self._temporal.open_jobs(self._settings.task_queue, known=recorded)
        except TemporalUnavailable:
            return []  # no row that is shown depends on it: those that have not ended were compared before
        return [job for job in found if await self._registry.job(job.job_id) is None]

    async def cancel(self, job_id: str) -> Job:
        """Ask the workflow of a job to stop; the job as it was when asked. A job that has ended is left alone.

        Raises:
            JobNotFound, DatabaseUnavailable, TemporalUnavailable
        """
        job = await self.job(job_id)
        if not job.is_terminal:
            handle = self._client.get_workflow_handle(job.workflow_id, run_id=job.job_id)
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
        return await Manifests(database).outcomes(job.job_id, outcome)

    async def verify(self, path: Path | str, *, project_id: str = DEFAULT_PROJECT) -> Verification:
        """Whether what the last completed job claimed of the repository at `path` is true now.

        Source and index are read again, every byte; nothing is written. The source is read by this process, so it has
        to be on this machine.

        Raises:
            JobNotFound: no job of the repository has completed.
            RepositoryError, ProjectNameInvalid, DatabaseUnavailable, TemporalUnavailable
        """
        repo_path = self._request(Path(path), project_id, force_reindex=False).repo_path
        newest = await self.jobs(project_id=project_id, repo_path=path, limit=1)
        found = await verify(self._server, project_id, repo_path, max_file_bytes=self._settings.max_file_bytes)
        warnings = [_newer(job) for job in newest if job.job_id != found.job_id]
        return found.model_copy(update={"warnings": warnings})


def _told(job: Job, message: str) -> Job:
    said = f"{job.status_message}; {message}" if job.status_message else message
    return job.model_copy(update={"status_message": said})


def _newer(job: Job) -> str:
    why = job.error_message or job.status_message
    return f"the newest job, {job.job_id}, is {job.status}" + (f": {why}" if why else "")


def _repo_path(path: Path) -> str:
    """A repository has one name, however its path is written."""
    return to_text(bytes(path.expanduser().resolve()))


def _checked(job_id: str) -> str:
    """Job ids are UUIDs, written in the one way that Temporal knows."""
    try:
        return str(UUID(job_id))
    except ValueError:
        raise JobNotFound(f'"{job_id}" is not the id of a job (list them with: verdex jobs)') from None
