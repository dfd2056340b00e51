"""No job outlives its workflow, whatever closed it."""

import asyncio
import time
from contextlib import aclosing
from datetime import timedelta

import pytest
from temporalio import activity
from temporalio.api.command.v1 import CancelWorkflowExecutionCommandAttributes, Command
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import CommandType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DeleteWorkflowExecutionRequest,
    PollWorkflowTaskQueueRequest,
    RespondWorkflowTaskCompletedRequest,
)
from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError

from activities.indexing import IndexingActivities
from verdex.client import JobHandle
from verdex.contracts import (
    INDEX_REPOSITORY,
    RECONCILE_JOBS,
    IndexRequest,
    IndexResult,
    Job,
    JobIdentity,
    Manifest,
    index_workflow_id,
)
from verdex.errors import DatabaseRefused
from verdex.reconcile import Reconciler
from verdex.storage.registry import Registry
from verdex.temporal.jobs import TemporalJobs
from worker import RECONCILIATION, _schedule

DELETION_SECONDS = 120


@pytest.fixture
def stuck(hold):
    """Steps that stop in the middle."""
    return hold("index_shard")


@pytest.fixture
def handle_of(client):
    return lambda started: client.get_workflow_handle(started.workflow_id, run_id=started.job_id)


@pytest.fixture
async def terminated(verdex, run_worker, stuck, gate, repository, handle_of):
    """A job whose workflow was terminated in the middle; no worker runs."""
    async with run_worker(stuck):
        started = await verdex.index(repository)
        await gate.reached()
        await handle_of(started).terminate(reason="by hand")
    return started


def assert_terminated(job: Job) -> None:
    assert (job.status, job.result_status, job.error_type) == ("failed", "failed", "WorkflowTerminated")
    assert job.error_message is not None
    assert job.error_message.startswith("the workflow was terminated by ")
    assert job.error_message.endswith(": by hand")
    assert job.errors == [job.error_message]
    assert (job.files_indexed, len(job.trace_id or "")) == (0, 32)
    assert job.started_at is not None
    assert job.completed_at is not None
    assert job.completed_at >= job.started_at


async def test_a_terminated_job_is_shown_as_failed_with_who_and_why(verdex, terminated, published, repository):
    assert_terminated(await verdex.job(terminated.job_id))
    assert await published(repository) == 0


async def test_a_list_shows_a_terminated_job_as_failed(verdex, terminated):
    assert_terminated((await verdex.jobs())[0])


async def test_following_a_terminated_job_ends(verdex, run_worker, stuck, gate, repository, handle_of):
    async with run_worker(stuck):
        started = await verdex.index(repository)
        await gate.reached()
        seen: list[Job] = []
        async for job in verdex.follow(started.job_id):
            if not seen:
                await handle_of(started).terminate(reason="by hand")
            seen.append(job)
    assert seen[0].status == "running"
    assert_terminated(seen[-1])


async def test_the_reconciling_workflow_ends_a_terminated_job(verdex, server, reconcile, terminated, run_worker):
    async with run_worker():
        assert [await reconcile(), await reconcile()] == [1, 0]
    async with server.registry.connection() as connection:
        assert await connection.fetchval("SELECT status FROM indexing_jobs") == "failed"
    assert_terminated(await verdex.job(terminated.job_id))


async def test_the_schedule_of_a_worker_ends_a_terminated_job(
    client, server, settings, terminated, run_worker, eventually
):
    async def is_failed() -> bool:
        async with server.registry.connection() as connection:
            return bool(await connection.fetchval("SELECT status = 'failed' FROM indexing_jobs"))

    schedule = client.get_schedule_handle(f"{RECONCILE_JOBS}:{settings.task_queue}")
    async with run_worker():
        for _ in range(2):  # the second worker finds the schedule of the first
            await _schedule(client, settings, RECONCILIATION)
        try:
            await eventually(is_failed)
            (interval,) = (await schedule.describe()).schedule.spec.intervals
        finally:
            await schedule.delete()
    assert interval.every == RECONCILIATION.every <= timedelta(minutes=1)


async def test_a_job_that_was_terminated_before_a_worker_took_it_up_is_failed(verdex, repository, handle_of):
    started = await verdex.index(repository)
    await handle_of(started).terminate()
    job = await verdex.job(started.job_id)
    assert (job.status, job.error_type, job.repo_path) == ("failed", "WorkflowTerminated", str(repository))
    assert job.error_message.startswith("the workflow was terminated by ")
    assert await verdex.jobs() == [job]


async def test_a_job_that_was_terminated_after_its_commit_is_completed(
    verdex, run_worker, committing, gate, repository, handle_of, published
):
    async with run_worker(committing):
        started = await verdex.index(repository)
        await gate.reached()
        await handle_of(started).terminate(reason="by hand")
        job = await verdex.job(started.job_id)
    assert (job.status, job.result_status, job.files_indexed, job.error_message) == ("completed", "success", 3, None)
    assert job.status_message.startswith("published, then the workflow was terminated by ")
    assert await published(repository) == 3


async def test_an_attempt_to_publish_after_the_row_was_ended_changes_nothing(
    verdex, run_worker, hold, gate, repository, handle_of, published
):
    async with run_worker(hold("publish")):
        started = await verdex.index(repository)
        await gate.reached()
        await handle_of(started).terminate(reason="by hand")
        assert_terminated(await verdex.job(started.job_id))
        gate.open()
    assert await published(repository) == 0


async def test_a_job_whose_workflow_timed_out_is_failed(verdex, client, settings, repository, eventually):
    handle = await client.start_workflow(
        INDEX_REPOSITORY,
        IndexRequest(repo_path=str(repository)),
        id=index_workflow_id("default", str(repository)),
        task_queue=settings.task_queue,
        execution_timeout=timedelta(seconds=1),
    )

    async def is_timed_out() -> bool:
        description: WorkflowExecutionDescription = await handle.describe()
        return description.status == WorkflowExecutionStatus.TIMED_OUT

    await eventually(is_timed_out)
    job = await verdex.job(handle.first_execution_run_id)
    assert (job.status, job.error_type) == ("failed", "WorkflowTimedOut")
    assert job.error_message == "the workflow ran into its timeout"
    assert job.trace_id == job.job_id.replace("-", "")


async def test_a_job_that_was_cancelled_without_a_record_is_cancelled(verdex, client, repository, settings):
    """As a workflow would end that is cancelled before its first line."""
    started = await verdex.index(repository)
    queue = TaskQueue(name=settings.task_queue)
    task = await client.workflow_service.poll_workflow_task_queue(
        PollWorkflowTaskQueueRequest(namespace=client.namespace, task_queue=queue)
    )
    cancel = Command(
        command_type=CommandType.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION,
        cancel_workflow_execution_command_attributes=CancelWorkflowExecutionCommandAttributes(),
    )
    await client.workflow_service.respond_workflow_task_completed(
        RespondWorkflowTaskCompletedRequest(task_token=task.task_token, commands=[cancel])
    )
    job = await verdex.job(started.job_id)
    assert (job.status, job.status_message) == ("cancelled", "cancelled before the job recorded it")


async def test_a_workflow_that_failed_without_a_record_fails_its_job_with_its_words(
    verdex, run_worker, repository, handle_of
):
    """Whether the job was published cannot be told in the workflow, so the row is left to the reconciler."""

    class Refusing(IndexingActivities):
        @activity.defn
        async def publish(self, manifest: Manifest) -> IndexResult:
            raise PermissionError("no")

        @activity.defn
        async def abandon(self, job: JobIdentity) -> IndexResult | None:
            raise DatabaseRefused("permission denied for database")

    async with run_worker(Refusing):
        started = await verdex.index(repository)
        job = [job async for job in verdex.follow(started.job_id)][-1]
    assert (await handle_of(started).describe()).status == WorkflowExecutionStatus.FAILED
    assert (job.status, job.error_type) == ("failed", "WorkflowFailed")
    assert job.error_message == "the workflow failed before it could record why: permission denied for database"


@pytest.fixture
def delete(client, handle_of):
    """Delete workflows, as Temporal itself does when their retention is over; a closed one takes its time."""

    async def is_gone(started: JobHandle | Job) -> bool:
        try:
            await handle_of(started).describe()
        except RPCError:
            return True
        return False

    async def run(*jobs: JobHandle | Job) -> None:
        for started in jobs:
            execution = WorkflowExecution(workflow_id=started.workflow_id, run_id=started.job_id)
            await client.workflow_service.delete_workflow_execution(
                DeleteWorkflowExecutionRequest(namespace=client.namespace, workflow_execution=execution)
            )
        async with asyncio.timeout(DELETION_SECONDS):
            while not all([await is_gone(started) for started in jobs]):
                await asyncio.sleep(0.05)

    return run


async def test_a_job_whose_workflow_was_deleted_is_failed(verdex, run_worker, stuck, gate, repository, delete):
    async with run_worker(stuck):
        started = await verdex.index(repository)
        await gate.reached()
        await delete(started)
        job = await verdex.job(started.job_id)
    assert (job.status, job.error_type) == ("failed", "WorkflowLost")
    assert "Temporal does not know the workflow any more" in job.error_message


async def test_a_job_that_published_before_its_workflow_was_deleted_is_completed(
    verdex, run_worker, committing, gate, repository, published, delete
):
    async with run_worker(committing):
        started = await verdex.index(repository)
        await gate.reached()
        await delete(started)
    job = await verdex.job(started.job_id)
    assert (job.status, job.files_indexed, await published(repository)) == ("completed", 3, 3)
    assert job.status_message.startswith("published, then Temporal does not know the workflow any more")


async def test_what_temporal_has_forgotten_stays_as_it_ended_or_is_failed(
    verdex, client, server, run_worker, stuck, gate, repository, finished, handle_of, delete
):
    async with run_worker():
        job = await finished((await verdex.index(repository)).job_id)
    (repository / "new.py").write_text("new = 1\n")
    async with run_worker(stuck):
        started = await verdex.index(repository)
        await gate.reached()
        await handle_of(started).terminate(reason="by hand")
    await delete(started, job)
    assert await Reconciler(TemporalJobs(client), server).reconcile_all() == 1
    lost, completed = await verdex.jobs()
    assert (lost.job_id, lost.status, lost.error_type) == (started.job_id, "failed", "WorkflowLost")
    assert completed == job


async def test_a_job_that_was_terminated_before_a_worker_took_it_up_is_listed(verdex, repository, handle_of):
    started = await verdex.index(repository)
    await handle_of(started).terminate(reason="by hand")
    (job,) = await verdex.jobs()
    assert (job.job_id, job.status, job.error_type) == (started.job_id, "failed", "WorkflowTerminated")


async def test_the_reconciling_workflow_makes_the_row_of_a_job_that_never_had_one(
    verdex, server, reconcile, repository, handle_of, run_worker
):
    started = await verdex.index(repository)
    await handle_of(started).terminate(reason="by hand")
    async with run_worker():
        assert await reconcile() == 1
    row = await Registry(server.registry).job(started.job_id)
    assert row is not None
    assert row.status == "failed"


async def test_what_cannot_be_settled_yet_is_not_shown_as_running(verdex, server, terminated):
    await server.forget("cb_proj_default")
    async with server.registry.connection() as connection:
        await connection.execute("ALTER DATABASE cb_proj_default ALLOW_CONNECTIONS false")
        for job in (await verdex.job(terminated.job_id), *await verdex.jobs()):
            assert job.status == "blocked"
            assert job.status_message.startswith("the workflow was terminated by ")
            assert (
                ': by hand; waiting for database "cb_proj_default" to settle what was published: ' in job.status_message
            )
        row = await connection.fetchrow("SELECT status, status_message FROM indexing_jobs")
        assert tuple(row) == (job.status, job.status_message)
        await connection.execute("ALTER DATABASE cb_proj_default ALLOW_CONNECTIONS true")
    assert_terminated(await verdex.job(terminated.job_id))
    events = [event.event for event in await verdex.events(terminated.job_id)]
    assert (events.count("blocked"), events[-1]) == (1, "failed")


async def test_who_follows_what_cannot_be_settled_yet_pauses_before_each_further_look(verdex, server, terminated):
    await server.forget("cb_proj_default")
    async with server.registry.connection() as connection:
        await connection.execute("ALTER DATABASE cb_proj_default ALLOW_CONNECTIONS false")
        began = time.monotonic()
        async with aclosing(verdex.follow(terminated.job_id, interval=0.3)) as states:
            assert [(await anext(states)).status for _ in range(4)] == ["blocked"] * 4
        assert time.monotonic() - began > 0.6  # the second look is at the end of the workflow, which has closed
        await connection.execute("ALTER DATABASE cb_proj_default ALLOW_CONNECTIONS true")
    assert_terminated([job async for job in verdex.follow(terminated.job_id)][-1])


async def test_a_job_whose_project_has_an_empty_database_now_published_nothing(verdex, server, terminated):
    async with server.database("cb_proj_default").connection() as connection:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    assert_terminated(await verdex.job(terminated.job_id))


async def test_a_row_that_cannot_be_ended_does_not_hold_up_the_others(
    verdex, client, server, run_worker, stuck, gate, tmp_path, handle_of
):
    await verdex.projects.create("closed")
    started = []
    for project in ("closed", "default"):
        root = tmp_path / project
        root.mkdir()
        (root / "a.py").write_text("a = 1\n")
        async with run_worker(stuck):
            started.append(await verdex.index(root, project_id=project))
            await gate.reached()
            await handle_of(started[-1]).terminate(reason="by hand")
            gate.shut()
    await server.forget("cb_proj_closed")
    async with server.registry.connection() as connection:
        await connection.execute("ALTER DATABASE cb_proj_closed ALLOW_CONNECTIONS false")
        assert await Reconciler(TemporalJobs(client), server).reconcile_all() == 1
        assert_terminated(await verdex.job(started[1].job_id))
        await connection.execute("ALTER DATABASE cb_proj_closed ALLOW_CONNECTIONS true")
    assert_terminated(await verdex.job(started[0].job_id))
