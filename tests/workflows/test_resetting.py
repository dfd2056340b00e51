"""A workflow that is reset goes on as another run, which is another job; each has a row that tells the truth."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from uuid import uuid4

import pytest
from temporalio import activity
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, ResetReapplyType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError

from activities.indexing import IndexingActivities
from tests.conftest import DEADLINE
from tests.workflows.conftest import SAME_STATUS
from verdex.client import JobHandle
from verdex.contracts import Job, Shard, Started
from verdex.errors import DatabaseDiskFull, JobReset

Run = JobHandle | Started | Job
Reset = Callable[[Run, int], Awaitable[Started]]


async def ends_of_tasks(client: Client, job: Run) -> list[int]:
    """The events to which a workflow can be reset."""
    handle = client.get_workflow_handle(job.workflow_id, run_id=job.job_id)
    return [
        event.event_id
        async for event in handle.fetch_history_events()
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    ]


@pytest.fixture
def reset(client) -> Reset:
    """Reset a workflow to a number of its workflow tasks, counted from 0; the job of the new run."""

    async def run(started: Run, task: int) -> Started:
        ends = await ends_of_tasks(client, started)
        answer = await client.workflow_service.reset_workflow_execution(
            ResetWorkflowExecutionRequest(
                namespace=client.namespace,
                workflow_execution=WorkflowExecution(workflow_id=started.workflow_id, run_id=started.job_id),
                reason="by hand",
                workflow_task_finish_event_id=ends[task],
                request_id=uuid4().hex,
                reset_reapply_type=ResetReapplyType.RESET_REAPPLY_TYPE_NONE,
            )
        )
        return Started(answer.run_id, started.workflow_id, already_running=False)

    return run


@pytest.fixture
def ended(client, verdex) -> Callable[[Run], Awaitable[Job]]:
    """The job of a run that was reset, when its workflow has closed; row and Temporal must agree."""

    async def wait(started: Run) -> Job:
        handle = client.get_workflow_handle(started.workflow_id, run_id=started.job_id)
        async with asyncio.timeout(DEADLINE):
            with suppress(WorkflowFailureError):
                await handle.result()
        jobs: list[Job] = [job for job in await verdex.jobs() if job.job_id == started.job_id]
        assert [(await handle.describe()).status] == [SAME_STATUS[job.status] for job in jobs]
        return jobs[0]

    return wait


@pytest.fixture
async def stuck(verdex, run_worker, repository, hold, gate) -> JobHandle:
    """A job that stands before a shard; no worker runs any more."""
    async with run_worker(hold("index_shard")):
        started: JobHandle = await verdex.index(repository)
        await gate.reached()
    return started


async def test_a_job_that_is_reset_to_its_start_is_done_anew_as_another(
    verdex, worker, repository, published, reset, ended
):
    old = await ended(await verdex.index(repository))
    (repository / "new.py").write_text("new = 1\n")
    new = await ended(await reset(old, 0))
    assert (new.status, new.files_added, new.files_unchanged, await published(repository)) == ("completed", 1, 3, 4)
    assert new.created_at > old.completed_at
    assert [job.job_id for job in await verdex.jobs()] == [new.job_id, old.job_id]
    assert await verdex.job(old.job_id) == old
    found = await verdex.verify(repository)
    assert (found.job_id, found.ok) == (new.job_id, True)


async def test_a_job_that_is_reset_while_it_runs_has_ended_and_says_as_what_it_goes_on(
    verdex, stuck, run_worker, repository, published, reset, ended
):
    new = await reset(stuck, 0)
    async with run_worker():
        assert (await ended(new)).status == "completed"
    old = await verdex.job(stuck.job_id)
    assert (old.status, old.error_type) == ("failed", "WorkflowTerminated")
    assert old.error_message.endswith(f": by hand (it was reset, and goes on as job {new.job_id})")
    assert await published(repository) == 3
    assert (await verdex.verify(repository)).ok


async def test_a_start_finds_the_job_as_which_a_reset_one_goes_on(verdex, stuck, reset, repository):
    new = await reset(stuck, 0)
    async with asyncio.timeout(DEADLINE):
        found = await verdex.index(repository)
    assert (found.job_id, found.already_running) == (new.job_id, True)


async def test_a_job_that_is_reset_in_the_middle_of_its_shards_fails_and_publishes_nothing(
    verdex, client, stuck, run_worker, repository, published, reset, ended
):
    last = len(await ends_of_tasks(client, stuck)) - 1
    async with run_worker():
        new = await ended(await reset(stuck, last))
    assert (new.status, new.error_type) == ("failed", "JobReset")
    assert new.error_message == str(JobReset(stuck.job_id))
    assert (await verdex.job(stuck.job_id)).error_type == "WorkflowTerminated"
    assert await published(repository) == 0
    async with run_worker():
        assert (await ended(await verdex.index(repository))).status == "completed"


async def test_what_a_failed_job_had_planned_is_not_published_by_a_reset(
    verdex, client, run_worker, repository, published, reset, ended
):
    class Full(IndexingActivities):
        @activity.defn
        async def index_shard(self, shard: Shard) -> None:
            raise DatabaseDiskFull("no space left")

    async with run_worker(Full):
        old = await ended(await verdex.index(repository))
    async with run_worker():
        statuses = []
        for task in reversed(range(len(await ends_of_tasks(client, old)))):
            statuses.append((await ended(await reset(old, task))).status)
            assert await published(repository) == (3 if "completed" in statuses else 0)
    assert statuses[0] == "failed"
    assert statuses[-1] == "completed"
    assert await verdex.job(old.job_id) == old


async def test_wherever_a_completed_job_is_reset_to_no_row_claims_what_another_published(
    verdex, client, worker, repository, server, reset, ended
):
    old = await ended(await verdex.index(repository))
    seen = set()
    for task in range(len(await ends_of_tasks(client, old))):
        new = await ended(await reset(old, task))
        seen.add((new.status, new.error_type))
        assert new.error_message is None or new.error_message.endswith(str(JobReset(old.job_id)))
        assert (await verdex.verify(repository)).ok
    assert seen == {("completed", None), ("failed", "JobReset"), ("failed", "WorkflowFailed")}
    async with server.registry.connection() as connection:
        generations = await connection.fetch("SELECT generation FROM indexing_jobs WHERE status = 'completed'")
    assert sorted(row["generation"] for row in generations) == list(range(1, len(generations) + 1))
    assert await verdex.job(old.job_id) == old


async def test_a_job_that_is_reset_to_its_cancellation_is_cancelled_as_well(
    verdex, client, stuck, run_worker, reset, ended
):
    await verdex.cancel(stuck.job_id)
    async with run_worker():
        old = await ended(stuck)
        new = await ended(await reset(old, len(await ends_of_tasks(client, old)) - 1))
    assert (old.status, new.status) == ("cancelled", "cancelled")
    assert (await client.get_workflow_handle(new.workflow_id).describe()).status == WorkflowExecutionStatus.CANCELED
