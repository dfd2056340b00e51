"""The Python API: start jobs, follow them, and read what the registry and Temporal together know of them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from uuid import UUID

from pydantic import ValidationError

from verdex.contracts import (
    DEFAULT_PROJECT,
    Embedder,
    FileOutcome,
    IndexRequest,
    Job,
    JobEvent,
    JobStatus,
    Outcome,
    SearchRequest,
    SearchResponse,
    Started,
    Verification,
)
from verdex.errors import (
    DatabaseUnavailable,
    JobCancelled,
    JobFailed,
    JobNotFound,
    ProjectNameInvalid,
    QueryInvalid,
    RepositoryError,
    VerdexError,
)
from verdex.presence import absent
from verdex.settings import Settings
from verdex.sources.paths import to_text
from verdex.storage.claims import Repository, claims
from verdex.storage.database import Server
from verdex.storage.manifests import Manifests
from verdex.storage.projects import Projects
from verdex.storage.registry import Registry

if TYPE_CHECKING:
    from temporalio.client import Client

    from verdex.embedding import Embedders
    from verdex.unfinished import UnfinishedJobs

__all__ = ["JobHandle", "Verdex"]

CLOSING_SECONDS: Final = 2.0
"""That the end of a job is held back until its workflow has closed too, so that Temporal says the same."""

MAX_SHOWN: Final = 100
"""Characters of what was given that stand in the message of an error."""


class Verdex:
    """A connection to verdex: the registry in PostgreSQL and the Temporal service."""

    def __init__(self, client: "Client | None", server: Server, settings: Settings) -> None:
        """Use `connect`, unless the parts are at hand."""
        self._client = client
        self._server = server
        self._settings = settings
        self._registry = Registry(server.registry)
        self._unfinished: UnfinishedJobs | None = None
        self._embedders: Embedders | None = None
        self.projects = Projects(server)

    @classmethod
    async def connect(cls, settings: Settings | None = None) -> Self:
        """Connect as the environment says. Nothing is sent before the first call.

        Raises:
            SettingsError: a setting is missing or malformed. Those of Temporal are read when it is first asked.
        """
        settings = settings or Settings.load()
        return cls(None, Server(settings.database_dsn), settings)

    async def _unfinished_jobs(self) -> "UnfinishedJobs":
        """What knows Temporal: loaded when it is first needed, because that takes longer than to show a job."""
        from verdex import temporal  # noqa: PLC0415
        from verdex.unfinished import UnfinishedJobs  # noqa: PLC0415

        if self._unfinished is None:
            client = self._client or await temporal.connect(lazy=True, for_worker=False)
            self._unfinished = UnfinishedJobs(client, self._server, self._settings.task_queue)
        return self._unfinished

    async def __aenter__(self) -> Self:
        """For `async with`."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections to PostgreSQL."""
        await self.close()

    async def close(self) -> None:
        """Close the connections to PostgreSQL and to embedders; what is asked meanwhile is broken off."""
        await self._server.close()
        if self._embedders is not None:
            await self._embedders.close()

    async def index(
        self, path: Path | str, *, project_id: str = DEFAULT_PROJECT, force_reindex: bool = False
    ) -> "JobHandle":
        """Start a job for the repository at `path`, or find the one that runs.

        Raises:
            RepositoryError: the path cannot name a repository at all; what is wrong with the tree itself fails the job.
            ProjectNameInvalid: nor can the name be that of a project.
            TemporalUnavailable, DatabaseUnavailable
        """
        request = self._request(Path(path), project_id, force_reindex)
        jobs = await self._unfinished_jobs()
        with suppress(DatabaseUnavailable):  # the job waits for it
            _, is_gone = await asyncio.gather(jobs.check_ownership(), self._is_gone(request))
            if is_gone:  # what is left of it may look as if nothing had changed
                request = request.model_copy(update={"force_reindex": True})
        return JobHandle(self, await jobs.start(request))

    async def _is_gone(self, request: IndexRequest) -> bool:
        """Whether the index that the last completed job of a repository published is not there any more."""
        repository = Repository(request.project_id, request.repo_path)
        found = await absent(self._server, await claims(self._server.registry, [repository]))
        return any(absence.is_certain for absence in found.values())

    def _named(self, path: Path) -> str:
        return self._request(path, DEFAULT_PROJECT, force_reindex=False).repo_path

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
            return await (await self._unfinished_jobs()).without_registry(job_id, error)
        if row is None:
            row = await (await self._unfinished_jobs()).without_row(job_id)
        if not row.is_terminal:
            row = await (await self._unfinished_jobs()).current(row)
        return (await self._with_absence([row]))[0]

    async def handle(self, job_id: str) -> "JobHandle":
        """A job that was started before, to wait for it or to cancel it.

        Raises:
            JobNotFound, DatabaseUnavailable, TemporalUnavailable
        """
        return JobHandle(self, await self.job(job_id))

    async def job_ids(self, part: str, *, limit: int = 10) -> list[str]:
        """The ids of jobs that begin or end with `part`, of lower-case hexadecimal digits and dashes.

        Raises:
            DatabaseUnavailable
        """
        waiting = [job.job_id for job in await (await self._unfinished_jobs()).not_taken_up()]
        found = [job_id for job_id in waiting if job_id.startswith(part) or job_id.endswith(part)]
        return list(dict.fromkeys([*found, *await self._registry.ids(part, limit)]))[:limit]

    async def _with_absence(self, jobs: list[Job]) -> list[Job]:
        """Jobs, of which those that published what searches should see now say if it is not there."""
        repositories = {Repository(job.project_id, job.repo_path) for job in jobs if job.status == "completed"}
        last = await claims(self._server.registry, repositories)
        shown = {job.job_id for job in jobs}
        found = await absent(self._server, {one: claim for one, claim in last.items() if claim.job_id in shown})
        return [_told(job, found[job.job_id].message) if job.job_id in found else job for job in jobs]

    async def events(self, job_id: str) -> list[JobEvent]:
        """What happened to a job, the oldest first; nothing before a worker has taken it up.

        Raises:
            JobNotFound, DatabaseUnavailable, TemporalUnavailable
        """
        return await self._registry.events((await self.job(job_id)).job_id)

    async def follow(self, job: "str | JobHandle", *, interval: float = 0.25) -> AsyncGenerator[Job, None]:
        """The job again and again, every `interval` seconds and at its end, which is the last.

        The first is at once, or after an interval if it was started just now: to look for what no worker has taken up
        yet takes services from it.

        Raises:
            TransientError: a part does not answer; the job goes on, and can be followed again.
        """
        if isinstance(job, JobHandle):
            followed = job if job.is_new else await job.status()
        else:
            followed = await self.job(job)
        if isinstance(followed, Job):
            yield followed
            if followed.is_terminal:
                return
        unfinished = await self._unfinished_jobs()
        ended = asyncio.create_task(unfinished.wait_for_end(followed.workflow_id, followed.job_id))
        try:
            while True:
                await (asyncio.sleep(interval) if ended.done() else asyncio.wait({ended}, timeout=interval))
                now = await self.job(followed.job_id)
                if now.is_terminal:
                    await asyncio.wait({ended}, timeout=CLOSING_SECONDS)
                yield now
                if now.is_terminal:
                    return
        finally:
            ended.cancel()

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
        unfinished = await self._unfinished_jobs()
        await unfinished.reconcile()
        path = None if repo_path is None else self._named(Path(repo_path))
        recorded = await self._registry.jobs(project_id=project_id, status=status, repo_path=path, limit=limit)
        wanted = {"project_id": project_id, "status": status, "repo_path": path}
        found = [*await unfinished.not_taken_up(), *recorded]
        matching = [job for job in found if all(value in {None, getattr(job, name)} for name, value in wanted.items())]
        newest = sorted(matching, key=attrgetter("created_at"), reverse=True)[:limit]
        return await self._with_absence(newest)

    async def cancel(self, job_id: str) -> Job:
        """Ask the workflow of a job to stop; the job as it was when asked. A job that has ended is left alone.

        Raises:
            JobNotFound, DatabaseUnavailable, TemporalUnavailable
        """
        job = await self.job(job_id)
        if not job.is_terminal:
            await (await self._unfinished_jobs()).cancel(job)
        return job

    async def embedder(self, name: str, url: str | None = None) -> Embedder:
        """The embedder that `provider:model` names, such as `ollama:nomic-embed-text`, served at `url`.

        It is asked for a vector, so that its dimensions are known; `projects` can give it to a project.

        Raises:
            EmbedderInvalid: `name` or `url` is malformed.
            EmbedderUnavailable, EmbedderRefused
        """
        from verdex.embedding import embedding_model, probed  # noqa: PLC0415  (slow to import)

        return await probed(embedding_model(name, url), self._settings.embedder_api_key)

    async def files(self, job_id: str, outcome: Outcome | None = None) -> list[FileOutcome]:
        """What became of each file of a job, by path.

        Raises:
            JobNotFound, ProjectNotFound, DatabaseNotFound, DatabaseUnavailable
        """
        job = await self.job(job_id)
        database = await self.projects.database(job.project_id)
        return await Manifests(database).outcomes(job.job_id, outcome)

    async def search(  # noqa: PLR0913  (what people filter by)
        self,
        query: str,
        *,
        project_id: str = DEFAULT_PROJECT,
        repo_path: Path | str | None = None,
        path: str | None = None,
        language: str | None = None,
        kind: str | None = None,
        limit: int = 10,
        offset: int = 0,
    ) -> SearchResponse:
        """The places in the published indexes of a project that match `query` best, the best first.

        `query` is a question, identifiers, the text of an error, a path or a symbol. `path` is a glob over the paths
        within a repository (`src/**/*.py`), `language` and `kind` are as results have them. Where the project has an
        embedder, it is asked what the query means; if it does not answer in a few seconds, `warnings` say so.

        Raises:
            QueryInvalid: there is no word in the query, or a filter or `limit` makes no sense.
            NotIndexed: no repository of the project has a published index, or not the one that is asked for.
            RepositoryError, ProjectNotFound, DatabaseNotFound, DatabaseUnavailable
        """
        from verdex.embedding import Embedders  # noqa: PLC0415  (slow to import)
        from verdex.search.service import search  # noqa: PLC0415

        request = _search_request(
            query=query,
            project_id=project_id,
            repo_path=None if repo_path is None else self._named(Path(repo_path)),
            path=path,
            language=language,
            kind=kind,
            limit=limit,
            offset=offset,
        )
        self._embedders = self._embedders or Embedders(self._settings.embedder_api_key)
        found = await search(self._server, request, self._compared, self._embedders)
        return found if found.total_count else await self._with_losses(found)

    async def _compared(self, job: Job) -> Job:
        """A job that has not ended, compared with Temporal; as its row says where that cannot be asked."""
        try:
            return await (await self._unfinished_jobs()).current(job)
        except VerdexError as error:
            return _told(job, f"whether that is still so cannot be told: {error}")

    async def _with_losses(self, found: SearchResponse) -> SearchResponse:
        """What is lost of the indexes may be why nothing was found."""
        from verdex.search.freshness import with_losses  # noqa: PLC0415  (slow to import)

        searched = {Repository(found.project_id, one.repo_path) for one in found.repositories}
        last = await claims(self._server.registry, searched)
        lost = await absent(self._server, last)
        told = {one.repo_path: lost[claim.job_id].message for one, claim in last.items() if claim.job_id in lost}
        return with_losses(found, told)

    async def verify(self, path: Path | str, *, project_id: str = DEFAULT_PROJECT) -> Verification:
        """Whether what the last completed job claimed of the repository at `path` is true now.

        Source and index are read again, every byte; nothing is written. The source is read by this process, so it has
        to be on this machine.

        Raises:
            JobNotFound: no job of the repository has completed.
            RepositoryError, ProjectNameInvalid, DatabaseUnavailable, TemporalUnavailable
        """
        from verdex.verify import verify  # noqa: PLC0415  (slow to import)

        repo_path = self._request(Path(path), project_id, force_reindex=False).repo_path
        newest = await self.jobs(project_id=project_id, repo_path=path, limit=1)
        found = await verify(self._server, project_id, repo_path, max_file_bytes=self._settings.max_file_bytes)
        warnings = [_newer(job) for job in newest if job.job_id != found.job_id]
        return found.model_copy(update={"warnings": warnings})


class JobHandle:
    """A job: how it is doing, how it ends, and a way to stop it. It can be asked as long as `verdex` is connected."""

    def __init__(self, verdex: Verdex, job: Started | Job) -> None:
        """Use `Verdex.index` or `Verdex.handle`."""
        self._verdex = verdex
        self.job_id = job.job_id
        self.workflow_id = job.workflow_id
        self.already_running = job.already_running if isinstance(job, Started) else not job.is_terminal
        """Whether the job ran before it was asked for."""
        self.is_new = isinstance(job, Started) and not job.already_running
        """Whether it was started by who asked for it."""

    async def status(self) -> Job:
        """The job as it is now; see `Verdex.job`.

        Raises:
            DatabaseUnavailable, TemporalUnavailable
        """
        return await self._verdex.job(self.job_id)

    async def wait(self) -> Job:
        """The job at its end, completed: its index is published.

        Raises:
            JobFailed: with the job's own message. JobCancelled. Both have the job as `job`.
            TransientError: a part does not answer; the job goes on, and can be waited for again.
        """
        (job,) = [state async for state in self.follow() if state.is_terminal]
        if job.status == "failed":
            raise JobFailed(job)
        if job.status == "cancelled":
            raise JobCancelled(job)
        return job

    def follow(self, *, interval: float = 0.25) -> AsyncGenerator[Job, None]:
        """The job again and again, the last time at its end; see `Verdex.follow`."""
        return self._verdex.follow(self, interval=interval)

    async def cancel(self) -> Job:
        """Ask the job to stop; see `Verdex.cancel`. `wait` tells when it has.

        Raises:
            DatabaseUnavailable, TemporalUnavailable
        """
        return await self._verdex.cancel(self.job_id)


def _search_request(**given: object) -> SearchRequest:
    try:
        return SearchRequest.model_validate(given)
    except ValidationError as error:
        wrong = error.errors()[0]
        value = repr(wrong["input"])
        shown = value if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]}…"
        raise QueryInvalid(f"{wrong['loc'][0]} {shown}: {wrong['msg'].lower()}") from None


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
