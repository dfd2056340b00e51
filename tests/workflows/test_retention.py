"""A collection takes nothing that a search or a job needs, also in the middle of a job."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from temporalio.client import Client

from verdex.contracts import COLLECT_GARBAGE, Collected
from verdex.errors import JobNotFound
from verdex.settings import Settings
from worker import COLLECTION, _schedule


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Jobs are not kept after their end."""
    return settings.model_copy(update={"retention_days": 0.0})


@pytest.fixture
def collect(client: Client, settings: Settings) -> Callable[[], Awaitable[Collected]]:
    async def run() -> Collected:
        workflow_id = f"collect-{settings.task_queue}"
        return Collected.model_validate(
            await client.execute_workflow(COLLECT_GARBAGE, id=workflow_id, task_queue=settings.task_queue)
        )

    return run


@pytest.fixture
def indexed(server) -> Callable[[Path], Awaitable[dict[str, str]]]:
    """All that a search sees of a repository in the project `default`: the text of each file."""

    async def read(repository: Path) -> dict[str, str]:
        async with server.database("cb_proj_default").connection() as connection:
            rows = await connection.fetch(
                """
                SELECT files.path, string_agg(chunks.content, '' ORDER BY chunks.ordinal) AS content
                FROM repositories JOIN files USING (manifest_id) JOIN chunks USING (blob_id)
                WHERE repositories.path = $1 GROUP BY files.path
                """,
                str(repository),
            )
        return {row["path"]: "".join(row["content"].split()) for row in rows}

    return read


def on_disk(repository: Path) -> dict[str, str]:
    """The text of each file, without white space: a chunk ends before a line end."""
    files = (path for path in repository.rglob("*") if path.is_file())
    return {str(path.relative_to(repository)): "".join(path.read_text().split()) for path in files}


async def test_after_a_collection_the_index_is_whole_and_old_jobs_are_gone(
    verdex, worker, repository, finished, collect, indexed
):
    old = (await finished((await verdex.index(repository)).job_id)).job_id
    (repository / "package" / "one.py").write_text("one = 1\n")
    new = (await finished((await verdex.index(repository)).job_id)).job_id
    assert await collect() == Collected(jobs_removed=1, manifests_removed=1, blobs_removed=1)
    assert await indexed(repository) == on_disk(repository)
    assert [job.job_id for job in await verdex.jobs()] == [new]
    assert [file.outcome for file in await verdex.files(new)] == ["indexed"] * 3
    for _ in range(2):
        with pytest.raises(JobNotFound, match="ended so long ago"):
            await verdex.job(old)  # Temporal still knows its workflow
    assert await collect() == Collected(jobs_removed=0, manifests_removed=0, blobs_removed=0)


async def test_a_collection_in_the_middle_of_a_job_takes_nothing_that_it_needs(
    verdex, run_worker, hold, gate, repository, finished, collect, indexed
):
    async with run_worker():
        await finished((await verdex.index(repository)).job_id)
        text = (repository / "README.md").read_text()
        (repository / "README.md").write_text("Other words.\n")
        await finished((await verdex.index(repository)).job_id)
        before = on_disk(repository)
        (repository / "README.md").write_text(text)
        (repository / "package" / "three.py").write_text("three = 3\n")
    async with run_worker(hold("index_shard")):
        started = await verdex.index(repository)
        await gate.reached()
        assert await collect() == Collected(jobs_removed=1, manifests_removed=1, blobs_removed=1)
        assert await indexed(repository) == before
        gate.open()
        job = await finished(started.job_id)
        assert (job.status, job.files_indexed, job.files_unchanged) == ("completed", 4, 2)
        assert await collect() == Collected(jobs_removed=1, manifests_removed=1, blobs_removed=1)
    assert await indexed(repository) == on_disk(repository)


async def test_a_project_that_cannot_be_collected_does_not_hold_up_the_others(
    verdex, server, worker, repository, finished, collect, caplog
):
    await verdex.projects.create("broken")
    await verdex.projects.create("gone")
    async with server.database("cb_proj_broken").connection() as connection:
        await connection.execute("DROP TABLE chunks, files CASCADE")
    async with server.registry.connection() as connection:
        await server.forget("cb_proj_gone")
        await connection.execute("DROP DATABASE cb_proj_gone")
    for _ in range(2):
        await finished((await verdex.index(repository)).job_id)
    assert await collect() == Collected(jobs_removed=1, manifests_removed=1, blobs_removed=0)
    broken = [record.project_id for record in caplog.records if record.message == "project cannot be collected"]
    assert set(broken) == {"broken", "gone"}


async def test_the_schedule_of_a_worker_collects_now_and_then(client, settings, worker):
    for _ in range(2):  # the second worker finds the schedule of the first
        await _schedule(client, settings, COLLECTION)
    handle = client.get_schedule_handle(f"{COLLECT_GARBAGE}:{settings.task_queue}")
    try:
        description = await handle.describe()
    finally:
        await handle.delete()
    (interval,) = description.schedule.spec.intervals
    assert interval.every == COLLECTION.every
    assert description.schedule.action.workflow == COLLECT_GARBAGE
