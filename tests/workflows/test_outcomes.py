"""What a job ends as: the row, the status of the workflow and the database of the project say the same."""

import os
import shutil
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from temporalio import activity
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from activities.indexing import IndexingActivities
from tests.workflows.conftest import fail_file
from verdex.client import Verdex
from verdex.contracts import INDEX_REPOSITORY, IndexResult, Job, JobIdentity, Manifest, Scan
from verdex.errors import DatabaseDiskFull, DatabaseUnavailable, JobNotFound


def publishing(result: IndexResult) -> type[IndexingActivities]:
    """Steps of which the last one only returns `result`."""

    class Publishing(IndexingActivities):
        @activity.defn
        async def publish(self, manifest: Manifest) -> IndexResult:
            return result

    return Publishing


def scanning(*errors: Exception) -> type[IndexingActivities]:
    """Steps of which the scan first raises each of `errors`."""
    left = list(errors)

    class Scanning(IndexingActivities):
        @activity.defn
        async def scan(self, job: JobIdentity) -> Scan:
            if left:
                raise left.pop(0)
            return await super().scan(job)

    return Scanning


async def error_of(client, job) -> ApplicationError:
    with pytest.raises(WorkflowFailureError) as caught:
        await client.get_workflow_handle(job.workflow_id, run_id=job.job_id).result()
    assert isinstance(caught.value.cause, ApplicationError)
    return caught.value.cause


async def newest_row(settings) -> asyncpg.Record:
    connection = await asyncpg.connect(settings.database_dsn)
    row = await connection.fetchrow(
        "SELECT status, error_message, files_indexed FROM indexing_jobs ORDER BY created_at DESC LIMIT 1;"
    )
    await connection.close()
    assert row is not None
    return row


async def test_worker_completes_successful_indexing(verdex, client, settings, worker, repository, finished, published):
    started = await verdex.index(repository)
    job = await finished(started.job_id)
    assert (job.status, job.result_status, job.phase, job.attempt) == ("completed", "success", "publish", 1)
    assert (job.error_message, job.error_type, job.errors, job.status_message) == (None, None, [], None)
    assert (job.files_total, job.files_done, job.files_indexed, job.files_added) == (3, 3, 3, 3)
    assert job.files_changed == job.files_deleted == job.files_unchanged == job.files_skipped == job.files_failed == 0
    assert job.chunks_created == job.chunks_total > 0
    assert job.created_at <= job.started_at <= job.completed_at
    assert tuple(await newest_row(settings)) == ("completed", None, 3)
    assert await published(repository) == 3
    result = await client.get_workflow_handle(job.workflow_id, result_type=IndexResult).result()
    not_shown = {"status", "errors", "generation", "manifest_digest", "duration_seconds"}
    row, shown = job.model_dump(), result.model_dump(exclude=not_shown)
    assert shown == {name: row[name] for name in shown}


async def test_worker_respects_failed_index_result(verdex, client, settings, run_worker, repository, finished):
    message = 'Database error: relation "chunks" does not exist'
    async with run_worker(publishing(IndexResult(status="failed", errors=[message, "and more"], files_indexed=7))):
        job = await finished((await verdex.index(repository)).job_id)
    assert (job.status, job.result_status, job.error_message) == ("failed", "failed", message)
    assert (job.error_type, job.errors, job.files_indexed) == ("IndexingFailed", [message, "and more"], 0)
    assert len(job.trace_id) == 32
    error = await error_of(client, job)
    assert (error.message, error.type, error.non_retryable) == (message, "IndexingFailed", True)
    assert tuple(await newest_row(settings)) == ("failed", message, 0)


@pytest.mark.parametrize("errors", [[], [" "]])
async def test_a_failed_result_without_errors_is_an_unknown_indexing_error(
    verdex, client, run_worker, repository, finished, errors
):
    async with run_worker(publishing(IndexResult(status="failed", errors=errors))):
        job = await finished((await verdex.index(repository)).job_id)
    assert (job.status, job.error_message) == ("failed", "Unknown indexing error")
    assert (await error_of(client, job)).message == "Unknown indexing error"


async def test_background_indexing_database_not_found(verdex, client, settings, worker, repository, finished):
    started = await verdex.index(repository, project_id="fake-proj-xyz-12345")
    job = await finished(started.job_id)
    assert (job.status, job.error_type, job.files_indexed) == ("failed", "ProjectNotFound", 0)
    assert 'database "cb_proj_fake_proj_xyz_12345" does not exist' in job.error_message
    assert job.phase == "preflight"
    assert (await error_of(client, job)).message == job.error_message
    assert tuple(await newest_row(settings)) == ("failed", job.error_message, 0)


async def test_a_project_whose_database_was_dropped_fails_the_job(verdex, server, worker, repository, finished):
    await verdex.projects.create("shop")
    await server.forget("cb_proj_shop")
    async with server.registry.connection() as connection:
        await connection.execute("DROP DATABASE cb_proj_shop WITH (FORCE)")
    job = await finished((await verdex.index(repository, project_id="shop")).job_id)
    assert (job.status, job.error_type, job.attempt) == ("failed", "DatabaseNotFound", 1)
    assert 'database "cb_proj_shop" does not exist' in job.error_message


async def test_a_permanent_error_fails_the_job_at_once(verdex, client, run_worker, repository, finished):
    full = DatabaseDiskFull("PostgreSQL: could not extend file: No space left on device")
    async with run_worker(scanning(full)):
        job = await finished((await verdex.index(repository)).job_id)
    assert (job.status, job.error_type, job.error_message) == ("failed", "DatabaseDiskFull", str(full))
    assert (await error_of(client, job)).message == str(full)


async def test_a_bug_is_tried_three_times_and_then_fails_the_job(verdex, client, run_worker, repository, finished):
    bug = KeyError("one"), KeyError("two"), KeyError("three"), KeyError("four")
    async with run_worker(scanning(*bug)):
        job = await finished((await verdex.index(repository)).job_id)
    assert (job.status, job.error_type, job.error_message) == ("failed", "KeyError", "KeyError: 'three'")
    assert (await error_of(client, job)).type == "KeyError"


async def test_a_bug_that_passes_is_no_failure(verdex, run_worker, repository, finished):
    async with run_worker(scanning(KeyError("once"))):
        job = await finished((await verdex.index(repository)).job_id)
    assert (job.status, job.files_indexed) == ("completed", 3)


async def test_a_password_in_an_error_is_not_shown(verdex, client, run_worker, repository, finished):
    async with run_worker(scanning(*[ValueError("postgresql://me:secret@host/db")] * 3)):
        job = await finished((await verdex.index(repository)).job_id)
    assert "postgresql://me:***@host/db" in job.error_message
    assert "secret" not in (await error_of(client, job)).message


async def test_what_can_pass_blocks_the_job_until_it_passes(
    verdex, run_worker, repository, finished, eventually, states
):
    away = DatabaseUnavailable("PostgreSQL is not available: starting up")

    async def is_blocked() -> bool:
        job: Job = await verdex.job(started.job_id)
        return job.status == "blocked"

    async with run_worker(scanning(away, away)):
        started = await verdex.index(repository)
        await eventually(is_blocked)
        job = await finished(started.job_id)
    assert (job.status, job.files_indexed, job.error_message, job.status_message) == ("completed", 3, None, None)
    blocked = [message for status, message in await states() if status == "blocked"]
    assert blocked[0] == "PostgreSQL is not available: starting up (attempt 2 in 0.5 s)"
    assert blocked[-1] == "PostgreSQL is not available: starting up (attempt 3 in 1 s)"


async def test_what_does_not_pass_within_the_limit_fails_the_job(
    client, server, settings, run_worker, repository, finished, states
):
    impatient = Verdex(client, server, settings.model_copy(update={"blocked_limit_seconds": 0.5}))
    away = DatabaseUnavailable("PostgreSQL is not available: too many clients already")
    async with run_worker(scanning(*[away] * 9)):
        job = await finished((await impatient.index(repository)).job_id)
    assert (job.status, job.error_type, job.error_message) == ("failed", "DatabaseUnavailable", str(away))
    assert "blocked" in [status for status, _ in await states()]


async def test_a_partial_result_is_completed_and_says_which_files_failed(
    verdex, run_worker, settings, repository, finished, published
):
    (repository / "unreadable.py").write_text("x = 1\n")

    class Failing(IndexingActivities):
        @activity.defn
        async def publish(self, manifest: Manifest) -> IndexResult:
            await fail_file(self._server, manifest, "unreadable.py", "cannot be read: Permission denied")
            return await super().publish(manifest)

    async with run_worker(Failing):
        job = await finished((await verdex.index(repository)).job_id)
    assert (job.status, job.result_status, job.error_type) == ("completed", "partial", "FilesFailed")
    assert (job.files_total, job.files_indexed, job.files_failed) == (4, 3, 1)
    assert job.error_message == "1 of 4 files could not be indexed: unreadable.py: cannot be read: Permission denied"
    assert [file.path for file in await verdex.files(job.job_id, "failed")] == ["unreadable.py"]
    assert len(await verdex.files(job.job_id)) == 4
    assert await published(repository) == 3


@pytest.mark.parametrize("case", ["missing", "file", "empty", "binary"])
async def test_a_path_without_anything_to_index_fails_the_job(verdex, worker, tmp_path, finished, case):
    root = tmp_path / case
    if case == "file":
        root.write_text("text")
    elif case != "missing":
        root.mkdir()
    if case == "binary":
        (root / "program.bin").write_bytes(bytes(range(256)))
    job = await finished((await verdex.index(root)).job_id)
    message, error_type = {
        "missing": (f"{root} does not exist", "RootNotFound"),
        "file": (f"{root} is not a directory", "RootNotADirectory"),
        "empty": (f"nothing to index: {root} holds no files, or git's rules ignore them all", "NothingToIndex"),
        "binary": (
            f"nothing to index: no file of {root} can be indexed (1 seen, 1 skipped, 0 failed)",
            "NothingToIndex",
        ),
    }[case]
    assert (job.status, job.error_message, job.error_type, job.files_indexed) == ("failed", message, error_type, 0)


async def test_a_directory_that_the_worker_cannot_read_fails_the_job(verdex, client, worker, tmp_path, settings):
    root = tmp_path / ("x" * 300)  # too long for the system: root could read any other
    if os.geteuid() != 0:
        root = tmp_path / "closed"
        root.mkdir(mode=0)
    handle = await client.start_workflow(
        INDEX_REPOSITORY,
        {"repo_path": str(root)},
        id=f"unreadable-{settings.task_queue}",
        task_queue=settings.task_queue,
    )
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    job = await verdex.job(handle.first_execution_run_id)
    assert (job.status, job.error_type) == ("failed", "RootUnreadable")
    assert job.error_message.startswith(f"{root} cannot be read: ")


async def test_a_repository_outside_the_allowed_roots_fails_the_job(
    verdex, run_worker, settings, repository, tmp_path, finished
):
    bounded = settings.model_copy(update={"allowed_roots": (tmp_path / "elsewhere",)})
    async with run_worker(settings=bounded):
        job = await finished((await verdex.index(repository)).job_id)
    assert (job.status, job.error_type) == ("failed", "OutsideAllowedRoots")
    assert job.error_message == f"{repository} is outside the allowed roots: {tmp_path / 'elsewhere'}"


PUBLISHED: dict[str, Any] = {"generation": 1, "manifest_digest": "d" * 64}
REFUSED = {
    "empty": IndexResult(status="success", **PUBLISHED),
    "files": IndexResult(status="success", files_total=3, files_indexed=2, files_added=2, **PUBLISHED),
    "kinds": IndexResult(status="success", files_total=3, files_indexed=3, files_added=2, **PUBLISHED),
    "unpublished": IndexResult(
        status="success", files_total=3, files_indexed=3, files_added=3, manifest_digest="d" * 64
    ),
    "errors": IndexResult(status="success", files_total=1, files_indexed=1, files_added=1, errors=["but"], **PUBLISHED),
    "partial": IndexResult(status="partial", files_total=1, files_indexed=1, files_added=1, **PUBLISHED),
    "undigested": IndexResult(status="success", files_total=3, files_indexed=3, files_added=3, generation=1),
}


async def test_a_result_that_the_registry_refuses_fails_the_job(verdex, client, run_worker, repository, finished):
    class Publishing(IndexingActivities):
        @activity.defn
        async def publish(self, manifest: Manifest) -> IndexResult:
            return REFUSED[Path(manifest.repo_path).name]

    repositories = [Path(shutil.copytree(repository, repository.with_name(name))) for name in REFUSED]
    async with run_worker(Publishing):
        started = [await verdex.index(path) for path in repositories]
        jobs = [await finished(job.job_id) for job in started]
    assert {(job.status, job.error_type, job.files_indexed) for job in jobs} == {("failed", "StateRefused", 0)}
    assert all('violates check constraint "completed_' in job.error_message for job in jobs)
    assert (await error_of(client, jobs[0])).type == "StateRefused"


MALFORMED: list[list[object]] = [
    [],
    [None],
    ["text"],
    [{"junk": 1}],
    [{"repo_path": "relative"}],
    [{"repo_path": "/x", "project_id": ""}],
]


async def test_a_malformed_input_fails_the_workflow(verdex, client, settings, worker):
    for number, arguments in enumerate(MALFORMED):
        handle = await client.start_workflow(
            INDEX_REPOSITORY, args=arguments, id=f"junk-{settings.task_queue}-{number}", task_queue=settings.task_queue
        )
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        assert (await handle.describe()).status == WorkflowExecutionStatus.FAILED
        with pytest.raises(JobNotFound):
            await verdex.job(handle.first_execution_run_id)
