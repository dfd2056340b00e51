"""What a worker logs: one line for the end of each job, which says what the row says; and whose line each is.

The lines are read as the worker writes them to its stream.
"""

import asyncio
import json
import logging
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

import worker as worker_module
from activities.ends import tell_ends
from activities.indexing import IndexingActivities
from activities.registry import RegistryActivities
from tests.storage.conftest import failure, job_record, success
from tests.workflows.conftest import Line, Log, RunWorker, fail_file
from verdex.client import JobHandle, Verdex
from verdex.contracts import IndexResult, Job, JobIdentity, JobRecord, Manifest, Shard
from verdex.settings import Settings
from verdex.storage.database import Database, Server
from verdex.storage.registry import Registry

LEVELS = {"completed": "INFO", "failed": "ERROR", "cancelled": "INFO"}


def fate(repo_path: str) -> str:
    return Path(repo_path).name.partition("-")[0]


class Odd(IndexingActivities):
    """Steps that fare as the name of the repository says."""

    @activity.defn
    async def scan(self, job: JobIdentity) -> Any:
        if fate(job.repo_path) == "bug":
            raise KeyError("a bug\nwith postgresql://ann:s3cret@db/x in it")
        return await super().scan(job)

    @activity.defn
    async def index_shard(self, shard: Shard) -> None:
        if fate(shard.manifest.repo_path) in {"cancelled", "terminated"}:
            while True:
                await asyncio.sleep(0.1)
        await super().index_shard(shard)

    @activity.defn
    async def publish(self, manifest: Manifest) -> IndexResult:
        if fate(manifest.repo_path) == "unpublished":
            return IndexResult(status="failed", errors=["no\nroom", "another"], error_type="Full")
        if fate(manifest.repo_path) == "partial":
            await fail_file(self._server, manifest, "README.md", "no right")
        if fate(manifest.repo_path) == "refused":
            return IndexResult(status="success", generation=1, manifest_digest="d" * 64)
        return await super().publish(manifest)


class LosesReplies(RegistryActivities):
    """Breaks off after the commit of an end, once with and once without having logged it."""

    lost: Counter[str]

    @activity.defn
    async def update_registry(self, record: JobRecord) -> None:
        path, job_id = record.identity.repo_path, record.identity.job_id
        if record.completed_at is None or self.lost[job_id]:
            await super().update_registry(record)
            return
        self.lost[job_id] += 1
        if path.endswith("-unlogged"):
            await self._registry.record(record)
            raise ConnectionError("the reply to the commit was lost")
        await super().update_registry(record)
        if path.endswith("-logged"):
            raise ConnectionError("the answer of the activity was lost")


@pytest.fixture
def odd(run_worker: RunWorker, monkeypatch: pytest.MonkeyPatch) -> RunWorker:
    """Run a worker with odd steps, whose registry loses replies."""
    monkeypatch.setattr(worker_module, "RegistryActivities", LosesReplies)
    monkeypatch.setattr(LosesReplies, "lost", Counter(), raising=False)
    return lambda: run_worker(Odd)


KINDS = (
    "completed", "partial", "bug", "unpublished", "refused", "cancelled", "terminated", "terminated-before",
    "completed-logged", "completed-unlogged", "unpublished-logged", "bug-unlogged", "missing",
)  # fmt: skip


@pytest.fixture
def repositories(repository: Path) -> dict[str, Path]:
    """One for each kind of end."""
    paths = {kind: repository.with_name(kind) for kind in KINDS}
    for kind, path in paths.items():
        if kind != "missing":
            shutil.copytree(repository, path)
    return paths


async def rows_of(server: Server) -> dict[str, Job]:
    async with server.registry.connection() as connection:
        ids = [str(row["id"]) for row in await connection.fetch("SELECT id FROM indexing_jobs")]
    rows = [await Registry(server.registry).job(job_id) for job_id in ids]
    return {row.job_id: row for row in rows if row}


def assert_lines_and_rows_agree(lines: list[Line], rows: dict[str, Job]) -> None:
    assert Counter(line["job_id"] for line in lines) == Counter(list(rows))
    for line in lines:
        row = rows[line["job_id"]]
        partial = row.result_status == "partial"
        assert line["level"] == ("WARNING" if partial else LEVELS[row.status])
        assert line["message"].startswith(f"job {row.status}")
        said = json.loads(row.model_dump_json(exclude={"attempt"}))  # a line has that of its activity
        told = {name: value for name, value in said.items() if name in line}
        assert told == {name: line[name] for name in told}
        assert told.keys() > {"job_id", "project_id", "repo_path", "workflow_id", "trace_id", "error_type"}
        assert told.keys() > {"files_total", "files_indexed", "files_failed", "duration_seconds"}
        assert (line["error"], line["errors_count"]) == (row.error_message, len(row.errors))


@pytest.fixture
def reached(verdex: Verdex, eventually) -> Callable[[JobHandle, str], Awaitable[None]]:
    """Wait until a job is in a phase."""

    async def wait(started: JobHandle, phase: str) -> None:
        async def is_there() -> bool:
            return (await verdex.job(started.job_id)).phase == phase

        await eventually(is_there)

    return wait


@pytest.fixture
def terminate(client: Client) -> Callable[[JobHandle], Awaitable[None]]:
    reason = "see postgresql://ann:s3cret@db/x"
    return lambda started: client.get_workflow_handle(started.workflow_id, run_id=started.job_id).terminate(
        reason=reason
    )


async def test_each_job_has_one_line_about_its_end_that_says_what_its_row_says(
    verdex: Verdex, server: Server, odd, log: Log, repositories, reconcile, reached, terminate
):
    started = {"terminated-before": await verdex.index(repositories.pop("terminated-before"))}
    await terminate(started["terminated-before"])
    await verdex.job(started["terminated-before"].job_id)  # which ends it
    assert log.ends() == []  # that is for a worker to tell
    async with odd():
        started |= {kind: await verdex.index(path) for kind, path in repositories.items()}
        for kind in ("cancelled", "terminated"):
            await reached(started[kind], "index")
        await terminate(started["terminated"])
        await verdex.cancel(started["cancelled"].job_id)
        for one in started.values():
            assert [job async for job in verdex.follow(one.job_id)][-1].is_terminal
        await reconcile()
        await reconcile()  # which finds nothing to tell
    rows = await rows_of(server)
    assert rows.keys() == {one.job_id for one in started.values()}
    assert_these_are_the_kinds_of_ends(started, rows)
    assert_lines_and_rows_agree(log.ends(), rows)
    failed = {row.job_id: (row.error_message, row.error_type) for row in rows.values() if row.status == "failed"}
    errors = [line for line in log.lines() if line["level"] == "ERROR"]
    assert len(errors) == len(failed) == 8
    assert {line["job_id"]: (line["error"], line["error_type"]) for line in errors} == failed
    (partial,) = [line for line in log.ends() if line["level"] == "WARNING"]
    assert partial["message"] == "job completed, but 1 of 3 files failed"
    assert partial["error"] == "1 of 3 files could not be indexed: README.md: no right"
    assert "s3cret" not in log.stream.getvalue()


def assert_these_are_the_kinds_of_ends(started: dict[str, JobHandle], rows: dict[str, Job]) -> None:
    found = {kind: rows[one.job_id] for kind, one in started.items()}
    assert {kind: (row.status, row.error_type) for kind, row in found.items()} == {
        "completed": ("completed", None),
        "completed-logged": ("completed", None),
        "completed-unlogged": ("completed", None),
        "partial": ("completed", "FilesFailed"),
        "bug": ("failed", "KeyError"),
        "bug-unlogged": ("failed", "KeyError"),
        "unpublished": ("failed", "Full"),
        "unpublished-logged": ("failed", "Full"),
        "refused": ("failed", "StateRefused"),
        "missing": ("failed", "RootNotFound"),
        "cancelled": ("cancelled", None),
        "terminated": ("failed", "WorkflowTerminated"),
        "terminated-before": ("failed", "WorkflowTerminated"),
    }
    for kind in ("bug", "terminated", "terminated-before"):
        assert "postgresql://ann:***@db/x" in (found[kind].error_message or "")


async def test_what_a_person_ends_at_psql_is_told_by_the_next_reconciliation(server: Server, worker, log, reconcile):
    record = job_record("running")
    await Registry(server.registry).record(record)
    async with server.registry.connection() as connection:
        await connection.execute(
            "UPDATE indexing_jobs SET status = 'failed', result_status = 'failed', completed_at = now(), "
            "error_message = 'by hand', error_type = 'Person'"
        )
    await reconcile()
    (line,) = log.ends()
    assert (line["job_id"], line["level"], line["error"]) == (record.identity.job_id, "ERROR", "by hand")
    assert (line["trace_id"], line["run_id"]) == (record.identity.trace_id, record.identity.job_id)


async def ended(registry: Registry, *ends: dict[str, Any]) -> list[str]:
    records = [job_record(**end) for end in ends]
    for record in records:
        await registry.record(record)
    return [record.identity.job_id for record in records]


async def test_many_workers_tell_each_end_once(server: Server, log: Log):
    registry = Registry(server.registry)
    job_ids = await ended(registry, *[{"status": "failed", "result": failure(f"disk {n}")} for n in range(40)])
    one_by_one = [tell_ends(registry, job_id) for job_id in job_ids]
    await asyncio.gather(*one_by_one, *[tell_ends(registry) for _ in range(5)])
    assert Counter(line["job_id"] for line in log.ends()) == Counter(job_ids)


async def test_an_end_is_told_again_if_it_is_not_sure_that_it_was_told(server: Server, log: Log):
    registry = Registry(server.registry)
    (job_id,) = await ended(registry, {"status": "completed", "result": success()})
    with suppress(OSError):
        async with registry.untold_ends() as found:
            assert [job.job_id for job in found] == [job_id]
            raise OSError("gone")
    for _ in range(2):
        await tell_ends(registry)
    assert [line["job_id"] for line in log.ends()] == [job_id]


async def test_a_registry_that_is_away_is_a_warning_and_stops_no_job(log: Log):
    await tell_ends(Registry(Database("postgresql://ann:s3cret@127.0.0.1:1/x")))
    (line,) = log.lines()
    assert (line["level"], line["message"]) == ("WARNING", "ends of jobs are logged later")
    assert "127.0.0.1" in line["error"]


async def test_a_job_that_was_removed_is_not_told(server: Server, log: Log):
    registry = Registry(server.registry)
    (job_id,) = await ended(registry, {"status": "cancelled"})
    async with server.registry.connection() as connection:
        await connection.execute("DELETE FROM indexing_jobs WHERE id = $1", UUID(job_id))
    await tell_ends(registry)
    assert log.ends() == []


class Talking(IndexingActivities):
    """A step that logs in every way that there is."""

    @activity.defn
    async def preflight(self, job: JobIdentity) -> None:
        logging.getLogger("library").warning("from a library")
        await asyncio.to_thread(logging.getLogger("library").warning, "from a thread")
        await asyncio.create_task(_log_later())
        activity.logger.warning("from Temporal's logger")
        logging.getLogger("asyncpg").warning("from asyncpg")
        if activity.info().attempt == 1:
            await super().preflight(job)


async def _log_later() -> None:
    logging.getLogger("library").warning("from a task")


async def test_the_ids_of_its_job_are_on_every_line_that_a_step_logs(verdex, run_worker, repository, finished, log):
    async with run_worker(Talking):
        job = await finished((await verdex.index(repository)).job_id)
    lines = {line["message"]: line for line in log.lines() if line["message"].startswith("from ")}
    assert set(lines) == {f"from {who}" for who in ("a library", "a thread", "a task", "Temporal's logger", "asyncpg")}
    ids = {
        "job_id": job.job_id,
        "project_id": "default",
        "workflow_id": job.workflow_id,
        "run_id": job.job_id,
        "activity": "preflight",
        "attempt": 1,
        "trace_id": job.trace_id,
    }
    for line in lines.values():
        assert {name: line.get(name) for name in ids} == ids
        assert len(line["span_id"]) == 16
        assert not {"activity_type", "workflow_run_id", "temporal_activity"} & line.keys()


@workflow.defn
class TalkingWorkflow:
    """Logs as workflow code does, and as a library in it."""

    @workflow.run
    async def run(self) -> None:
        workflow.logger.warning("from the workflow")
        logging.getLogger("library").warning("from a library")


async def test_the_ids_of_its_job_are_on_every_line_that_a_workflow_logs(client: Client, settings: Settings, log: Log):
    async with Worker(
        client, task_queue=settings.task_queue, workflows=[TalkingWorkflow], workflow_runner=UnsandboxedWorkflowRunner()
    ):
        for kind in ("index:default:repository:1", "other"):
            handle = await client.start_workflow(
                TalkingWorkflow.run, id=f"{kind}-{settings.task_queue}", task_queue=settings.task_queue
            )
            await handle.result()
            lines = [line for line in log.lines() if line["workflow_id"] == handle.id]
            assert len(lines) == 2
            for line in lines:
                assert line["run_id"] == handle.first_execution_run_id
                is_job = kind != "other"
                assert line.get("job_id") == (handle.first_execution_run_id if is_job else None)
                assert line.get("project_id") == ("default" if is_job else None)


async def test_a_line_of_the_sdk_that_names_a_run_has_its_id(log: Log):
    run_id = "0b4a4b4e-2e1f-4d52-9f3f-0a8a5d1f7c11"
    logging.getLogger("temporalio.worker._workflow").warning("Failed completing workflow with run ID %s", run_id)
    assert log.lines()[0]["run_id"] == run_id
