"""A cancelled job says so everywhere within seconds, a search sees nothing of it, and what it did is not done again."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import psutil
import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus

import worker
from activities.indexing import IndexingActivities
from activities.registry import RegistryActivities
from verdex.client import Verdex
from verdex.contracts import IndexResult, Job, JobIdentity, JobRecord, Manifest
from verdex.errors import DatabaseUnavailable
from verdex.local.postgres import Postgres

SOON = 5.0
"""Seconds from the request to the end of the job, as promised."""
BACK = 10.0
"""Seconds in which a job goes on when what was away is back."""
DRAINED = 30.0
"""Seconds in which a worker ends, whatever its servers do."""
PROJECT = "cb_proj_default"

Cancel = Callable[[str], Awaitable[Job]]


@pytest.fixture
def cancel(verdex: Verdex, client: Client, finished: Callable[[str], Awaitable[Job]]) -> Cancel:
    """Cancel a job that runs, and see by the times that Temporal and PostgreSQL noted whether it ended soon."""

    async def cancel(job_id: str) -> Job:
        await verdex.cancel(job_id)
        job = await finished(job_id)
        ended = (await verdex.events(job_id))[-1].at
        assert (ended - await requested(client, job)).total_seconds() < SOON
        return job

    return cancel


async def requested(client: Client, job: Job) -> datetime:
    """When Temporal took the request."""
    history = await client.get_workflow_handle(job.workflow_id, run_id=job.job_id).fetch_history()
    return next(
        event.event_time.ToDatetime(UTC)
        for event in history.events
        if event.HasField("workflow_execution_cancel_requested_event_attributes")
    )


@pytest.fixture
async def indexed(verdex, run_worker, repository: Path, finished) -> Path:
    """A repository of which a search sees three files; a fourth was added since."""
    async with run_worker():
        assert (await finished((await verdex.index(repository)).job_id)).status == "completed"
    (repository / "new.py").write_text("new = True\n")
    return repository


def assert_cancelled(job: Job) -> None:
    assert (job.status, job.result_status, job.error_message) == ("cancelled", None, None)
    assert (job.status_message, job.files_indexed) == ("cancelled on request", 0)
    assert job.started_at is not None
    assert job.completed_at is not None
    assert job.completed_at >= job.started_at


async def test_a_job_can_be_cancelled_before_a_worker_takes_it_up(verdex, run_worker, repository, finished):
    started = await verdex.index(repository)
    assert (await verdex.cancel(started.job_id)).status == "pending"
    assert (await verdex.job(started.job_id)).status_message == "no worker is polling (start one: verdex worker)"
    begun = datetime.now(UTC)
    async with run_worker():
        job = await finished(started.job_id)
    assert_cancelled(job)
    assert ((await verdex.events(started.job_id))[-1].at - begun).total_seconds() < SOON


@pytest.mark.parametrize(
    ("step", "phase"),
    [("preflight", "preflight"), ("scan", "scan"), ("index_shard", "index"), ("publish", "publish")],
)
async def test_a_job_can_be_cancelled_in_every_phase(
    verdex, run_worker, gate, indexed, finished, cancel, hold, published, step, phase
):
    async with run_worker(hold(step)):
        started = await verdex.index(indexed)
        await gate.reached()
        job = await cancel(started.job_id)
    assert_cancelled(job)
    assert (job.phase, await published(indexed)) == (phase, 3)
    async with run_worker():
        job = await finished((await verdex.index(indexed)).job_id)
    assert (job.status, job.files_indexed, job.files_added, job.files_unchanged) == ("completed", 4, 1, 3)


async def test_a_job_can_be_cancelled_while_it_is_blocked(verdex, run_worker, repository, cancel, eventually):
    class Blocked(IndexingActivities):
        @activity.defn
        async def preflight(self, job: JobIdentity) -> None:
            raise DatabaseUnavailable("PostgreSQL is not available: starting up")

    async def is_blocked() -> bool:
        job: Job = await verdex.job(started.job_id)
        return job.status == "blocked"

    async with run_worker(Blocked):
        started = await verdex.index(repository)
        await eventually(is_blocked)
        assert_cancelled(await cancel(started.job_id))


class TestWhilePostgresqlHoldsAStepUp:
    @pytest.fixture
    async def project(self, postgres: Postgres, indexed: Path) -> AsyncIterator[asyncpg.Connection]:
        """Somebody else, who works in the database of the project."""
        connection = await asyncpg.connect(postgres.url(PROJECT))
        yield connection
        await connection.close()

    @pytest.mark.parametrize(
        ("step", "lock"),
        [("index_shard", "LOCK TABLE files"), ("publish", "SELECT FROM repositories FOR UPDATE")],
        ids=["index", "publish"],
    )
    async def test_a_job_that_waits_for_a_lock_can_be_cancelled(
        self, verdex, run_worker, gate, indexed, cancel, hold, project, published, eventually, step, lock
    ):
        async def waits() -> bool:
            return bool(
                await project.fetchval("SELECT true FROM pg_stat_activity WHERE wait_event_type = 'Lock' LIMIT 1")
            )

        async with run_worker(hold(step)):
            started = await verdex.index(indexed)
            await gate.reached()
            async with project.transaction():
                await project.execute(lock)
                gate.open()
                await eventually(waits)
                assert_cancelled(await cancel(started.job_id))
        assert await published(indexed) == 3

    @asynccontextmanager
    async def frozen(self, project: asyncpg.Connection) -> AsyncIterator[None]:
        """Stop the processes of PostgreSQL that serve the project to the worker."""
        query = "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND application_name = 'verdex'"
        processes = [psutil.Process(row["pid"]) for row in await project.fetch(query, PROJECT)]
        assert processes
        for process in processes:
            process.suspend()
        yield
        for process in processes:
            process.resume()

    @pytest.mark.parametrize("step", ["scan", "index_shard", "publish"])
    async def test_a_job_whose_connection_is_frozen_can_be_cancelled(
        self, verdex, run_worker, gate, indexed, cancel, hold, project, published, step
    ):
        async with run_worker(hold(step)):
            started = await verdex.index(indexed)
            await gate.reached()
            async with self.frozen(project):
                gate.open()
                assert_cancelled(await cancel(started.job_id))
        assert await published(indexed) == 3

    async def test_a_worker_whose_connection_is_frozen_in_a_transaction_can_be_drained(
        self, verdex, run_worker, indexed, cancel, project, eventually
    ):
        async def waits() -> bool:
            return bool(await project.fetchval("SELECT true FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))

        async with AsyncExitStack() as until_drained, project.transaction():
            await project.execute("LOCK TABLE chunks")
            async with run_worker():
                started = await verdex.index(indexed)
                await eventually(waits)
                await until_drained.enter_async_context(self.frozen(project))
                assert_cancelled(await cancel(started.job_id))
                begun = time.monotonic()
            assert time.monotonic() - begun < DRAINED


class TestWithoutTheRegistry:
    """The registry and the projects are on a server of the test's own."""

    @pytest.fixture
    def registry_url(self, own_postgres: Postgres) -> str:
        return own_postgres.url("postgres")

    async def test_a_cancelled_job_ends_when_its_row_can_be_written(
        self, verdex, client, own_postgres, run_worker, gate, repository, finished, hold
    ):
        """Until then it says `blocked`, and Temporal that it runs: both are true, for it has not ended."""
        async with run_worker(hold("index_shard")):
            started = await verdex.index(repository)
            await gate.reached()
            await asyncio.to_thread(own_postgres.stop)
            assert (await verdex.cancel(started.job_id)).status == "blocked"
            assert (await verdex.job(started.job_id)).status == "blocked"
            handle = client.get_workflow_handle(started.workflow_id, run_id=started.job_id)
            assert (await handle.describe()).status == WorkflowExecutionStatus.RUNNING
            await asyncio.to_thread(own_postgres.start)
            back = datetime.now(UTC)
            job = await finished(started.job_id)
        assert_cancelled(job)
        assert ((await verdex.events(started.job_id))[-1].at - back).total_seconds() < BACK


async def test_a_job_that_is_cancelled_while_its_end_is_recorded_is_completed(
    verdex, run_worker, gate, repository, cancel, published, monkeypatch
):
    class Slow(RegistryActivities):
        @activity.defn
        async def update_registry(self, record: JobRecord) -> None:
            if record.state.status == "completed":
                await gate.passed()
            await super().update_registry(record)

    monkeypatch.setattr(worker, "RegistryActivities", Slow)
    async with run_worker():
        started = await verdex.index(repository)
        await gate.reached()
        cancelling = asyncio.create_task(cancel(started.job_id))
        assert await asyncio.wait({cancelling}, timeout=1) == (set(), {cancelling})
        gate.open()
        job = await cancelling
    assert (job.status, job.result_status, job.files_indexed) == ("completed", "success", 3)
    assert await published(repository) == 3


async def test_what_a_cancelled_job_has_stored_is_not_done_again(
    verdex, run_worker, gate, python_files, finished, cancel, server
):
    class FirstBatchOnly(IndexingActivities):
        async def _tell_batch(self, manifest: Manifest, read_bytes: int) -> None:
            await gate.passed()

    root = python_files(40, 240)
    async with run_worker(FirstBatchOnly):
        started = await verdex.index(root)
        await gate.reached()
        assert_cancelled(await cancel(started.job_id))
    async with server.database(PROJECT).connection() as connection:
        kept = await connection.fetchval("SELECT count(*) FROM chunks")
    async with run_worker():
        job = await finished((await verdex.index(root)).job_id)
    assert (job.status, job.files_added) == ("completed", 40)
    assert kept > 0
    assert job.chunks_created == job.chunks_total - kept


async def test_an_attempt_to_publish_that_outlives_its_job_changes_nothing(
    verdex, run_worker, gate, repository, cancel, published
):
    late: asyncio.Future[IndexResult] = asyncio.get_running_loop().create_future()

    class Zombie(IndexingActivities):
        @activity.defn
        async def publish(self, manifest: Manifest) -> IndexResult:
            waiting = asyncio.create_task(gate.passed())
            try:
                await asyncio.shield(waiting)
            except asyncio.CancelledError:
                await waiting
            late.set_result(await super().publish(manifest))
            return await late

    async with run_worker(Zombie):
        started = await verdex.index(repository)
        await gate.reached()
        assert_cancelled(await cancel(started.job_id))
        gate.open()
        result = await late
    assert (result.status, result.error_type) == ("failed", "JobAbandoned")
    assert await published(repository) == 0
    assert (await verdex.job(started.job_id)).status == "cancelled"


async def test_a_job_that_is_cancelled_after_its_commit_is_completed(
    verdex, run_worker, committing, gate, repository, cancel, published
):
    async with run_worker(committing):
        started = await verdex.index(repository)
        await gate.reached()
        job = await cancel(started.job_id)
    assert (job.status, job.result_status, job.files_indexed, job.files_added) == ("completed", "success", 3, 3)
    assert await published(repository) == 3


async def test_a_cancellation_does_not_break_off_the_withdrawal_of_a_failed_job(
    verdex, client, run_worker, gate, repository, finished, eventually
):
    class Failing(IndexingActivities):
        @activity.defn
        async def publish(self, manifest: Manifest) -> IndexResult:
            raise PermissionError("no")

        @activity.defn
        async def abandon(self, job: JobIdentity) -> IndexResult | None:
            await gate.passed()
            return await super().abandon(job)

    async def is_heard() -> bool:
        events = await client.get_workflow_handle(started.workflow_id, run_id=started.job_id).fetch_history()
        heard = [
            event.event_id
            for event in events.events
            if event.HasField("workflow_execution_cancel_requested_event_attributes")
        ]
        done = [event.event_id for event in events.events if event.HasField("workflow_task_completed_event_attributes")]
        return bool(heard) and done[-1] > heard[0]

    async with run_worker(Failing):
        started = await verdex.index(repository)
        await gate.reached()
        await verdex.cancel(started.job_id)
        await eventually(is_heard)
        gate.open()
        job = await finished(started.job_id)
    assert (job.status, job.error_message) == ("failed", "PermissionError: no")


async def test_to_cancel_a_job_that_has_ended_changes_nothing(verdex, worker, repository, finished):
    job = await finished((await verdex.index(repository)).job_id)
    assert await verdex.cancel(job.job_id) == job
    assert await verdex.job(job.job_id) == job
