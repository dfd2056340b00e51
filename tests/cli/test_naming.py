import re
from pathlib import Path

import pytest

from verdex.cli.naming import full_id, short
from verdex.client import Verdex
from verdex.errors import JobNotFound

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def ids(verdex: Verdex, repository: Path, eventually) -> list[str]:
    """Two jobs, started at almost the same time, that no worker has taken up."""
    made = [(await verdex.index(path)).job_id for path in (repository, repository / "package")]

    async def listed() -> bool:
        return {job.job_id for job in await verdex.jobs()} == set(made)

    await eventually(listed)
    return made


async def test_a_job_that_waits_is_named_by_the_end_of_its_id(verdex: Verdex, ids: list[str]):
    assert [await full_id(verdex, short(job_id)) for job_id in ids] == ids
    assert await full_id(verdex, short(ids[0]).upper()) == ids[0]


async def test_a_job_is_named_by_as_much_of_the_begin_of_its_id_as_no_other_has(
    verdex: Verdex, ids: list[str], worker, eventually
):
    for job_id in ids:
        async for _ in verdex.follow(job_id):
            pass
    assert [await full_id(verdex, job_id[:28]) for job_id in ids] == ids


async def test_what_several_jobs_have_in_common_names_none_and_they_are_listed(verdex: Verdex, ids: list[str]):
    with pytest.raises(JobNotFound) as raised:
        await full_id(verdex, ids[0][:6])
    assert all(job_id in str(raised.value) for job_id in ids)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("given", ["", "abc", "not-an-id", "%%%%", "____", "dead-beef", "0" * 40])
async def test_what_names_no_job_is_refused_in_one_line(verdex: Verdex, given):
    with pytest.raises(JobNotFound, match=f'^"{re.escape(given)}" is not the id of a job'):
        await full_id(verdex, given)


async def test_a_whole_id_is_taken_as_it_is(verdex: Verdex):
    assert await full_id(verdex, UNKNOWN) == UNKNOWN
