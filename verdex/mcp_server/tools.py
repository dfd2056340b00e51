"""The tools. Their docstrings are what an agent reads of them."""

from typing import Annotated

from pydantic import Field

from verdex.client import Verdex
from verdex.contracts import DEFAULT_PROJECT, MAX_RESULTS, Job, JobStatus, SearchResponse
from verdex.errors import JobNotFound
from verdex.mcp_server.answers import JobAnswer, JobList, StartedJob
from verdex.mcp_server.connection import Connection
from verdex.mcp_server.filters import absolute, path_glob
from verdex.mcp_server.sentences import cancelling, started
from verdex.storage.projects import database_name

JobId = Annotated[str, Field(description="The whole id, as start_indexing_background or list_indexing_jobs gives it.")]
RepoPath = Annotated[str, Field(description="Absolute path of the repository on the machine of the worker.")]
OneRepo = Annotated[str | None, Field(description="Only this repository, by its absolute path.")]
OneProject = Annotated[str | None, Field(description="Only jobs of this project; without it, of all.")]
ProjectOfJob = Annotated[str | None, Field(description="Not needed; if given, the job has to be of this project.")]
ProjectToIndex = Annotated[
    str | None, Field(description=f"The project to index into, which has to exist; without it, `{DEFAULT_PROJECT}`.")
]
ProjectToSearch = Annotated[str | None, Field(description=f"The project to search; without it, `{DEFAULT_PROJECT}`.")]
Force = Annotated[bool, Field(description="Do everything anew, also what did not change. Hardly ever needed.")]
Status = Annotated[JobStatus | None, Field(description="Only jobs with this status.")]
Limit = Annotated[int, Field(ge=1, description="At most so many.")]
MostResults = Annotated[int, Field(ge=1, le=MAX_RESULTS, description="At most so many.")]
Offset = Annotated[int, Field(ge=0, description="So many of the best are left out, to page through the results.")]
Query = Annotated[str, Field(description="A question, identifiers, the text of an error, a path or a symbol.")]
Glob = Annotated[str | None, Field(description="Only paths that match this glob, as `src/**/*.py`.")]
FileType = Annotated[str | None, Field(description="Only files with this extension, as `py`.")]
Directory = Annotated[str | None, Field(description="Only files below this folder of a repository, as `src/api`.")]
Language = Annotated[str | None, Field(description="Only this language, as results have it: `python`.")]
Kind = Annotated[str | None, Field(description="Only this kind, as results have it: `function`, `class`, `method`.")]


class Tools:
    """What an agent can ask. Methods raise VerdexError."""

    def __init__(self, connection: Connection) -> None:
        """All is asked by `connection`."""
        self._connection = connection

    async def start_indexing_background(
        self, repo_path: RepoPath, project_id: ProjectToIndex = None, force_reindex: Force = False
    ) -> StartedJob:
        """Index a repository, so that search_code can find what is in it now.

        Use it before the first search of a repository, and again after its files changed: only what changed is read.
        It returns at once; the job goes on by itself. Then ask get_indexing_status for its job_id until the status is
        completed, failed or cancelled: only completed means that the new index can be searched. A repository is indexed
        by one job at a time; if one runs already, that one is returned, and message says so.
        """
        repo_path = absolute(repo_path)

        async def question(verdex: Verdex) -> StartedJob:
            handle = await verdex.index(
                repo_path, project_id=project_id or DEFAULT_PROJECT, force_reindex=force_reindex
            )
            job = await handle.status()
            return StartedJob(
                job_id=job.job_id,
                status=job.status,
                message=started(job, already_running=handle.already_running, forced=force_reindex),
                project_id=job.project_id,
                database_name=database_name(job.project_id),
                repo_path=job.repo_path,
            )

        return await self._connection.ask(question)

    async def get_indexing_status(self, job_id: JobId, project_id: ProjectOfJob = None) -> JobAnswer:
        """How an indexing job is doing, or how it ended. The status is never out of date; message explains it.

        pending: no worker has taken it up yet. running: phase, files_done and files_total say how far it is. blocked:
        held up by what can pass, such as a database that restarts; it goes on by itself, so keep asking. completed: the
        index is published and can be searched; if result_status is partial, error_message says which files are missing
        from it. failed: nothing was published, error_message says why; mend that, then start again. cancelled: it was
        stopped, nothing was published. The last three are final. While it is pending, running or blocked, wait a few
        seconds before you ask again.
        """
        return JobAnswer.of(await self._connection.ask(lambda verdex: _job(verdex, job_id, project_id)))

    async def list_indexing_jobs(
        self,
        project_id: OneProject = None,
        status: Status = None,
        repo_path: OneRepo = None,
        limit: Limit = 20,
    ) -> JobList:
        """The newest indexing jobs, each as get_indexing_status tells it.

        Use it to find the id of a job, to see whether and when a repository was indexed, or what failed. total_count is
        the number of jobs in the answer: if it equals limit, there may be older ones.
        """
        path = None if repo_path is None else absolute(repo_path)
        jobs = await self._connection.ask(
            lambda verdex: verdex.jobs(project_id=project_id, status=status, repo_path=path, limit=limit)
        )
        return JobList(jobs=[JobAnswer.of(job) for job in jobs], total_count=len(jobs))

    async def cancel_indexing(self, job_id: JobId, project_id: ProjectOfJob = None) -> JobAnswer:
        """Stop an indexing job that runs. Searches see the index as it was before; what it did is kept for the next.

        The answer is the job as it was when it was asked to stop, and message says what happens; get_indexing_status
        tells when it is cancelled. A job that has ended is left alone.
        """

        async def question(verdex: Verdex) -> Job:
            await _job(verdex, job_id, project_id)
            return await verdex.cancel(job_id)

        job = await self._connection.ask(question)
        return JobAnswer.of(job, cancelling(job))

    async def search_code(  # noqa: PLR0913  (a parameter each)
        self,
        query: Query,
        *,
        project_id: ProjectToSearch = None,
        repo_path: OneRepo = None,
        path: Glob = None,
        file_type: FileType = None,
        directory: Directory = None,
        language: Language = None,
        kind: Kind = None,
        limit: MostResults = 10,
        offset: Offset = 0,
    ) -> SearchResponse:
        """Find code in the indexed repositories: the places that match the query best, the best first.

        Use it to find where something is defined, done or mentioned, before you read files. Each result is a run of
        lines (start_line to end_line of file_path, which is relative to repo_path) with its content; similarity_score
        is between 0 and 1. What is searched is the last published index of each repository; repositories says from when
        it is. Heed warnings: they say that an index is not whole or being renewed, that its newest job failed, or that
        a file does not hold any more what is shown of it. Other changes since then are not found, and not told: after
        files were changed, index them again with start_indexing_background, which only reads what changed.
        """
        glob = path_glob(path, directory, file_type)
        repository = None if repo_path is None else absolute(repo_path)
        return await self._connection.ask(
            lambda verdex: verdex.search(
                query,
                project_id=project_id or DEFAULT_PROJECT,
                repo_path=repository,
                path=glob,
                language=language,
                kind=kind,
                limit=limit,
                offset=offset,
            )
        )


async def _job(verdex: Verdex, job_id: str, project_id: str | None) -> Job:
    job = await verdex.job(job_id)
    if project_id not in {None, job.project_id}:
        raise JobNotFound(f'job {job.job_id} is of project "{job.project_id}", not "{project_id}"')
    return job
