"""No client can store a lie about a job: not even a person at psql."""

import subprocess
from collections.abc import Callable
from typing import Final, get_args

import pytest

from verdex.contracts import TERMINAL, JobStatus

Psql = Callable[[str], subprocess.CompletedProcess[str]]

BEGIN: Final = """
INSERT INTO indexing_jobs (id, workflow_id, project_id, repo_path, force_reindex, trace_id, created_at, status)
VALUES (gen_random_uuid(), 'index:default:r:0', 'default', '/r', false, repeat('a', 32), now(), 'pending');
"""
SUCCESS: Final = {
    "status": "'completed'", "result_status": "'success'", "generation": "1", "completed_at": "now()",
    "files_total": "5", "files_done": "5", "files_indexed": "4", "files_skipped": "1",
    "files_added": "1", "files_changed": "1", "files_unchanged": "2", "manifest_digest": "repeat('d', 64)",
}  # fmt: skip
PARTIAL: Final = SUCCESS | {
    "result_status": "'partial'", "files_skipped": "0", "files_failed": "1",
    "error_message": "'1 of 5 files'", "error_type": "'FilesFailed'", "errors": "'{1 of 5 files}'",
}  # fmt: skip
FAILED: Final = {
    "status": "'failed'", "result_status": "'failed'", "completed_at": "now()",
    "error_message": "'no such directory'", "error_type": "'RootNotFound'", "errors": "'{no such directory}'",
}  # fmt: skip
CANCELLED: Final = {"status": "'cancelled'", "completed_at": "now()"}
BLOCKED: Final = {"status": "'blocked'", "status_message": "'connection refused'"}
RUNNING: Final = {"status": "'running'", "started_at": "now()"}
PENDING: Final = {"status": "'pending'"}
BLANK: Final = r"E' \t\r\n'"


def update(values: dict[str, str], **changes: str) -> str:
    return f"UPDATE indexing_jobs SET {', '.join(f'{name} = {value}' for name, value in (values | changes).items())};"


def insert(values: dict[str, str], **changes: str) -> str:
    """A copy of the row that is there, as a row of its own."""
    given = {"id": "gen_random_uuid()"} | values | changes
    kept = ["workflow_id", "project_id", "repo_path", "force_reindex", "trace_id", "created_at", "started_at"]
    columns = [*(name for name in kept if name not in given), *given]
    chosen = ", ".join(given.get(name, name) for name in columns)
    return f"INSERT INTO indexing_jobs ({', '.join(columns)}) SELECT {chosen} FROM indexing_jobs;"


RUN: Final = BEGIN + update(RUNNING)
TRUTHS: Final = {
    "pending": BEGIN + update(PENDING),
    "running": RUN,
    "blocked": RUN + update(BLOCKED),
    "completed": RUN + update(SUCCESS),
    "partial": RUN + update(PARTIAL),
    "failed": RUN + update(FAILED),
    "failed at once": BEGIN + update(FAILED),
    "cancelled": RUN + update(CANCELLED),
    "cancelled at once": BEGIN + update(CANCELLED),
    "ended and deleted": RUN + update(FAILED) + "DELETE FROM indexing_jobs;",
}

LIES: Final = {
    # How a job begins.
    "begins as running": (RUN + insert(RUNNING), "job_begins_pending"),
    "begins as blocked": (RUN + insert(BLOCKED), "job_begins_pending"),
    "begins as completed": (RUN + insert(SUCCESS), "job_begins_pending"),
    "begins as failed": (RUN + insert(FAILED), "job_begins_pending"),
    "begins as cancelled": (RUN + insert(CANCELLED), "job_begins_pending"),
    "begins with an end": (RUN + insert(PENDING, completed_at="now()"), "terminal_has_an_end"),
    "begins with a digest": (
        RUN + insert(PENDING, manifest_digest="repeat('d', 64)"), "completed_has_a_digest"),
    "begins with files in the index": (RUN + insert(PENDING, files_indexed="7"), "completed_holds_files"),
    "has a status of its own": (RUN + update(RUNNING, status="'done'"), "transition_is_allowed"),
    # What completed says.
    "completed with an empty index": (
        RUN + update(SUCCESS, files_indexed="0", files_added="0", files_changed="0", files_unchanged="0",
                     files_skipped="5"), "completed_holds_files"),
    "completed with nothing at all": (
        RUN + update({"status": "'completed'", "result_status": "'success'", "generation": "1",
                      "completed_at": "now()", "manifest_digest": "repeat('d', 64)"}), "completed_holds_files"),
    "completed unpublished": (RUN + update(SUCCESS, generation="NULL"), "completed_is_published"),
    "completed without a digest": (RUN + update(SUCCESS, manifest_digest="NULL"), "completed_has_a_digest"),
    "completed as generation 0": (RUN + update(SUCCESS, generation="0"), "indexing_jobs_generation_check"),
    "completed with a file too many": (RUN + update(SUCCESS, files_total="6", files_done="6"), "completed_adds_up"),
    "completed with a file too few": (RUN + update(SUCCESS, files_skipped="0"), "completed_adds_up"),
    "completed with more added than indexed": (RUN + update(SUCCESS, files_added="2"), "completed_adds_up"),
    "completed half way": (RUN + update(SUCCESS, files_done="4"), "completed_adds_up"),
    "completed without a result": (RUN + update(SUCCESS, result_status="NULL"), "completed_is_success_or_partial"),
    "completed as failed": (RUN + update(SUCCESS, result_status="'failed'"), "completed_is_success_or_partial"),
    "completed never started": (RUN + update(SUCCESS, started_at="NULL"), "running_has_a_start"),
    "success with an error": (RUN + update(SUCCESS, error_message="'oh'"), "completed_is_success_or_partial"),
    "success with an error type": (RUN + update(SUCCESS, error_type="'Oh'"), "completed_is_success_or_partial"),
    "success with errors": (RUN + update(SUCCESS, errors="'{oh}'"), "completed_is_success_or_partial"),
    "success with failed files": (RUN + update(PARTIAL, result_status="'success'", error_message="NULL",
        error_type="NULL", errors="'{}'"), "completed_is_success_or_partial"),
    "partial without failed files": (
        RUN + update(PARTIAL, files_failed="0", files_skipped="1"), "completed_is_success_or_partial"),
    "partial without message": (RUN + update(PARTIAL, error_message="NULL"), "completed_is_success_or_partial"),
    "partial with a blank message": (RUN + update(PARTIAL, error_message=BLANK), "completed_is_success_or_partial"),
    "partial without error type": (RUN + update(PARTIAL, error_type="NULL"), "completed_is_success_or_partial"),
    "partial with a blank error type": (RUN + update(PARTIAL, error_type=BLANK), "completed_is_success_or_partial"),
    "partial without errors": (RUN + update(PARTIAL, errors="'{}'"), "completed_is_success_or_partial"),
    "partial with a NULL for an error": (RUN + update(PARTIAL, errors="'{NULL}'"), "errors_are_texts"),
    # What failed, cancelled and blocked say.
    "failed without message": (RUN + update(FAILED, error_message="NULL"), "failed_says_why"),
    "failed with an empty message": (RUN + update(FAILED, error_message="''"), "failed_says_why"),
    "failed with a blank message": (RUN + update(FAILED, error_message=BLANK), "failed_says_why"),
    "failed without error type": (RUN + update(FAILED, error_type="NULL"), "failed_says_why"),
    "failed with a blank error type": (RUN + update(FAILED, error_type=BLANK), "failed_says_why"),
    "failed without a result": (RUN + update(FAILED, result_status="NULL"), "failed_says_why"),
    "failed with success": (RUN + update(FAILED, result_status="'success'"), "failed_says_why"),
    "failed with files in the index": (RUN + update(FAILED, files_indexed="3"), "completed_holds_files"),
    "failed but published": (RUN + update(FAILED, generation="1"), "completed_is_published"),
    "failed with a digest": (RUN + update(FAILED, manifest_digest="repeat('d', 64)"), "completed_has_a_digest"),
    "failed with files added": (RUN + update(FAILED, files_added="3"), "only_completed_has_an_index"),
    "failed with chunks": (RUN + update(FAILED, chunks_total="3"), "only_completed_has_an_index"),
    "failed with more failed than seen": (RUN + update(FAILED, files_failed="3"), "outcomes_fit_the_total"),
    "cancelled with a result": (RUN + update(CANCELLED, result_status="'success'"), "only_an_end_has_a_result"),
    "cancelled but published": (RUN + update(CANCELLED, generation="1"), "completed_is_published"),
    "cancelled with a digest": (
        RUN + update(CANCELLED, manifest_digest="repeat('d', 64)"), "completed_has_a_digest"),
    "cancelled with files in the index": (RUN + update(CANCELLED, files_indexed="3"), "completed_holds_files"),
    "blocked without reason": (RUN + update(BLOCKED, status_message="NULL"), "blocked_says_why"),
    "blocked with an empty reason": (RUN + update(BLOCKED, status_message="''"), "blocked_says_why"),
    "blocked with a blank reason": (RUN + update(BLOCKED, status_message=BLANK), "blocked_says_why"),
    # What a job that goes on must not say.
    "running with an end": (RUN + update(RUNNING, completed_at="now()"), "terminal_has_an_end"),
    "blocked with an end": (RUN + update(BLOCKED, completed_at="now()"), "terminal_has_an_end"),
    "running without a start": (BEGIN + update(RUNNING, started_at="NULL"), "running_has_a_start"),
    "running with a result": (RUN + update(RUNNING, result_status="'success'"), "only_an_end_has_a_result"),
    "running with an error": (RUN + update(RUNNING, error_message="'oh'"), "only_a_result_has_an_error"),
    "running with errors": (RUN + update(RUNNING, errors="'{oh}'"), "only_a_result_has_an_error"),
    "running but published": (RUN + update(RUNNING, generation="1"), "completed_is_published"),
    "running with a digest": (RUN + update(RUNNING, manifest_digest="repeat('d', 64)"), "completed_has_a_digest"),
    "running with files in the index": (RUN + update(RUNNING, files_indexed="3"), "completed_holds_files"),
    "running with chunks": (RUN + update(RUNNING, chunks_created="3"), "only_completed_has_an_index"),
    "more done than there is": (RUN + update(RUNNING, files_total="3", files_done="4"), "done_fits_the_total"),
    # An end without a time, or at a time that cannot be.
    "completed without an end": (RUN + update(SUCCESS, completed_at="NULL"), "terminal_has_an_end"),
    "failed without an end": (RUN + update(FAILED, completed_at="NULL"), "terminal_has_an_end"),
    "cancelled without an end": (RUN + update(CANCELLED, completed_at="NULL"), "terminal_has_an_end"),
    "ended before it was created": (
        BEGIN + update(FAILED, completed_at="now() - interval '1 s'"), "times_are_in_order"),
    "ended before it started": (
        BEGIN + update(RUNNING, started_at="now() + interval '1 s'") + update(SUCCESS),
        "times_are_in_order"),
    "started before it was created": (
        BEGIN + update(RUNNING, started_at="now() - interval '1 s'"), "times_are_in_order"),
    "created at the end of time": (
        RUN + insert(PENDING, created_at="'infinity'", started_at="NULL"), "times_are_finite"),
    "ended at the end of time": (RUN + update(FAILED, completed_at="'infinity'"), "times_are_finite"),
    # The end is final, the identity fixed, the record kept.
    "a failed job completes": (RUN + update(FAILED) + update(SUCCESS), "terminal_is_final"),
    "a completed job fails": (RUN + update(SUCCESS) + update(FAILED), "terminal_is_final"),
    "a completed job runs again": (RUN + update(SUCCESS) + update(RUNNING), "terminal_is_final"),
    "a cancelled job fails": (RUN + update(CANCELLED) + update(FAILED), "terminal_is_final"),
    "the message of a failed job changes": (
        RUN + update(FAILED) + update({"error_message": "'fine'"}), "terminal_is_final"),
    "the files of a completed job change": (
        RUN + update(SUCCESS) + update({"files_indexed": "9"}), "terminal_is_final"),
    "the end of a cancelled job moves": (
        RUN + update(CANCELLED) + update({"completed_at": "now() + interval '1 h'"}), "terminal_is_final"),
    "a pending job is deleted": (BEGIN + "DELETE FROM indexing_jobs;", "only_ended_jobs_are_deleted"),
    "a running job is deleted": (RUN + "DELETE FROM indexing_jobs;", "only_ended_jobs_are_deleted"),
    "a blocked job is deleted": (RUN + update(BLOCKED) + "DELETE FROM indexing_jobs;", "only_ended_jobs_are_deleted"),
    "all jobs are truncated": (RUN + "TRUNCATE indexing_jobs CASCADE;", "jobs_are_not_truncated"),
    "an upsert ends an ended job": (
        RUN + update(FAILED)
        + insert(PENDING, id="id").replace(";", " ON CONFLICT (id) DO UPDATE SET status = 'running';"),
        "terminal_is_final"),
    "two databases have one project": (
        "INSERT INTO projects (id, database_name) VALUES ('one', 'cb_proj_two');", "projects_check"),
}  # fmt: skip

COUNTS: Final = (
    "files_total", "files_done", "files_indexed", "files_added", "files_changed", "files_deleted", "files_unchanged",
    "files_skipped", "files_failed", "chunks_created", "chunks_total",
)  # fmt: skip
IDENTITY: Final = {
    "id": "gen_random_uuid()", "workflow_id": "'other'", "project_id": "'other'", "repo_path": "'/other'",
    "force_reindex": "true", "trace_id": "repeat('b', 32)", "created_at": "created_at - interval '1 s'",
}  # fmt: skip


def refuse(done: subprocess.CompletedProcess[str], constraint: str) -> None:
    assert done.returncode == 3, done.stderr
    assert "ERROR:  23514: " in done.stderr
    assert f"CONSTRAINT NAME:  {constraint}\n" in done.stderr


@pytest.mark.parametrize("name", TRUTHS)
def test_a_truth_can_be_told_from_psql(psql: Psql, name: str):
    done = psql(TRUTHS[name])
    assert (done.returncode, "ERROR" in done.stderr) == (0, False), done.stderr


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_refused_from_psql(psql: Psql, name: str):
    script, constraint = LIES[name]
    done = psql(script)
    refuse(done, constraint)


@pytest.mark.parametrize("column", COUNTS)
def test_no_count_can_be_negative(psql: Psql, column: str):
    done = psql(RUN + update({column: "-1"}))
    assert done.returncode == 3
    assert "ERROR:  23514: " in done.stderr


@pytest.mark.parametrize("trace_id", ["", "0" * 32, "A" * 32, "a" * 31, "a" * 33, "a" * 32 + "\n", "g" * 32])
def test_a_job_has_a_trace(psql: Psql, trace_id: str):
    refuse(psql(RUN + insert(PENDING, trace_id=f"'{trace_id}'")), "indexing_jobs_trace_id_check")


@pytest.mark.parametrize("digest", ["", "D" * 64, "d" * 63, "d" * 65, "d" * 64 + "\n", "g" * 64])
def test_a_digest_is_64_hex_digits(psql: Psql, digest: str):
    refuse(psql(RUN + update(SUCCESS, manifest_digest=f"'{digest}'")), "indexing_jobs_manifest_digest_check")


@pytest.mark.parametrize("column", ["workflow_id", "project_id", "repo_path"])
def test_a_job_names_what_it_works_on(psql: Psql, column: str):
    refuse(psql(RUN + insert(PENDING, **{column: "''"})), f"indexing_jobs_{column}_check")


@pytest.mark.parametrize("column", IDENTITY)
def test_the_identity_of_a_job_is_fixed(psql: Psql, column: str):
    refuse(psql(RUN + update({column: IDENTITY[column]})), "identity_is_fixed")


WAYS: Final = {
    "pending": {"pending", "running", "failed", "cancelled"},
    "running": {"running", "blocked", "completed", "failed", "cancelled"},
    "blocked": {"blocked", "running", "failed", "cancelled"},
}
STATES: Final = {
    "pending": PENDING, "running": RUNNING, "blocked": BLOCKED, "completed": SUCCESS, "failed": FAILED,
    "cancelled": CANCELLED,
}  # fmt: skip


@pytest.mark.parametrize("new", get_args(JobStatus))
@pytest.mark.parametrize("old", get_args(JobStatus))
def test_only_the_ways_of_the_design_are_open(psql: Psql, old: str, new: str):
    started = {"started_at": "now()"}
    done = psql(TRUTHS[old] + update(STATES[new] | started))
    if new in WAYS.get(old, set()):
        assert done.returncode == 0, done.stderr
    else:
        refuse(done, "terminal_is_final" if old in TERMINAL else "transition_is_allowed")


# CHECK lets NULL pass, so for every column and every state it is said here whether NULL is a truth.
MAY_BE_NULL: Final = {
    "pending": {"started_at", "completed_at", "result_status", "status_message", "phase", "error_message",
                "error_type", "generation", "manifest_digest"},
    "running": {"completed_at", "result_status", "status_message", "phase", "error_message", "error_type",
                "generation", "manifest_digest"},
    "blocked": {"completed_at", "result_status", "phase", "error_message", "error_type", "generation",
                "manifest_digest"},
    "completed": {"status_message", "phase", "error_message", "error_type"},
    "partial": {"status_message", "phase"},
    "failed": {"started_at", "status_message", "phase", "generation", "manifest_digest"},
    "cancelled": {"started_at", "result_status", "status_message", "phase", "error_message", "error_type",
                  "generation", "manifest_digest"},
}  # fmt: skip


@pytest.mark.parametrize("state", MAY_BE_NULL)
async def test_null_is_no_way_round_a_constraint(psql: Psql, state: str):
    columns = psql(
        "SELECT column_name FROM information_schema.columns "
        "WHERE table_name = 'indexing_jobs' AND is_generated = 'NEVER' ORDER BY ordinal_position;"
    ).stdout.split()
    values = (STATES | {"partial": PARTIAL})[state]
    before = {"pending": BEGIN}.get(state, RUN)
    stored = {column for column in columns if psql(before + update(values | {column: "NULL"})).returncode == 0}
    assert stored == MAY_BE_NULL[state]
