import fcntl
import json
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import termios
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import click
import pytest

UNKNOWN = "00000000-0000-4000-8000-000000000000"
TERMINAL_COLUMNS = 80
LINK = re.compile(r"\x1b\]8;[^\x1b]*\x1b\\")


def on_terminal(stack, *arguments: object) -> str:
    """What a command shows on a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, TERMINAL_COLUMNS, 0, 0))
    process = stack.start(*arguments, stdout=theirs, env={"TERM": "xterm"})
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # which is how a terminal ends
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    assert process.wait(timeout=30) == 0
    return shown.decode()


@pytest.fixture
def pending(stack, write, scratch: Path):
    """The id of a job that no worker takes up, and the worker, which is stopped."""
    repository = write(scratch / "pending", {"a.py": "a = 1\n"})
    worker = stack.processes()["worker"]
    worker.suspend()
    yield stack("index", repository, "--no-wait", "--json").json["job_id"], worker
    worker.resume()


def test_status_shows_the_job_and_its_exit_code_says_how_it_ended(stack, first):
    job = first.json
    shown, told = stack("status", job["job_id"], "--json"), stack("status", job["job_id"])
    assert (shown.code, told.code) == (0, 0)
    assert shown.json == job
    for part in ("completed", job["job_id"], job["repo_path"], job["trace_id"], job["workflow_id"]):
        assert part in told.out


def test_psql_as_up_prints_it_sees_what_the_command_says(stack, tree: Path):
    job = stack("index", tree, "--json").json
    psql = stack("up").out.splitlines()[1]
    query = "SELECT status, error_message, files_indexed FROM indexing_jobs ORDER BY created_at DESC LIMIT 1;"
    found = subprocess.run([*shlex.split(psql), "-At", "-c", query], capture_output=True, text=True, check=True).stdout
    assert found == f"{job['status']}|{job['error_message'] or ''}|{job['files_indexed']}\n"


def test_jobs_lists_the_newest_first_as_many_as_asked_for(stack, tree: Path):
    newest = stack("index", tree, "--json").json
    listed = stack("jobs", "--limit", 2, "--json").json
    assert len(listed) == 2
    assert listed[0] == newest
    assert listed[0]["created_at"] >= listed[1]["created_at"]


def test_jobs_can_be_filtered_by_status_repository_and_project(stack, first, tree: Path):
    failed = stack("index", "/nowhere", "--json").json
    by_status = stack("jobs", "--status", "failed", "--json").json
    assert failed in by_status
    assert {job["status"] for job in by_status} == {"failed"}
    by_path = stack("jobs", "--repo", ".", "--limit", 1000, "--json", cwd=tree).json
    assert first.json in by_path
    assert {job["repo_path"] for job in by_path} == {str(tree)}
    assert stack("jobs", "--project", "nobodys", "--json").json == []


def test_jobs_for_people_are_a_header_and_one_line_each(stack, tree: Path):
    assert stack("index", tree).code == 0
    header, line = stack("jobs", "--limit", 1).out.splitlines()
    assert header.split() == ["job", "started", "status", "took", "project", "repository", "result"]
    assert re.fullmatch(rf"[0-9a-f-]{{36}}  [\d-]+ [\d:]+  completed  [\d.]+ s  default  {tree} +4 files", line)
    assert stack("jobs", "--project", "nobodys").out == "no job matches\n"


def test_on_a_terminal_the_table_fits_and_every_command_takes_the_ids_it_shows(stack, first):
    shown = on_terminal(stack, "jobs", "--limit", 1000)
    assert max(map(len, click.unstyle(LINK.sub("", shown)).splitlines())) <= TERMINAL_COLUMNS
    part = first.json["job_id"][-8:]
    assert f"/workflows/{first.json['workflow_id']}/{first.json['job_id']}\x1b\\{part}\x1b]8;;" in shown
    for command in ("status", "files", "trace", "cancel"):
        assert stack(command, part, "--json").code == 0
    assert stack("status", part, "--json").json == first.json


def test_what_is_the_beginning_of_several_ids_is_wrong_usage_that_lists_them(stack, tree: Path):
    ids = [stack("index", tree, "--json").json["job_id"] for _ in range(2)]
    ended = stack("status", ids[0][:4])
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert ids[1] in ended.err


def test_status_of_the_local_stack_leads_to_the_page_of_the_web_ui_and_to_the_trace(stack, first):
    told = stack("status", first.json["job_id"]).out
    (page,) = re.findall(r"Web UI +http://127\.0\.0\.1:\d+(/.*)", told)
    assert page == f"/namespaces/default/workflows/{first.json['workflow_id']}/{first.json['job_id']}"
    assert "<!doctype html>" in stack.web(page).lower()
    (command,) = re.findall(r"\((verdex trace .*)\)", told)
    assert stack(*command.split()[1:]).code == 0


def test_where_traces_are_seen_elsewhere_status_and_trace_lead_there(stack, tree: Path, eventually):
    job = stack("index", tree, "--json").json
    elsewhere = {"VERDEX_TRACE_URL": "http://localhost:16686/trace/{trace_id}"}
    page = f"http://localhost:16686/trace/{job['trace_id']}"
    assert f"  trace page {page}\n" in stack("status", job["job_id"], **elsewhere).out

    def trace_is_gone():  # the worker may write its last spans after the job ended
        (stack.home / "traces" / f"{job['trace_id']}.jsonl").unlink(missing_ok=True)
        return stack("trace", job["job_id"], **elsewhere).code == 2

    eventually(trace_is_gone)
    ended = stack("trace", job["job_id"], **elsewhere)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.endswith(f"; see {page}\n")


def test_a_job_is_watched_to_its_end_and_each_change_is_a_line(stack, pending):
    job_id, worker = pending
    watching = stack.start("status", job_id, "--watch")
    assert watching.stdout
    assert "pending" in watching.stdout.readline()
    worker.resume()
    lines = watching.stdout.read().splitlines()
    assert watching.wait(timeout=30) == 0
    assert "completed" in lines[-1]


def test_who_stops_watching_a_job_that_runs_is_told_so_by_the_exit_code(stack, pending):
    job_id, _ = pending
    watching = stack.start("status", job_id, "--watch", "--json")
    assert json.loads(watching.stdout.readline())["job_id"] == job_id
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=30)
    assert (watching.returncode, err) == (4, "")


def test_jobs_are_watched_until_ctrl_c(stack, first):
    watching = stack.start("jobs", "--watch", "--limit", 1, "--json")
    assert json.loads(watching.stdout.readline())["status"]
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=30)
    assert (watching.returncode, err) == (0, "")


def test_files_of_a_job_and_of_its_path_are_the_same(stack, tree: Path):
    job = stack("index", tree, "--json").json
    of_job, of_path = stack("files", job["job_id"], "--json").json, stack("files", tree, "--json").json
    assert of_job == of_path
    assert len(of_job) == job["files_total"]
    assert {"path", "size", "outcome", "reason"} == set(of_job[0])


def test_files_can_be_filtered_by_outcome_and_say_the_reason(stack, first):
    assert re.fullmatch(
        r"skipped  image\.bin  \(.*\)\n", stack("files", first.json["job_id"], "--outcome", "skipped").out
    )
    assert stack("files", first.json["job_id"], "--outcome", "failed", "--json").json == []


def test_trace_draws_the_steps_of_a_job(stack, first, eventually):
    steps = ("IndexRepository", "preflight", "scan", "index_shard", "publish", "update_registry")
    drawn = eventually(
        lambda: (out := stack("trace", first.json["job_id"]).out) and all(step in out for step in steps) and out
    )
    assert "├── " in drawn


def test_the_trace_of_a_failed_job_shows_the_error_in_its_place(stack, eventually):
    job_id = stack("index", "/nowhere", "--json").json["job_id"]
    drawn = eventually(lambda: (out := stack("trace", job_id).out) and "IndexRepository" in out and out)
    assert "/nowhere does not exist" in drawn[drawn.index("preflight") :]


def test_trace_as_json_is_otlp_with_the_trace_id_of_the_job(stack, first):
    document = stack("trace", first.json["job_id"], "--json").json
    spans = [
        span for resource in document["resourceSpans"] for scope in resource["scopeSpans"] for span in scope["spans"]
    ]
    assert {span["traceId"] for span in spans} == {first.json["trace_id"]}
    assert "IndexRepository" in {span["name"] for span in spans}


def test_a_job_that_no_worker_takes_up_is_pending_and_still_running_by_its_exit_code(stack, pending, eventually):
    job_id, worker = pending
    shown = stack("status", job_id, "--json")
    assert (shown.code, shown.json["status"]) == (4, "pending")
    worker.resume()
    eventually(lambda: stack("status", job_id).code == 0)


def test_a_cancelled_job_says_so_everywhere(stack, pending, eventually):
    job_id, worker = pending
    workflow_id = stack("status", job_id, "--json").json["workflow_id"]
    cancelling = stack.start("cancel", job_id, "--json")
    place = f"/api/v1/namespaces/default/workflows/{quote(workflow_id, safe='')}?execution.runId={job_id}"
    eventually(lambda: '"cancelRequested": true' in stack.web(place))
    worker.resume()
    out, err = cancelling.communicate(timeout=30)
    assert (cancelling.returncode, json.loads(out)["status"]) == (0, "cancelled"), err
    shown = stack("status", job_id)
    assert shown.code == 3
    assert shown.out.startswith("cancelled")
    assert "WORKFLOW_EXECUTION_STATUS_CANCELED" in stack.web(place)
    again = stack("cancel", job_id, "--json")
    assert (again.code, again.json["status"]) == (0, "cancelled")


def test_projects_are_created_listed_indexed_into_and_dropped(stack, tree: Path):
    before = [one["id"] for one in stack("project", "list", "--json").json]
    assert "cb_proj_web_shop" in stack("project", "create", "web-shop").out
    assert [one["id"] for one in stack("project", "list", "--json").json] == sorted([*before, "web-shop"])
    job = stack("index", tree, "--project", "web-shop", "--json").json
    assert (job["status"], job["project_id"]) == ("completed", "web-shop")
    assert len(stack("files", tree, "--project", "web-shop").out.splitlines()) == job["files_total"]
    assert stack("project", "drop", "web-shop", "--yes").code == 0
    gone = 'the index is gone: PostgreSQL: database "cb_proj_web_shop" does not exist'
    assert stack("status", job["job_id"], "--json").json == {**job, "status_message": gone}
    assert "web-shop" not in stack("project", "list").out


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "not-an-id"),
        ("status", "00000000"),
        ("cancel", UNKNOWN),
        ("trace", UNKNOWN),
        ("files", "/never/indexed"),
        ("project", "create", "No Such Name"),
        ("project", "drop", "nobodys", "--yes"),
    ],
    ids=" ".join,
)
def test_what_does_not_exist_is_wrong_usage_in_one_line_that_names_it(stack, arguments):
    ended = stack(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    assert next(part for part in reversed(arguments) if not part.startswith("--")) in ended.err


def test_with_json_an_error_is_an_object_on_stdout_as_well(stack):
    ended = stack("status", UNKNOWN, "--json")
    assert (ended.code, ended.json["error_type"]) == (2, "JobNotFound")
    assert UNKNOWN in ended.json["error"]
