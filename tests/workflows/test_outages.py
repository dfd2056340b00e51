"""What a job survives: PostgreSQL going away, a worker that is killed or drained, an answer that comes late."""

import asyncio
import os
import signal
import subprocess
import sys
from datetime import timedelta

import psutil
import pytest
from temporalio import activity

import worker as worker_module
from activities.indexing import IndexingActivities
from tests.workflows.conftest import PROJECT_ROOT, chunks_of, worker_process
from verdex.contracts import IndexResult, Job, Manifest, Shard
from verdex.errors import DatabaseUnavailable
from verdex.local.postgres import Postgres
from verdex.settings import Settings


class TestPostgresGoesAway:
    """The registry and the projects are on a server of the test's own."""

    @pytest.fixture
    def registry_url(self, own_postgres: Postgres) -> str:
        return own_postgres.url("postgres")

    async def test_a_job_is_blocked_while_postgresql_is_away_and_then_completed(
        self, verdex, own_postgres, run_worker, hold, gate, repository, finished, published, states, eventually
    ):
        async def is_blocked() -> bool:
            job: Job = await verdex.job(started.job_id)
            return job.status == "blocked" and "(attempt" in (job.status_message or "")

        async with run_worker(hold("index_shard")):
            started = await verdex.index(repository)
            await gate.reached()
            await asyncio.to_thread(own_postgres.stop)
            gate.open()
            await eventually(is_blocked)
            job = await verdex.job(started.job_id)
            assert job.status_message.startswith("PostgreSQL is not available: ")
            assert (job.phase, job.files_total) == ("index", 3)
            await asyncio.to_thread(own_postgres.start)
            job = await finished(started.job_id)
        assert (job.status, job.result_status, job.error_message) == ("completed", "success", None)
        assert (job.files_indexed, job.files_added, job.files_done) == (3, 3, 3)
        assert await published(repository) == 3
        assert "blocked" in [status for status, _ in await states()]

    async def test_a_job_that_starts_while_postgresql_is_away_begins_when_it_is_back(
        self, verdex, own_postgres, run_worker, repository, finished
    ):
        await asyncio.to_thread(own_postgres.stop)
        async with run_worker():
            started = await verdex.index(repository)
            job = await verdex.job(started.job_id)
            assert (job.status, job.repo_path) == ("blocked", str(repository))
            await asyncio.to_thread(own_postgres.start)
            job = await finished(started.job_id)
        assert (job.status, job.files_indexed) == ("completed", 3)


async def test_a_job_whose_worker_is_killed_is_completed_by_the_next(
    verdex, client, settings, tmp_path, python_files, finished, eventually
):
    repository, log = python_files(160, 24_000), tmp_path / "worker.log"
    address = client.service_client.config.target_host

    async def is_half_done() -> bool:
        assert first.poll() is None, log.read_text()
        job: Job = await verdex.job(started.job_id)
        return job.files_done > 0

    started = await verdex.index(repository)
    with worker_process(settings, address, log) as first:
        await eventually(is_half_done)
        children = first.children(recursive=True)
        first.send_signal(signal.SIGKILL)
        _, alive = await asyncio.to_thread(psutil.wait_procs, children, 5)
    assert children
    assert not alive
    killed_at = await verdex.job(started.job_id)
    assert (killed_at.status, killed_at.phase) == ("running", "index")
    assert 0 < killed_at.files_done < killed_at.files_total == 160
    with worker_process(settings, address, log) as second:
        job = await finished(started.job_id)
        second.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(second.wait, 20) == 0
    assert (job.status, job.result_status, job.files_indexed, job.files_added) == ("completed", "success", 160, 160)
    assert job.chunks_created == job.chunks_total == chunks_of(repository)
    assert '"message": "worker is draining"' in log.read_text()


async def test_a_worker_waits_for_postgresql_until_it_is_stopped(settings, tmp_path, eventually):
    log = tmp_path / "worker.log"
    nowhere = Settings(database_url=f"postgresql:///none?host={tmp_path}", task_queue="none", home=tmp_path)

    async def waits() -> bool:
        return "waiting for the stack" in log.read_text()

    with worker_process(nowhere, "127.0.0.1:1", log) as process:
        await eventually(waits)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 10) == 0


def test_a_worker_with_a_wrong_setting_says_which(tmp_path):
    environment = os.environ | {"VERDEX_PROCESSES": "none"}
    done = subprocess.run(
        [sys.executable, "-m", "worker"], cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("verdex worker: VERDEX_PROCESSES is 'none': ")


async def test_a_job_outlives_the_workers_that_are_drained(verdex, run_worker, monkeypatch, repository, finished):
    """After so many attempts a bug would have failed the job: a deployment is no failure."""
    monkeypatch.setattr(worker_module, "DRAIN", timedelta(milliseconds=1))

    class Stuck(IndexingActivities):
        begun = asyncio.Event()

        @activity.defn
        async def index_shard(self, shard: Shard) -> None:
            self.begun.set()
            await asyncio.Event().wait()

    started = await verdex.index(repository)
    for _ in range(3):
        Stuck.begun.clear()
        async with run_worker(Stuck):
            await asyncio.wait_for(Stuck.begun.wait(), 30)
    async with run_worker():
        job = await finished(started.job_id)
    assert (job.status, job.files_indexed, job.files_added) == ("completed", 3, 3)


async def test_how_often_a_step_was_held_up_does_not_count_when_it_fails_in_another_way(
    verdex, run_worker, repository, finished
):
    """A machine that goes down takes PostgreSQL with it first, and then the worker."""
    errors = [*[DatabaseUnavailable("PostgreSQL is not available: shutting down")] * 2, RuntimeError("what is this?")]

    class Unlucky(IndexingActivities):
        @activity.defn
        async def index_shard(self, shard: Shard) -> None:
            if errors:
                raise errors.pop(0)
            await super().index_shard(shard)

    async with run_worker(Unlucky):
        job = await finished((await verdex.index(repository)).job_id)
    assert (job.status, job.files_indexed, job.error_message) == ("completed", 3, None)


@pytest.mark.parametrize("lost", [1, 9], ids=["once", "always"])
async def test_a_publish_whose_answer_is_lost_is_not_done_twice(verdex, run_worker, repository, finished, lost):
    results = []

    class Forgetful(IndexingActivities):
        @activity.defn
        async def publish(self, manifest: Manifest) -> IndexResult:
            results.append(await super().publish(manifest))
            if len(results) <= lost:
                raise OSError("the answer was lost")
            return results[-1]

    async with run_worker(Forgetful):
        job = await finished((await verdex.index(repository)).job_id)
    assert (job.status, job.files_indexed, job.files_added, job.files_unchanged) == ("completed", 3, 3, 0)
    assert len(results) == min(lost + 1, 3)
    assert all(result == results[0] for result in results)
