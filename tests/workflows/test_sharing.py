"""Workers share the shards of a large job, each as many as it has room for, and nothing else waits for them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path

import pytest
from temporalio import activity

import worker
from activities.indexing import IndexingActivities
from benchmarks.workers import shards
from tests.workflows.conftest import chunks_of, worker_process
from verdex import temporal
from verdex.contracts import Job, Shard
from workflows.policies import SHARED_SHARDS

MANY = 2 * SHARED_SHARDS


class Held(IndexingActivities):
    """Shards of a repository wait until the test lets them go on; what is under way at each worker is counted."""

    under_way: Counter[int]
    most: Counter[int]
    repository: Path
    go_on: asyncio.Event

    @activity.defn
    async def index_shard(self, shard: Shard) -> None:
        if shard.manifest.repo_path == str(self.repository):
            self.under_way[id(self)] += 1
            self.most |= self.under_way
            await self.go_on.wait()
            self.under_way[id(self)] -= 1
        await super().index_shard(shard)


@pytest.fixture
def held(many_shards, monkeypatch) -> type[Held]:
    monkeypatch.setattr(worker, "IndexingActivities", Held)
    Held.under_way, Held.most, Held.go_on = Counter(), Counter(), asyncio.Event()
    Held.repository = many_shards(MANY)
    return Held


@pytest.fixture
def work(client, server, pool, settings) -> Callable[[int], AbstractAsyncContextManager[None]]:
    """A worker with a connection of its own, as if it were another process, which parses in so many more."""

    @asynccontextmanager
    async def work(processes: int) -> AsyncIterator[None]:
        own = await temporal.connect(environment={"TEMPORAL_ADDRESS": client.service_client.config.target_host})
        async with worker.working(own, server, pool, settings.model_copy(update={"processes": processes})):
            yield

    return work


@pytest.mark.parametrize(
    ("workers", "processes", "taken"), [(1, 1, [2]), (2, 1, [2, 2]), (1, 2, [4]), (3, 4, [8, 8, 8])]
)
async def test_a_worker_takes_two_shards_for_each_process_that_parses(
    verdex, work, held, finished, eventually, workers, processes, taken
):
    window = min(sum(taken), SHARED_SHARDS)

    async def are_under_way() -> bool:
        return bool(sum(held.under_way.values()) == window)

    async with AsyncExitStack() as stack:
        for _ in range(workers):
            await stack.enter_async_context(work(processes))
        started = await verdex.index(held.repository)
        await eventually(are_under_way)
        held.go_on.set()
        job = await finished(started.job_id)
    assert (job.status, job.files_indexed) == ("completed", MANY)
    assert len(held.most) == workers
    assert all(most <= limit for most, limit in zip(held.most.values(), taken, strict=True))


async def test_a_small_job_does_not_wait_for_a_large_one(verdex, work, held, repository, finished, eventually):
    async def is_full() -> bool:
        return bool(sum(held.under_way.values()) == 2)

    async with work(1):
        large = await verdex.index(held.repository)
        await eventually(is_full)
        assert (await finished((await verdex.index(repository)).job_id)).status == "completed"
        job: Job = await verdex.job(large.job_id)
        assert (job.status, job.files_done) == ("running", 0)
        held.go_on.set()
        assert (await finished(large.job_id)).status == "completed"


async def test_a_large_job_whose_shards_wait_for_room_can_be_cancelled(verdex, work, held, finished, eventually):
    async def is_full() -> bool:
        return bool(sum(held.under_way.values()) == 2)

    async with work(1):
        started = await verdex.index(held.repository)
        await eventually(is_full)
        await verdex.cancel(started.job_id)
        job = await finished(started.job_id)
    assert (job.status, job.phase) == ("cancelled", "index")
    assert max(held.most.values()) == 2


async def test_two_worker_processes_share_the_shards_of_one_job(
    verdex, client, settings, tmp_path, python_files, finished, eventually
):
    repository, logs = python_files(3000, 60), [tmp_path / "first.log", tmp_path / "second.log"]

    async def are_polling() -> bool:
        return all(log.exists() and "worker is polling" in log.read_text() for log in logs)

    with ExitStack() as stack:
        for log in logs:
            stack.enter_context(worker_process(settings, client.service_client.config.target_host, log))
        await eventually(are_polling)
        started = await verdex.index(repository)
        job = await finished(started.job_id)
    history = await client.get_workflow_handle(job.workflow_id, run_id=job.job_id).fetch_history()
    most, least = shards(history)
    assert most + least >= 6
    assert least >= (most + least) / 4
    assert (job.status, job.result_status, job.files_indexed, job.files_added) == ("completed", "success", 3000, 3000)
    assert job.chunks_created == job.chunks_total == chunks_of(repository)
