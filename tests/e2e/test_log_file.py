"""The log file of the local stack's worker, as whoever is on call finds it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

IDS = {"job_id", "project_id", "workflow_id", "run_id", "activity", "attempt", "trace_id", "span_id"}


def lines_of(home: Path, job_id: str) -> list[dict[str, Any]]:
    """Those of a job; each line of the file has to be JSON."""
    lines = [json.loads(line) for line in (home / "logs" / "worker.log").read_text().splitlines()]
    return [line for line in lines if line.get("job_id") == job_id]


def test_a_completed_job_has_one_line_with_its_ids(stack, first):
    (line,) = lines_of(stack.home, first.json["job_id"])
    assert (line["level"], line["message"]) == ("INFO", "job completed")
    assert line.keys() >= IDS
    for name in ("project_id", "repo_path", "workflow_id", "trace_id", "files_indexed", "files_skipped"):
        assert line[name] == first.json[name]
    assert (line["run_id"], line["activity"]) == (first.json["job_id"], "update_registry")


def test_a_failed_job_has_one_line_of_level_error_that_says_what_the_command_says(stack, tmp_path):
    job = stack("index", tmp_path / "nowhere", "--json").json
    lines = lines_of(stack.home, job["job_id"])
    assert Counter(line["level"] for line in lines)["ERROR"] == 1
    assert all(line.keys() >= IDS for line in lines)
    (end,) = [line for line in lines if line["level"] == "ERROR"]
    assert (end["error"], end["error_type"]) == (job["error_message"], job["error_type"])
    assert (end["trace_id"], end["duration_seconds"]) == (job["trace_id"], job["duration_seconds"])


def test_a_worker_that_is_killed_leaves_a_log_that_can_be_read(stack, first, runs, eventually):
    lines_of(stack.home, first.json["job_id"])
    left = stack.processes()["worker"].children(recursive=True)
    assert left, "it has not parsed anything yet"
    stack.kill("worker")
    eventually(lambda: not any(map(runs, left)))
    assert lines_of(stack.home, first.json["job_id"])
    assert stack("up").code == 0
