"""Whether the index that is searched is what the repository holds, as far as its jobs tell."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from verdex.contracts import DEFAULT_PROJECT, Job, SearchedRepository, SearchResponse
from verdex.indexing.chunking import PIPELINE_VERSION
from verdex.storage.searching import SearchedManifest

NAMED: Final = 3
"""Files that have changed and are named."""


def described(
    manifest: SearchedManifest, jobs: tuple[Job | None, Job | None], project_id: str, more: Sequence[str]
) -> SearchedRepository:
    """A repository that is searched, with `more` warnings.

    `jobs` are that which published the manifest, and the newest of the repository, of those that the registry knows.
    """
    published_by, newest = jobs
    return SearchedRepository(
        repo_path=manifest.repo_path,
        job_id=manifest.job_id,
        indexed_at=published_by.completed_at if published_by else None,
        files_indexed=manifest.files_indexed,
        warnings=[*_warnings(manifest, published_by, newest, project_id), *more],
    )


def without_vectors(repo_path: str, project_id: str) -> str:
    """That a repository has no vectors of the embedder of its project."""
    return (
        "it was not indexed with the embedder that the project has now, and is searched by words only: "
        f"{command('index', repo_path, project_id)}"
    )


def outdated(paths: Sequence[str], repo_path: str, project_id: str) -> str:
    """That some of what is shown of a repository is not what its files hold now."""
    named = ", ".join(paths[:NAMED]) + (", …" if len(paths) > NAMED else "")
    return f"changed since it was indexed: {named}: {command('index', repo_path, project_id)}"


def with_losses(found: SearchResponse, lost: Mapping[str, str]) -> SearchResponse:
    """The same, with what is lost of the indexes of repositories, by path."""
    more = {path: [message] for path, message in lost.items()}
    repositories = [
        one.model_copy(update={"warnings": [*one.warnings, *more.get(one.repo_path, [])]}) for one in found.repositories
    ]
    warnings = [*found.warnings, *(f"{path}: {message}" for path, message in lost.items())]
    return found.model_copy(update={"repositories": repositories, "warnings": warnings})


def _warnings(
    manifest: SearchedManifest, published_by: Job | None, newest: Job | None, project_id: str
) -> Iterator[str]:
    if manifest.pipeline_version < PIPELINE_VERSION:
        again = command("index", manifest.repo_path, project_id)
        yield f"it was indexed by an older verdex, and not all of it is found: {again}"
    if manifest.partial:
        yield f"the index is partial: {manifest.partial}"
    if published_by is None:
        yield (
            f"the registry does not know job {manifest.job_id}, which published the index, "
            "so nobody can tell whether it is the newest"
        )
    if newest and newest.job_id != manifest.job_id and (published_by or not newest.is_terminal):
        yield _newer(newest)


def _newer(job: Job) -> str:
    match job.status:
        case "completed":
            verify = command("verify", job.repo_path, job.project_id)
            return f"job {job.job_id} has published another index, which is not there: {verify}"
        case "failed" | "cancelled":
            return f"{told(job)}; this is the index from before"
        case "pending" | "running" | "blocked":
            return f"{told(job)}; until it completes, this is the index from before"


def told(job: Job) -> str:
    """A job that has not completed, in a few words."""
    why = job.error_message or job.status_message
    reason = f": {why}" if why else ""
    match job.status:
        case "failed":
            return f"the newest job, {job.job_id}, failed{reason}"
        case "cancelled":
            return f"the newest job, {job.job_id}, was cancelled{reason}"
        case _:
            return f"job {job.job_id} is {job.status}{reason}"


def command(verb: str, repo_path: str, project_id: str) -> str:
    """What to type, for a repository of a project."""
    return f"verdex {verb} {repo_path}" + ("" if project_id == DEFAULT_PROJECT else f" --project {project_id}")
