"""How a person names a job: by its id, or by enough of it."""

import re
from typing import Final
from uuid import UUID

from verdex.client import Verdex
from verdex.errors import JobNotFound

HELP: Final = (
    "JOB is the id of a job, or as much of its beginning or its end as no other job has (at least 4 characters)."
)
SHORT: Final = 8
"""Characters of the end. The beginning is the time of the start, which jobs of one minute share; the end is random."""
_PART: Final = re.compile(r"[0-9a-f-]{4,36}")
_CANDIDATES: Final = 5


def short(job_id: str) -> str:
    """The end of an id, which people can type and every command takes."""
    return job_id[-SHORT:]


def is_whole(given: str) -> bool:
    """Whether it is an id as it stands. Nobody is asked about that, and so it works while the registry is away."""
    try:
        UUID(given)
    except ValueError:
        return False
    return True


def is_part(given: str) -> bool:
    """Whether it could be the beginning or the end of an id."""
    return _PART.fullmatch(given.lower()) is not None


async def full_id(verdex: Verdex, given: str) -> str:
    """The id of the one job that is meant.

    Raises:
        JobNotFound: there is none, or more than one; the message lists them.
        DatabaseUnavailable
    """
    if is_whole(given):
        return given
    found = await verdex.job_ids(given.lower(), limit=_CANDIDATES + 1) if is_part(given) else []
    if not found:
        raise JobNotFound(f'"{given}" is not the id of a job (list them with: verdex jobs)')
    if len(found) > 1:
        raise JobNotFound(_ambiguous(given, found))
    return found[0]


def _ambiguous(given: str, found: list[str]) -> str:
    more = ", …" if len(found) > _CANDIDATES else ""
    return f'"{given}" is the beginning or the end of several jobs: {", ".join(found[:_CANDIDATES])}{more}'
