"""Every kind of file that a tree can hold has its outcome, and none of them stops the job."""

import os
import socket
from contextlib import contextmanager
from pathlib import Path

import pytest

from verdex.client import Verdex
from verdex.contracts import Job
from verdex.indexing.pool import ChunkPool, ParserCrashed
from worker import working

OUTCOMES = {
    "plain.py": ("indexed", None),
    "latin.py": ("indexed", "not valid UTF-8 (first at byte 3): such bytes are indexed as U+FFFD"),
    "minified.js": ("indexed", "line 1 too long: only the first 100,000 characters are searched"),
    "wide.txt": ("indexed", None),
    "line\nbreak.py": ("indexed", None),
    r"byte\xff.py": ("indexed", None),
    r"back\\slash.py": ("indexed", None),
    "package-lock.json": ("indexed", None),
    "deep/" * 40 + "leaf.py": ("indexed", None),
    "nul.py": ("skipped", "binary"),
    "picture.png": ("skipped", "binary"),
    "empty.py": ("skipped", "empty"),
    "blank.py": ("skipped", "empty"),
    "huge.sql": ("skipped", "too large (104,857,600 bytes, the limit is 33,554,432)"),
    "link.py": ("skipped", "symlink"),
    "loop": ("skipped", "symlink"),
    "outside": ("skipped", "symlink"),
    "dangling": ("skipped", "symlink"),
    "pipe": ("skipped", "not a regular file"),
    "socket": ("skipped", "not a regular file"),
}


@contextmanager
def inside(directory: Path):
    before = Path.cwd()
    os.chdir(directory)
    yield
    os.chdir(before)


@pytest.fixture
def museum(tmp_path: Path) -> Path:
    """One of each."""
    root = tmp_path / "museum"
    root.mkdir()
    code = b"a = 1\n"
    for name in ("plain.py", "line\nbreak.py", "back\\slash.py", "deep/" * 40 + "leaf.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(code)
    Path(os.fsdecode(bytes(root) + b"/byte\xff.py")).write_bytes(code)
    (root / "latin.py").write_bytes(b"# \n\xe4 = 1\n")
    (root / "minified.js").write_bytes(b"f('\\'+x);" * 50_000)
    (root / "wide.txt").write_bytes("some words\n".encode("utf-16"))
    (root / "package-lock.json").write_bytes(b'{"lockfileVersion": 3}\n')
    (root / "nul.py").write_bytes(code + b"\0")
    (root / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    (root / "empty.py").touch()
    (root / "blank.py").write_bytes(b"\n\n  \n")
    with (root / "huge.sql").open("wb") as huge:
        huge.truncate(100 * 1024 * 1024)
    (root / "link.py").symlink_to("plain.py")
    (root / "loop").symlink_to(".")
    (root / "outside").symlink_to("/etc")
    (root / "dangling").symlink_to("nowhere")
    os.mkfifo(root / "pipe")
    (root / ".gitignore").write_text("*.log\n.gitignore\n")
    (root / "ignored.log").write_bytes(code)
    with inside(root), socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    return root


async def outcomes(verdex: Verdex, job: Job) -> dict[str, tuple[str, str | None]]:
    return {file.path: (file.outcome, file.reason) for file in await verdex.files(job.job_id)}


async def test_each_kind_of_file_has_its_outcome_and_none_stops_the_job(verdex, worker, museum, finished):
    job = await finished((await verdex.index(museum)).job_id)
    assert await outcomes(verdex, job) == OUTCOMES
    assert (job.status, job.result_status) == ("completed", "success")
    assert (job.files_total, job.files_indexed, job.files_skipped) == (len(OUTCOMES), 9, 11)


async def test_a_second_run_over_each_kind_of_file_finds_nothing_changed(verdex, worker, museum, finished):
    await finished((await verdex.index(museum)).job_id)
    job = await finished((await verdex.index(museum)).job_id)
    assert await outcomes(verdex, job) == OUTCOMES
    assert (job.files_unchanged, job.chunks_created) == (9, 0)


async def test_what_happens_to_a_file_between_scan_and_reading_is_its_outcome(
    verdex, run_worker, hold, gate, repository, finished
):
    for name in ("vanishing.py", "moving.py", "growing.py"):
        (repository / name).write_text("a = 1\n")
    async with run_worker(hold("index_shard")):
        started = await verdex.index(repository)
        await gate.reached()
        (repository / "vanishing.py").unlink()
        (repository / "moving.py").unlink()
        (repository / "moving.py").symlink_to("/etc/hostname")
        (repository / "growing.py").write_text("a = 1\nb = 2\n")
        gate.open()
        job = await finished(started.job_id)
    found = await outcomes(verdex, job)
    assert found["vanishing.py"] == ("skipped", "vanished after the scan")
    assert found["moving.py"][0] == "skipped"
    assert found["growing.py"] == ("indexed", None)
    assert (job.status, job.files_total, job.files_indexed) == ("completed", 6, 4)


async def test_a_file_that_kills_its_parser_fails_alone(verdex, client, server, settings, repository, finished):
    class Fragile(ChunkPool):
        async def chunk(self, sources):
            crash = ParserCrashed("the parser crashed on it")
            results = await super().chunk(sources)
            return [
                crash if "deadly" in source.content else result for source, result in zip(sources, results, strict=True)
            ]

    (repository / "deadly.py").write_text("deadly = True\n")
    pool = Fragile(1)
    async with working(client, server, pool, settings):
        job = await finished((await verdex.index(repository)).job_id)
        assert (job.status, job.result_status, job.files_failed) == ("completed", "partial", 1)
        assert job.error_message == "1 of 4 files could not be indexed: deadly.py: the parser crashed on it"
        (repository / "deadly.py").write_text("harmless = True\n")
        job = await finished((await verdex.index(repository)).job_id)
    pool.close()
    assert (job.result_status, job.files_indexed, job.files_unchanged) == ("success", 4, 3)
