"""What happened to a job, as the database writes it down by itself."""

from typing import Any
from uuid import uuid4

import pytest

from tests.storage.conftest import failure, job_record, success
from verdex.contracts import JobEvent
from verdex.storage.database import Database
from verdex.storage.migrations import migrate, migrations
from verdex.storage.registry import Registry


def told(events: list[JobEvent]) -> list[tuple[str | int | None, ...]]:
    return [(event.event, event.phase, event.attempt, event.message) for event in events]


async def record(registry: Registry, *states: dict[str, Any]) -> str:
    job_id = str(uuid4())
    for revision, values in enumerate(states, start=1):
        await registry.record(job_record(job_id=job_id, revision=revision, **values))
    return job_id


async def test_every_change_of_status_phase_and_attempt_is_an_event(registry: Registry):
    job_id = await record(
        registry,
        {"status": "running", "phase": "preflight"},
        {"status": "running", "phase": "scan"},
        {"status": "blocked", "phase": "scan", "status_message": "no server (attempt 2 in 1 s)"},
        {"status": "blocked", "phase": "scan", "attempt": 2, "status_message": "no server (attempt 3 in 2 s)"},
        {"status": "running", "phase": "publish"},
        {"status": "completed", "phase": "publish", "result": success()},
    )
    events = await registry.events(job_id)
    assert told(events) == [
        ("created", None, 1, None),
        ("running", "preflight", 1, None),
        ("running", "scan", 1, None),
        ("blocked", "scan", 1, "no server (attempt 2 in 1 s)"),
        ("blocked", "scan", 2, "no server (attempt 3 in 2 s)"),
        ("running", "publish", 1, None),
        ("completed", "publish", 1, None),
    ]
    assert [event.at for event in events] == sorted(event.at for event in events)


async def test_what_changes_nothing_and_what_comes_late_is_no_event(registry: Registry):
    job_id = await record(registry, {"status": "running", "phase": "scan", "files_total": 5})
    before = await registry.events(job_id)
    await registry.record_progress(job_id, 3)
    await registry.record(job_record(job_id=job_id, revision=1, status="running", phase="index"))
    await registry.record(job_record(job_id=job_id, revision=2, status="running", phase="scan", files_total=9))
    assert await registry.events(job_id) == before


async def test_a_failed_job_ends_with_its_error_and_nothing_follows(registry: Registry):
    job_id = await record(registry, {"status": "running"}, {"status": "failed", "result": failure("disk full")})
    await registry.record(job_record(job_id=job_id, revision=9, status="running"))
    assert told(await registry.events(job_id))[-1] == ("failed", None, 1, "disk full")


async def test_a_job_that_nobody_knows_has_no_events(registry: Registry):
    assert await registry.events(str(uuid4())) == []


JOB = """
INSERT INTO indexing_jobs (id, workflow_id, project_id, repo_path, force_reindex, trace_id, created_at, status)
VALUES ('00000000-0000-0000-0000-000000000001', 'w', 'p', '/r', false, repeat('a', 32), now(), 'pending');
"""


@pytest.mark.parametrize(
    ("forgery", "constraint"),
    [
        ("INSERT INTO job_events (job_id, at, event, attempt) SELECT id, now(), 'completed', 1 FROM indexing_jobs;",
         "events_are_append_only"),
        ("UPDATE job_events SET event = 'completed';", "events_are_append_only"),
        ("UPDATE job_events SET at = at - interval '1 day';", "events_are_append_only"),
        ("DELETE FROM job_events;", "events_are_append_only"),
        ("TRUNCATE job_events;", "jobs_are_not_truncated"),
    ],
)  # fmt: skip
def test_events_cannot_be_forged_from_psql(psql, forgery: str, constraint: str):
    ended = psql(JOB + forgery)
    assert ended.returncode != 0
    assert constraint in ended.stderr


def test_events_go_with_their_job(psql):
    ended = psql(
        JOB + "UPDATE indexing_jobs SET status = 'cancelled', completed_at = now();"
        "DELETE FROM indexing_jobs; SELECT count(*) FROM job_events;"
    )
    assert (ended.returncode, ended.stdout.strip()) == (0, "0")


async def test_jobs_from_before_there_were_events_have_what_is_known_of_them(empty_database: Database, monkeypatch):
    first = migrations("registry")[:1]
    with monkeypatch.context() as older:
        older.setattr("verdex.storage.migrations.migrations", lambda kind: first)
        await migrate(empty_database, "registry")
    registry = Registry(empty_database)
    job_id = await record(registry, {"status": "running"}, {"status": "failed", "result": failure("disk full")})
    await migrate(empty_database, "registry")
    assert [event.event for event in await registry.events(job_id)] == ["created", "failed"]
