import re
from pathlib import Path


def test_what_was_indexed_is_verified_and_what_changed_since_is_named(stack, write, tmp_path: Path):
    write(tmp_path, {"one.py": "one = 1\n", "two.py": "two = 2\n"})
    job = stack("index", tmp_path, "--json").json
    ended = stack("verify", tmp_path)
    assert (ended.code, ended.err) == (0, "")
    claim = f"true  2 files and 2 chunks of job {job['job_id']} are what the source holds; digest "
    assert re.fullmatch(re.escape(claim) + "[0-9a-f]{64}\n", ended.out)

    write(tmp_path, {"one.py": "one = 3\n", "new\n\x1b.py": "new = 1\n"})
    ended = stack("verify", tmp_path)
    assert ended.code == 1
    assert ended.out.splitlines() == [
        f"not true  2 differences between job {job['job_id']}, the index and the source",
        "one.py: the index holds another content",
        r"new\n\x1b.py: not in the index",
    ]


def test_a_verification_says_in_json_what_it_says_in_words(stack, write, tmp_path: Path):
    write(tmp_path, {"one.py": "one = 1\n"})
    job = stack("index", tmp_path, "--json").json
    said = stack("verify", tmp_path, "--json").json
    assert len(said.pop("manifest_digest")) == 64
    assert said == {
        "ok": True, "job_id": job["job_id"], "project_id": "default", "repo_path": str(tmp_path),
        "files": 1, "chunks": 1, "differences": [], "differences_total": 0, "warnings": [],
    }  # fmt: skip
    (tmp_path / "one.py").unlink()
    ended = stack("verify", tmp_path, "--json")
    assert (ended.code, ended.json["ok"]) == (1, False)
    assert ended.json["differences"] == ["one.py: in the index, but not in the source"]


def test_a_newer_job_that_failed_is_told_on_stderr(stack, write, tmp_path: Path):
    write(tmp_path, {"one.py": "one = 1\n"})
    assert stack("index", tmp_path).code == 0
    (tmp_path / "one.py").unlink()
    failed = stack("index", tmp_path, "--json").json
    ended = stack("verify", tmp_path)
    assert ended.code == 1
    assert ended.err.startswith(f"verdex: the newest job, {failed['job_id']}, is failed: nothing to index: ")


def test_of_a_repository_that_no_job_has_indexed_there_is_nothing_to_verify(stack, tmp_path: Path):
    ended = stack("verify", tmp_path)
    assert ended.code == 2
    assert ended.err == f"verdex: no job has completed for {tmp_path} in default: there is nothing to verify\n"
