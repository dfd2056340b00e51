"""The rows of jobs, as the workflow and the reconciler write them and as users read them."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.storage.conftest import CREATED, DIGEST, ENDED, STARTED, failure, job_record, success
from verdex.contracts import UNKNOWN_ERROR, IndexResult, Job, JobRecord, JobStatus
from verdex.errors import JobConflict, StateRefused
from verdex.storage.database import Server
from verdex.storage.registry import Registry

LAST_REVISION = 2**31 - 1


async def recorded(registry: Registry, *records: JobRecord) -> Job:
    """The row after the records, which are all of one job."""
    for record in records:
        await registry.record(record)
    job = await registry.job(records[0].identity.job_id)
    assert job is not None
    return job


async def test_a_record_becomes_a_row(registry: Registry):
    record = job_record("running", phase="scan", files_total=7, attempt=2)
    job = await recorded(registry, record)
    assert job == Job(
        job_id=record.identity.job_id, workflow_id="index:default:repository:0", project_id="default",
        repo_path="/srv/repository", status="running", phase="scan", files_total=7, attempt=2, trace_id="a" * 32,
        created_at=CREATED, started_at=STARTED, errors=[],
    )  # fmt: skip


@pytest.mark.parametrize(
    "values",
    [
        {"status": "pending"},
        {"status": "running", "phase": "index", "files_total": 4},
        {"status": "blocked", "status_message": "connection refused"},
        {"status": "completed", "result": success()},
        {"status": "failed", "result": failure("disk full")},
        {"status": "cancelled", "status_message": "cancelled on request"},
    ],
    ids=lambda values: values["status"],
)
async def test_a_record_can_be_told_twice_and_to_a_registry_that_knows_nothing_of_the_job(
    registry: Registry, values: dict[str, Any]
):
    record = job_record(**values)
    first = await recorded(registry, record)
    assert first.status == record.state.status
    assert await recorded(registry, record) == first
    assert len(await registry.jobs()) == 1


async def test_a_late_record_changes_nothing(registry: Registry):
    job_id = str(uuid4())
    newer = job_record("blocked", revision=3, job_id=job_id, status_message="no connection", files_total=5)
    now = await recorded(registry, newer)
    for late in (job_record("running", revision=2, job_id=job_id), job_record("pending", revision=1, job_id=job_id)):
        assert await recorded(registry, late) == now


async def test_a_late_record_does_not_open_a_job_again_that_ended(registry: Registry):
    job_id = str(uuid4())
    ended = await recorded(registry, job_record("completed", revision=4, job_id=job_id, result=success()))
    assert await recorded(registry, job_record("running", revision=9, job_id=job_id)) == ended
    blocked = job_record("blocked", revision=10, job_id=job_id, status_message="no connection")
    assert await recorded(registry, blocked) == ended


async def test_a_job_goes_on_after_it_was_blocked(registry: Registry):
    job_id = str(uuid4())
    job = await recorded(
        registry,
        job_record("running", revision=1, job_id=job_id),
        job_record("blocked", revision=2, job_id=job_id, status_message="no connection", attempt=3),
        job_record("running", revision=3, job_id=job_id),
    )
    assert (job.status, job.status_message, job.attempt) == ("running", None, 1)


BEFORE: list[dict[str, Any]] = [
    {"status": "pending"},
    {"status": "running"},
    {"status": "blocked", "status_message": "no connection"},
]
ENDS: list[dict[str, Any]] = [
    {"status": "completed", "result": success()},
    {"status": "failed", "result": failure("disk full")},
    {"status": "cancelled", "status_message": "cancelled on request"},
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end["status"])
@pytest.mark.parametrize("before", BEFORE, ids=lambda before: before["status"])
async def test_a_job_ends_from_every_state(registry: Registry, before: dict[str, Any], end: dict[str, Any]):
    job_id = str(uuid4())
    job = await recorded(
        registry, job_record(revision=1, job_id=job_id, **before), job_record(revision=2, job_id=job_id, **end)
    )
    assert (job.status, job.completed_at, job.duration_seconds) == (end["status"], ENDED, 60)


@pytest.mark.parametrize("second", ENDS, ids=lambda end: end["status"])
@pytest.mark.parametrize("first", ENDS, ids=lambda end: end["status"])
async def test_a_job_has_one_end(registry: Registry, first: dict[str, Any], second: dict[str, Any]):
    job_id = str(uuid4())
    ended = await recorded(registry, job_record(revision=1, job_id=job_id, **first))
    again = job_record(revision=LAST_REVISION, job_id=job_id, **second)
    if first == second:
        assert await recorded(registry, again) == ended
    else:
        with pytest.raises(JobConflict, match=f"{job_id} is {first['status']} already .* {second['status']}"):
            await registry.record(again)
        assert await registry.job(job_id) == ended


async def test_a_completed_job_says_what_was_read_back(registry: Registry):
    result = IndexResult(
        status="partial", generation=3, files_total=9, files_indexed=6, files_added=1, files_changed=2, files_deleted=4,
        files_unchanged=3, files_skipped=2, files_failed=1, chunks_created=11, chunks_total=40,
        errors=["1 of 9 files", "a: gone"], error_type="FilesFailed", manifest_digest=DIGEST,
    )  # fmt: skip
    job_id = str(uuid4())
    stale = job_record("running", job_id=job_id, phase="scan", files_total=1000)  # the index holds nine
    job = await recorded(
        registry, stale, job_record("completed", revision=2, job_id=job_id, phase="publish", result=result)
    )
    said = result.model_dump(exclude={"status", "generation", "manifest_digest", "duration_seconds", "errors"})
    assert job.model_dump(include=set(said)) == said
    assert (job.result_status, job.error_message, job.files_done) == ("partial", "1 of 9 files", 9)
    assert (job.errors, job.phase) == (["1 of 9 files", "a: gone"], "publish")


async def test_a_failed_job_says_why_and_what_it_saw_but_claims_no_index(registry: Registry):
    result = failure("root cause", "another", files_total=9, files_indexed=6, files_failed=3, chunks_total=4)
    job = await recorded(registry, job_record("running", files_total=9)) and await recorded(
        registry, job_record("failed", result=result, phase="publish")
    )
    assert (job.result_status, job.error_message, job.error_type) == ("failed", "root cause", "Trouble")
    assert (job.errors, job.phase) == (["root cause", "another"], "publish")
    assert (job.files_total, job.files_failed, job.files_indexed, job.chunks_total) == (9, 3, 0, 0)


async def test_a_failure_without_errors_is_an_unknown_one(registry: Registry):
    assert (await recorded(registry, job_record("failed", result=failure()))).error_message == UNKNOWN_ERROR


async def test_an_end_that_knows_no_phase_keeps_the_last(registry: Registry):
    job_id = str(uuid4())
    job = await recorded(
        registry,
        job_record("running", job_id=job_id, phase="scan"),
        job_record("failed", revision=2, job_id=job_id, result=failure("terminated")),
    )
    assert job.phase == "scan"


async def test_a_clock_that_is_behind_does_not_lose_the_end(registry: Registry):
    job = await recorded(
        registry, job_record("failed", result=failure("oh"), completed_at=STARTED - timedelta(hours=1))
    )
    assert (job.completed_at, job.duration_seconds) == (STARTED, 0)


@pytest.mark.parametrize(
    "record",
    [
        job_record("completed"),
        job_record("completed", result=failure("disk full")),
        job_record("completed", result=success(0)),
        job_record("completed", result=success(generation=None)),
        job_record("completed", result=success(manifest_digest=None)),
        job_record("completed", result=success(manifest_digest="d" * 63)),
        job_record("completed", result=success(files_added=1)),
        job_record("completed", result=success(), completed_at=None),
        job_record("failed"),
        job_record("failed", result=success()),
        job_record("failed", result=failure("disk full").model_copy(update={"error_type": None})),
        job_record("failed", result=failure("disk full"), completed_at=None),
        job_record("blocked"),
        job_record("blocked", status_message=" \n"),
    ],
)
async def test_a_record_that_lies_is_refused_and_leaves_no_trace(registry: Registry, record: JobRecord):
    with pytest.raises(StateRefused):
        await registry.record(record)
    assert await registry.job(record.identity.job_id) is None


async def test_progress_only_grows_and_never_beyond_the_total(registry: Registry):
    job_id = (await recorded(registry, record := job_record("running", files_total=10))).job_id
    for told, shown in [(4, 4), (3, 4), (0, 4), (10, 10), (99, 10), (5, 10)]:
        await registry.record_progress(job_id, told)
        assert (await recorded(registry, record)).files_done == shown


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end["status"])
async def test_progress_after_the_end_changes_nothing(registry: Registry, end: dict[str, Any]):
    job_id = str(uuid4())
    ended = await recorded(
        registry, job_record("running", job_id=job_id, files_total=3), job_record(revision=2, job_id=job_id, **end)
    )
    await registry.record_progress(job_id, 2)
    assert await registry.job(job_id) == ended


async def test_progress_of_an_unknown_job_is_nothing(registry: Registry):
    await registry.record_progress(str(uuid4()), 3)
    assert await registry.jobs() == []


async def _five_jobs(registry: Registry) -> list[JobRecord]:
    """From the oldest to the newest."""
    values: list[tuple[JobStatus, dict[str, Any]]] = [
        ("completed", {"result": success(4), "project_id": "default", "repo_path": "/a"}),
        ("running", {"project_id": "other", "repo_path": "/a"}),
        ("blocked", {"project_id": "other", "repo_path": "/b", "status_message": "no connection"}),
        ("pending", {"project_id": "default", "repo_path": "/b"}),
        ("failed", {"project_id": "default", "repo_path": "/b", "result": failure("disk full")}),
    ]
    records = [
        job_record(status, created_at=CREATED + timedelta(seconds=number), **value)
        for number, (status, value) in enumerate(values)
    ]
    for record in [*records[3:], *records[:3]]:  # the order of writing is not the order of time
        await registry.record(record)
    return records


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, [4, 3, 2, 1, 0]),
        ({"limit": 2}, [4, 3]),
        ({"project_id": "other"}, [2, 1]),
        ({"status": "running"}, [1]),
        ({"repo_path": "/b"}, [4, 3, 2]),
        ({"repo_path": "/b", "project_id": "default"}, [4, 3]),
        ({"repo_path": "/b", "project_id": "default", "status": "failed", "limit": 9}, [4]),
        ({"repo_path": "/b' OR true --"}, []),
    ],
    ids=str,
)
async def test_jobs_are_listed_from_the_newest(registry: Registry, wanted: dict[str, Any], found: list[int]):
    records = await _five_jobs(registry)
    assert [job.job_id for job in await registry.jobs(**wanted)] == [records[one].identity.job_id for one in found]


async def test_jobs_that_have_not_ended_are_listed_from_the_oldest(registry: Registry):
    records = await _five_jobs(registry)
    assert [job.job_id for job in await registry.unfinished()] == [one.identity.job_id for one in records[1:4]]


async def test_the_query_of_the_public_contract_works_as_it_stands(registry: Registry, server: Server):
    query = "SELECT status, error_message, files_indexed FROM indexing_jobs ORDER BY created_at DESC LIMIT 1;"
    await _five_jobs(registry)
    async with server.registry.connection() as connection:
        assert tuple(await connection.fetchrow(query) or ()) == ("failed", "disk full", 0)


async def test_an_unknown_job_has_no_row(registry: Registry):
    assert await registry.job(str(uuid4())) is None
