"""A cancelled job says so everywhere within seconds, and a search sees nothing of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from temporalio import activity

from activities.indexing import IndexingActivities
from verdex.client import Verdex
from verdex.contracts import IndexResult, Job, JobIdentity, Manifest, Scan, Shard
from verdex.errors import DatabaseUnavailable

SOON = 5.0
"""Seconds after which a cancelled job has ended."""


async def cancelled(verdex: Verdex, finished: Callable[[str], Awaitable[Job]], job_id: str) -> Job:
    asked = time.monotonic()
    await verdex.cancel(job_id)
    job = await finished(job_id)
    assert time.monotonic() - asked < SOON
    return job


def assert_cancelled(job: Job) -> None:
    assert (job.status, job.result_status, job.error_message) == ("cancelled", None, None)
    assert (job.status_message, job.files_indexed) == ("cancelled on request", 0)
    assert job.started_at is not None
    assert job.completed_at is not None
    assert job.completed_at >= job.started_at


async def test_a_job_can_be_cancelled_before_a_worker_takes_it_up(verdex, run_worker, repository, finished):
    started = await verdex.index(repository)
    assert (await verdex.cancel(started.job_id)).status == "pending"
    async with run_worker():
        assert_cancelled(await finished(started.job_id))


async def test_a_job_can_be_cancelled_while_it_scans(verdex, run_worker, gate, repository, finished):
    class Slow(IndexingActivities):
        @activity.defn
        async def scan(self, job: JobIdentity) -> Scan:
            await gate.passed()
            return await super().scan(job)

    async with run_worker(Slow):
        started = await verdex.index(repository)
        await gate.reached()
        job = await cancelled(verdex, finished, started.job_id)
    assert_cancelled(job)
    assert job.phase == "scan"


async def test_a_job_can_be_cancelled_while_it_indexes(verdex, run_worker, gate, repository, finished, published):
    class Slow(IndexingActivities):
        @activity.defn
        async def index_shard(self, shard: Shard) -> None:
            await gate.passed()

    async with run_worker(Slow):
        started = await verdex.index(repository)
        await gate.reached()
        job = await cancelled(verdex, finished, started.job_id)
    assert_cancelled(job)
    assert (job.phase, await published(repository)) == ("index", 0)


async def test_a_job_can_be_cancelled_while_it_is_blocked(verdex, run_worker, repository, finished, eventually):
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
        assert_cancelled(await cancelled(verdex, finished, started.job_id))


async def test_an_attempt_to_publish_that_outlives_its_job_changes_nothing(
    verdex, run_worker, gate, repository, finished, published
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
        assert_cancelled(await cancelled(verdex, finished, started.job_id))
        gate.open()
        result = await late
    assert (result.status, result.error_type) == ("failed", "JobAbandoned")
    assert await published(repository) == 0
    assert (await verdex.job(started.job_id)).status == "cancelled"


async def test_a_job_that_is_cancelled_after_its_commit_is_completed(
    verdex, run_worker, gate, repository, finished, published
):
    class Slow(IndexingActivities):
        @activity.defn
        async def publish(self, manifest: Manifest) -> IndexResult:
            result = await super().publish(manifest)
            await gate.passed()
            return result

    async with run_worker(Slow):
        started = await verdex.index(repository)
        await gate.reached()
        job = await cancelled(verdex, finished, started.job_id)
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


async def test_a_cancelled_job_leaves_the_index_of_the_job_before(
    verdex, run_worker, gate, repository, finished, published
):
    async with run_worker():
        await finished((await verdex.index(repository)).job_id)
    (repository / "three.py").write_text("three = 3\n")

    class Slow(IndexingActivities):
        @activity.defn
        async def publish(self, manifest: Manifest) -> IndexResult:
            await gate.passed()
            return await super().publish(manifest)

    async with run_worker(Slow):
        started = await verdex.index(repository)
        await gate.reached()
        assert_cancelled(await cancelled(verdex, finished, started.job_id))
    assert await published(repository) == 3
    async with run_worker():
        job = await finished((await verdex.index(repository)).job_id)
    assert (job.status, job.files_indexed, job.files_added, job.files_unchanged) == ("completed", 4, 1, 3)
