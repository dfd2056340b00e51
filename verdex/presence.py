"""Whether the index that the last completed job of a repository published is still there.

The row of a job is final, and tells what was true at its end. What has become of the index since is told beside it, and
looked up each time, so that it is never out of date itself.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from typing import Final, NamedTuple

from verdex.errors import DatabaseNotFound
from verdex.storage.claims import Claim, Repository
from verdex.storage.database import Server
from verdex.storage.projects import database_name
from verdex.storage.published import Held, held

PATIENCE: Final = 3.0
"""Seconds that showing a job may wait for the database of its project."""
AT_ONCE: Final = 8
"""Databases that are looked into at the same time."""


class Absence(NamedTuple):
    """That an index is not there, or that this cannot be told."""

    is_certain: bool
    message: str


async def absent(server: Server, claims: Mapping[Repository, Claim]) -> dict[str, Absence]:
    """What is wrong with the indexes that jobs claim, by job id; nothing for those that are there.

    Parts of an index that are missing are found by their number; `verdex.verify` compares all that there is.
    """
    projects = defaultdict[str, dict[str, Claim]](dict)
    for repository, claim in claims.items():
        projects[repository.project_id][repository.repo_path] = claim
    turns = asyncio.Semaphore(AT_ONCE)
    found = await asyncio.gather(*(_absent(server, turns, *project) for project in projects.items()))
    return {job_id: absence for absences in found for job_id, absence in absences.items()}


async def _absent(
    server: Server, turns: asyncio.Semaphore, project_id: str, claims: Mapping[str, Claim]
) -> dict[str, Absence]:
    try:
        async with turns, asyncio.timeout(PATIENCE):
            database = server.database(database_name(project_id))
            found = await held(database, {path: claim.job_id for path, claim in claims.items()})
    except DatabaseNotFound as error:
        return _same(claims, Absence(is_certain=True, message=f"the index is gone: {error}"))
    except TimeoutError:
        return _same(claims, Absence(is_certain=False, message="whether the index is there cannot be told in time"))
    except Exception as error:  # noqa: BLE001  (what a database of its own can do must not hide the row of a job)
        return _same(claims, Absence(is_certain=False, message=f"whether the index is there cannot be told: {error}"))
    wrong = {claim.job_id: _wrong(claim, found.get(path)) for path, claim in claims.items()}
    return {job_id: Absence(is_certain=True, message=message) for job_id, message in wrong.items() if message}


def _same(claims: Mapping[str, Claim], absence: Absence) -> dict[str, Absence]:
    return {claim.job_id: absence for claim in claims.values()}


def _wrong(claim: Claim, found: Held | None) -> str | None:
    """Where a newer generation is published, the row of its job will say so in a moment."""
    if found is not None and not found.claimant_published and found.generation >= claim.generation:
        return "the row is not true: the job never published an index"
    why = _missing(claim, found)
    return why and f"the index is gone: {why}"


def _missing(claim: Claim, found: Held | None) -> str | None:
    files = claim.files_indexed + claim.files_skipped + claim.files_failed
    match found:
        case None:
            return "nothing is published any more"
        case Held(generation=generation) if generation != claim.generation:
            older = f"generation {generation} is published, which is older than {claim.generation}"
            return older if generation < claim.generation else None
        case Held(files=left) if left < files:
            return f"{files - left} of {files} files are missing"
        case Held(has_chunks=False) if claim.chunks_total:
            return f"all {claim.chunks_total} chunks are missing"
        case _:
            return None
