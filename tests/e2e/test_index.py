import fnmatch
import json
import os
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

FIELDS = [
    "job_id",
    "project_id",
    "repo_path",
    "status",
    "result_status",
    "status_message",
    "phase",
    "error_message",
    "error_type",
    "errors",
    "files_total",
    "files_done",
    "files_indexed",
    "files_added",
    "files_changed",
    "files_deleted",
    "files_unchanged",
    "files_skipped",
    "files_failed",
    "chunks_created",
    "chunks_total",
    "force_reindex",
    "attempt",
    "trace_id",
    "workflow_id",
    "created_at",
    "started_at",
    "completed_at",
    "duration_seconds",
]
JOB_ID = re.compile(r"job ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


def counts(job: dict[str, Any]) -> dict[str, Any]:
    """The counts of files that are not zero."""
    return {name.removeprefix("files_"): job[name] for name in FIELDS if name.startswith("files_") and job[name]}


def test_index_on_a_fresh_home_brings_the_stack_up_and_completes(first):
    assert (first.code, first.json["status"], first.json["result_status"]) == (0, "completed", "success")
    assert [line for line in first.err.splitlines() if "starting" in line] == [
        "verdex: starting PostgreSQL …",
        "verdex: starting Temporal …",
        "verdex: starting the worker …",
    ]


def test_stdout_holds_the_result_and_stderr_the_progress(first):
    assert first.out.count("\n") == 1
    assert JOB_ID.findall(first.err) == [first.json["job_id"]]
    assert all(line.startswith("verdex: ") for line in first.err.splitlines())


def test_a_job_as_json_has_the_fields_of_the_contract(first):
    assert list(first.json) == FIELDS


def test_times_are_iso_8601_with_their_zone(first):
    created, started, completed = (
        datetime.fromisoformat(first.json[name]) for name in ("created_at", "started_at", "completed_at")
    )
    assert created.tzinfo is not None
    assert created <= started <= completed
    assert first.json["duration_seconds"] == pytest.approx((completed - started).total_seconds(), abs=1e-3)


def test_counts_equal_an_independent_count_of_the_tree(first, tree: Path):
    paths = [os.path.relpath(Path(folder, name), tree) for folder, _, names in os.walk(tree) for name in names]
    listed = [path for path in paths if not fnmatch.fnmatch(path, "*.log") and not path.startswith("build/")]
    texts = [path for path in listed if b"\0" not in (tree / path).read_bytes()]
    assert counts(first.json) == {
        "total": len(listed),
        "done": len(listed),
        "indexed": len(texts),
        "added": len(texts),
        "skipped": len(listed) - len(texts),
    }
    assert first.json["chunks_total"] == first.json["chunks_created"] >= len(texts)


def test_a_second_run_says_that_nothing_changed_and_shows_the_totals(stack, first, tree: Path):
    second = stack("index", tree)
    assert second.code == 0
    chunks = first.json["chunks_total"]
    assert re.fullmatch(rf"completed  nothing changed: 4 files, {chunks} chunks indexed \([\d.]+ s\)\n", second.out)


def test_a_file_changed_one_added_and_one_deleted_are_told_apart(stack, write, tmp_path: Path):
    write(tmp_path, {name: f"text of {name}\n" for name in ("same", "changed", "deleted")})
    assert stack("index", tmp_path).code == 0
    write(tmp_path, {"changed": "another text\n", "added": "a new text\n"})
    (tmp_path / "deleted").unlink()
    job = stack("index", tmp_path, "--json").json
    assert counts(job) == {
        "total": 3, "done": 3, "indexed": 3, "added": 1, "changed": 1, "deleted": 1, "unchanged": 1
    }  # fmt: skip


def test_force_writes_every_chunk_anew(stack, first, tree: Path):
    job = stack("index", tree, "--force", "--json").json
    assert (job["force_reindex"], job["files_unchanged"]) == (True, 4)
    assert job["chunks_created"] == job["chunks_total"] == first.json["chunks_total"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["/nowhere"], "/nowhere does not exist"),
        (["{tree}/README.md"], "{tree}/README.md is not a directory"),
        (["{tree}/build", "--project", "fake-proj-xyz-12345"], 'database "cb_proj_fake_proj_xyz_12345"'),
    ],
    ids=["a path that is missing", "a file", "an unknown project"],
)
def test_what_cannot_be_indexed_is_a_failed_job_with_one_line_that_names_it(stack, tree: Path, arguments, said):
    ended = stack("index", *(argument.format(tree=tree) for argument in arguments))
    assert ended.code == 1
    assert ended.out.startswith("failed  ")
    assert ended.out.count("\n") == 1
    assert said.format(tree=tree) in ended.out


def test_a_failed_job_says_in_json_what_it_says_in_words(stack):
    ended = stack("index", "/nowhere", "--json")
    assert ended.code == 1
    assert (ended.json["status"], ended.json["result_status"], ended.json["files_indexed"]) == ("failed", "failed", 0)
    assert ended.json["error_message"] == "/nowhere does not exist"
    assert ended.json["error_type"]
    assert ended.json["trace_id"]


def test_no_wait_leaves_the_job_to_run_and_says_how_to_follow_it(stack, tree: Path, eventually):
    ended = stack("index", tree, "--no-wait", "--json")
    assert ended.code == 4
    assert ended.json["status"] in {"pending", "running"}
    eventually(lambda: stack("status", ended.json["job_id"]).code == 0)


@pytest.mark.parametrize(
    "name",
    [
        b"line\nbreak",
        b"back\\slash\xff",
    ],
    ids=["line break", "no UTF-8"],
)
def test_an_odd_name_is_just_a_name(stack, write, name):
    folder = Path(os.fsdecode(os.fsencode(stack.home.parent) + b"/" + name))
    write(folder, {"line\nbreak.py": "x = 1\n", "\x1b[31mred.py": "y = 2\n"})
    ended = stack("index", folder, "--json")
    assert (ended.code, ended.json["files_indexed"]) == (0, 2)
    listed = stack("files", folder)
    assert len(listed.out.splitlines()) == 2
    assert "\x1b" not in listed.out


def test_settings_for_another_temporal_do_not_lead_away_from_the_local_one(stack, tree: Path):
    ended = stack("index", tree, "--json", TEMPORAL_PROFILE="work", TEMPORAL_API_KEY="secret", TEMPORAL_TLS="true")
    assert (ended.code, json.loads(ended.out)["status"]) == (0, "completed")
