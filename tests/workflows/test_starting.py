"""Starting jobs and reading them, also where a part of the stack does not answer."""

import asyncio
import shutil
from uuid import uuid4

import pytest
from temporalio import activity
from temporalio.client import WorkflowExecutionStatus

import worker
from activities.registry import RegistryActivities
from verdex import temporal
from verdex.client import JobHandle, Verdex
from verdex.contracts import JobRecord, index_workflow_id
from verdex.errors import (
    DatabaseUnavailable,
    JobNotFound,
    RepositoryError,
    SchemaMissing,
    SettingsError,
    TemporalUnavailable,
)
from verdex.local.temporal_server import HOST, _free_port
from verdex.storage.database import Server


@pytest.fixture
async def unreachable(server, settings):
    """The Python API where nobody listens at Temporal's address."""
    client = await temporal.connect(lazy=True, environment={"TEMPORAL_ADDRESS": f"{HOST}:{_free_port(0)}"})
    return Verdex(client, server, settings)


@pytest.fixture
async def without_database(client, settings, short_directory):
    """The Python API where nobody listens at PostgreSQL's address."""
    async with Server(f"postgresql://verdex@/verdex?host={short_directory}/nobody") as server:
        yield Verdex(client, server, settings)


async def test_a_second_start_returns_the_job_that_runs(verdex, run_worker, held_up, gate, repository, finished):
    async with run_worker(held_up):
        first = await verdex.index(repository)
        second = await verdex.index(repository / "package" / "..", force_reindex=True)
        gate.open()
        job = await finished(first.job_id)
    assert (first.already_running, second.already_running) == (False, True)
    assert (second.job_id, second.workflow_id) == (first.job_id, first.workflow_id)
    assert first.workflow_id == job.workflow_id == index_workflow_id("default", str(repository))
    assert (job.job_id, job.force_reindex) == (first.job_id, False)


async def test_a_job_can_be_started_before_any_worker_has_set_up_the_registry(
    client, registry_url, settings, repository
):
    async with Server(registry_url) as server:
        verdex = Verdex(client, server, settings)
        assert not (await verdex.index(repository)).already_running
        with pytest.raises(SchemaMissing, match="a worker sets up the registry when it starts; is one running"):
            await verdex.jobs()


async def test_fifty_starts_at_once_are_one_job(verdex, run_worker, held_up, gate, repository, finished):
    async with run_worker(held_up):
        started = await asyncio.gather(*(verdex.index(repository) for _ in range(50)))
        gate.open()
        await finished(started[0].job_id)
        assert len({job.job_id for job in started}) == 1
        assert sorted(job.already_running for job in started) == [False] + [True] * 49
        assert len(await verdex.jobs()) == 1


@pytest.fixture
def slow_to_answer(gate, monkeypatch):
    """Workers whose workflows close when the gate opens, although the rows of their jobs are completed."""

    class SlowToAnswer(RegistryActivities):
        @activity.defn
        async def update_registry(self, record: JobRecord) -> None:
            await super().update_registry(record)
            if record.state.status == "completed":
                await gate.passed()

    monkeypatch.setattr(worker, "RegistryActivities", SlowToAnswer)


async def test_who_follows_a_job_hears_of_its_end_when_temporal_knows_it_too(
    verdex, client, run_worker, gate, repository, slow_to_answer
):
    async def end(started: JobHandle) -> object:
        job = [job async for job in verdex.follow(started)][-1]
        return (await client.get_workflow_handle(job.workflow_id, run_id=job.job_id).describe()).status

    async with run_worker():
        started = await verdex.index(repository)
        ending = asyncio.create_task(end(started))
        await gate.reached()
        assert (await verdex.job(started.job_id)).status == "completed"
        assert await asyncio.wait({ending}, timeout=0.5) == (set(), {ending})
        gate.open()
        assert await ending == WorkflowExecutionStatus.COMPLETED


async def test_a_start_between_the_end_of_a_job_and_of_its_workflow_is_another_job(
    verdex, run_worker, gate, repository, finished, slow_to_answer
):
    async with run_worker():
        first = await verdex.index(repository)
        await gate.reached()
        assert (await verdex.job(first.job_id)).status == "completed"
        (repository / "later.py").write_text("later = True\n")
        starting = asyncio.create_task(verdex.index(repository))
        assert await asyncio.wait({starting}, timeout=0.5) == (set(), {starting})
        gate.open()
        second = await starting
        assert second.job_id != first.job_id
        assert (await finished(second.job_id)).files_added == 1


async def test_a_job_that_no_worker_has_taken_up_is_in_the_list(verdex, repository, eventually):
    started = await verdex.index(repository)

    async def listed():
        return [job.job_id for job in await verdex.jobs(status="pending", repo_path=repository)] == [started.job_id]

    await eventually(listed)
    assert await verdex.jobs(project_id="another") == []
    assert await verdex.jobs(status="running") == []
    await verdex.cancel(started.job_id.upper())


async def test_jobs_are_found_by_their_ids_as_soon_as_they_were_started(verdex, repository, tmp_path):
    async def start(number):
        started = await verdex.index(shutil.copytree(repository, tmp_path / f"copy {number}"))
        return (await verdex.job(started.job_id)).status

    assert set(await asyncio.gather(*map(start, range(50)))) == {"pending"}


async def test_a_job_that_was_just_started_is_followed_to_its_end_as_one_that_is_named(verdex, worker, repository):
    started = await verdex.index(repository)
    states = [job async for job in verdex.follow(started)]
    assert [job.status for job in states][-1] == "completed"
    assert [job.is_terminal for job in states].count(True) == 1
    assert [job async for job in verdex.follow(started.job_id)] == states[-1:]


async def test_a_start_after_the_end_is_another_job(verdex, worker, repository, finished):
    first = await finished((await verdex.index(repository)).job_id)
    started = await verdex.index(repository, force_reindex=True)
    second = await finished(started.job_id)
    assert (started.already_running, second.status, second.force_reindex) == (False, "completed", True)
    assert second.job_id != first.job_id
    assert [job.job_id for job in await verdex.jobs(repo_path=repository)] == [second.job_id, first.job_id]
    assert await verdex.jobs(status="failed") == await verdex.jobs(project_id="other") == []


async def test_repositories_are_indexed_side_by_side(verdex, worker, repository, tmp_path, finished):
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.py").write_text("a = 1\n")
    started = [await verdex.index(path) for path in (repository, other)]
    assert [(await finished(job.job_id)).files_indexed for job in started] == [3, 1]


async def test_a_job_without_a_worker_says_that_no_worker_is_polling(verdex, repository):
    started = await verdex.index(repository)
    job = await verdex.job(started.job_id)
    assert (job.status, job.status_message) == ("pending", "no worker is polling (start one: verdex worker)")
    assert (job.repo_path, job.project_id, job.started_at) == (str(repository), "default", None)


@pytest.mark.parametrize("path", ["/a\0b", "~nobody-has-this-name/x", "/" + "long/" * 500])
async def test_a_path_that_names_no_repository_is_refused(verdex, path):
    with pytest.raises(RepositoryError, match="cannot be indexed"):
        await verdex.index(path)


@pytest.mark.parametrize("job_id", ["", "17", "../x", "x' OR '1'='1", "01a203d0-e718-76e0-848d-65d26c08b0a8"])
async def test_a_job_that_nobody_knows_is_not_found(verdex, job_id):
    for asked in (verdex.job, verdex.cancel, verdex.files):
        with pytest.raises(JobNotFound, match="verdex jobs"):
            await asked(job_id)


async def test_the_run_of_another_workflow_is_no_job(verdex, client, settings):
    handle = await client.start_workflow("Other", id=f"other-{settings.task_queue}", task_queue=settings.task_queue)
    with pytest.raises(JobNotFound):
        await verdex.job(handle.first_execution_run_id)


async def test_without_temporal_starts_and_unknown_jobs_say_so(unreachable, repository):
    for asked in (unreachable.index(repository), unreachable.job(str(uuid4()))):
        with pytest.raises(TemporalUnavailable, match="Temporal"):
            await asked


async def test_without_temporal_a_job_that_has_ended_is_still_shown(verdex, worker, unreachable, repository, finished):
    job = await finished((await verdex.index(repository)).job_id)
    assert await unreachable.job(job.job_id) == job
    assert await unreachable.jobs() == [job]


async def test_without_temporal_a_job_that_runs_is_not_shown_as_running(
    verdex, run_worker, held_up, gate, unreachable, repository, finished
):
    async with run_worker(held_up):
        started = await verdex.index(repository)
        await gate.reached()
        for asked in (unreachable.job(started.job_id), unreachable.jobs()):
            with pytest.raises(TemporalUnavailable):
                await asked
        gate.open()
        await finished(started.job_id)


async def test_a_wrong_namespace_is_a_wrong_setting(client, server, settings, repository):
    address = client.service_client.config.target_host
    elsewhere = await temporal.connect(
        lazy=True, environment={"TEMPORAL_ADDRESS": address, "TEMPORAL_NAMESPACE": "nowhere"}
    )
    verdex = Verdex(elsewhere, server, settings)
    for asked in (verdex.index(repository), verdex.job(str(uuid4()))):
        with pytest.raises(SettingsError, match="TEMPORAL_NAMESPACE is wrong"):
            await asked


async def test_without_the_registry_nothing_is_made_up(verdex, without_database, worker, repository, finished):
    job = await finished((await verdex.index(repository)).job_id)
    for asked in (
        without_database.job(job.job_id),
        without_database.job(str(uuid4())),
        without_database.jobs(),
        without_database.files(job.job_id),
    ):
        with pytest.raises(DatabaseUnavailable, match="PostgreSQL is not available"):
            await asked


async def test_without_the_registry_the_workflow_tells_what_its_job_does(
    verdex, without_database, run_worker, held_up, gate, repository, finished
):
    async with run_worker(held_up):
        started = await verdex.index(repository)
        await gate.reached()
        job = await without_database.job(started.job_id)
        gate.open()
        await finished(started.job_id)
    assert (job.status, job.phase, job.repo_path) == ("blocked", "preflight", str(repository))
    assert job.status_message.startswith("PostgreSQL is not available: ")


async def test_connecting_without_a_database_says_which_setting_is_missing():
    with pytest.raises(SettingsError, match="VERDEX_DATABASE_URL is not set"):
        await Verdex.connect()


async def test_a_connection_from_the_environment_works(
    monkeypatch, client, settings, verdex, worker, repository, finished
):
    job = await finished((await verdex.index(repository)).job_id)
    monkeypatch.setenv("TEMPORAL_ADDRESS", client.service_client.config.target_host)
    monkeypatch.setenv("VERDEX_DATABASE_URL", settings.database_dsn)
    async with await Verdex.connect() as connected:
        assert await connected.job(job.job_id) == job
