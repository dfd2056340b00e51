"""Whether the index that is searched is what the repository holds, as far as its jobs tell."""

from collections.abc import Iterator

from verdex.contracts import Job, SearchedRepository
from verdex.indexing.chunking import PIPELINE_VERSION
from verdex.storage.searching import SearchedManifest


def described(manifest: SearchedManifest, published_by: Job | None, newest: Job | None) -> SearchedRepository:
    """A repository that is searched; `newest` is its newest job."""
    return SearchedRepository(
        repo_path=manifest.repo_path,
        job_id=manifest.job_id,
        indexed_at=published_by.completed_at if published_by else None,
        files_indexed=manifest.files_indexed,
        warnings=list(_warnings(manifest, published_by, newest)),
    )


def _warnings(manifest: SearchedManifest, published_by: Job | None, newest: Job | None) -> Iterator[str]:
    if manifest.pipeline_version < PIPELINE_VERSION:
        yield f"it was indexed by an older verdex, and not all of it is found: verdex index {manifest.repo_path}"
    if published_by and published_by.result_status == "partial":
        yield f"the index is partial: {published_by.error_message}"
    if newest is None:
        yield "the registry knows no job of it, so nobody can tell whether the index is the newest"
    elif newest.job_id != manifest.job_id:
        yield _newer(newest)


def _newer(job: Job) -> str:
    why = job.error_message or job.status_message
    told = f"{job.status}: {why}" if why else job.status
    match job.status:
        case "completed":
            return f"job {job.job_id} has published another index, which is not there: verdex verify {job.repo_path}"
        case "failed" | "cancelled":
            return f"the newest job, {job.job_id}, is {told}; this is the index from before"
        case "pending" | "running" | "blocked":
            return f"job {job.job_id} is {told}; until it completes, this is the index from before"
