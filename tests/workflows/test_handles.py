"""The handle of a job: who started it can wait for its end, and learns how that was."""

import asyncio
from uuid import uuid4

import pytest

from verdex.errors import JobCancelled, JobFailed, JobNotFound


async def test_who_waits_gets_the_job_when_its_index_is_published(verdex, worker, repository, published):
    handle = await verdex.index(repository)
    job = await handle.wait()
    assert (job.job_id, job.status, job.files_indexed) == (handle.job_id, "completed", 3)
    assert await published(repository) == 3
    assert await handle.status() == await handle.wait() == job


async def test_who_waits_for_a_job_that_fails_gets_its_message(verdex, worker, tmp_path):
    handle = await verdex.index(tmp_path / "nowhere")
    with pytest.raises(JobFailed) as failed:
        await handle.wait()
    job = await handle.status()
    assert str(failed.value) == job.error_message == f"{tmp_path}/nowhere does not exist"
    assert failed.value.job == job


async def test_who_waits_for_a_job_that_is_cancelled_hears_of_it(verdex, run_worker, held_up, gate, repository):
    async with run_worker(held_up):
        handle = await verdex.index(repository)
        waiting = asyncio.create_task(handle.wait())
        await gate.reached()
        assert (await handle.cancel()).status == "running"
        with pytest.raises(JobCancelled, match=f"job {handle.job_id} was cancelled") as cancelled:
            await waiting
    assert cancelled.value.job == await handle.status()


async def test_the_handle_of_a_job_that_runs_is_followed_from_now_to_its_end(
    verdex, run_worker, held_up, gate, repository
):
    async with run_worker(held_up):
        await verdex.index(repository)
        await gate.reached()
        second = await verdex.index(repository)
        gate.open()
        states = [job async for job in second.follow()]
    assert (second.already_running, states[0].status, states[-1].status) == (True, "running", "completed")


async def test_a_job_that_was_started_before_has_a_handle_too(verdex, run_worker, held_up, gate, repository):
    async with run_worker(held_up):
        started = await verdex.index(repository)
        found = await verdex.handle(started.job_id.upper())
        assert (found.job_id, found.workflow_id) == (started.job_id, started.workflow_id)
        gate.open()
        job = await found.wait()
    ended = await verdex.handle(started.job_id)
    assert (found.already_running, ended.already_running) == (True, False)
    assert [state async for state in ended.follow()] == [job]


async def test_a_job_that_nobody_knows_has_no_handle(verdex):
    with pytest.raises(JobNotFound):
        await verdex.handle(str(uuid4()))
