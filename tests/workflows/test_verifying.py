"""What a completed job claimed is true, or `verify` says what is not."""

import asyncio
import hashlib
import os
import shutil
from pathlib import Path

import pytest
from temporalio import activity

from activities.indexing import IndexingActivities
from tests.workflows.conftest import fail_file, tamper
from verdex.client import Verdex
from verdex.contracts import IndexResult, Manifest, Verification
from verdex.errors import JobNotFound, ProjectNameInvalid, RepositoryError
from verdex.storage.database import Server
from verdex.verify import KEPT_DIFFERENCES


def digest_of(repository: Path, *paths: str) -> str:
    """The digest of a manifest, from the source alone."""
    entries = sorted((path.encode(), hashlib.sha256((repository / path).read_bytes()).digest()) for path in paths)
    return hashlib.sha256(b"".join(path + b"\0" + content for path, content in entries)).hexdigest()


PATHS = ("README.md", "package/one.py", "package/two.py")


async def test_what_a_job_claimed_is_true_after_it(verdex: Verdex, worker, repository, index):
    job = await index(repository)
    found = await verdex.verify(repository)
    assert found == Verification(
        job_id=job.job_id, project_id="default", repo_path=str(repository), files=3, chunks=job.chunks_total,
        manifest_digest=digest_of(repository, *PATHS), differences=[], warnings=[],
    )  # fmt: skip
    assert found.ok


async def test_the_digest_is_in_the_row_of_the_job(server: Server, worker, repository, index):
    job = await index(repository)
    async with server.registry.connection() as connection:
        stored = await connection.fetchval("SELECT manifest_digest FROM indexing_jobs WHERE id::text = $1", job.job_id)
    assert stored == digest_of(repository, *PATHS)


async def test_nothing_that_a_tree_can_hold_makes_a_truth_look_untrue(verdex: Verdex, worker, repository, index):
    contents = {
        b"package.py": b"x = 1\n", b"package-a.py": b"y = 1\n", b"\xc3\xa9.py": b"z = 1\n", b"\xff.py": b"w = 1\n",
        b"back\\slash": b"text\n", b"line\nbreak": b"text\n", b"copy.py": (repository / PATHS[1]).read_bytes(),
        b"crlf.py": b"def f():\r\n    return 1\r\n\r\n\r\nx = 1\r\n", b"latin.c": b"/* \xe9 */\nint x;\n",
        b"utf16.txt": "é\nü\n".encode("utf-16"), b"binary": b"\0", b"empty": b"", b"no-end": b"text",
        b"large.h": b"#define mmFirst_REG 0x1b80\n" * 40_000,
        b"minified.js": b"it('x\\'+x);" * 50_000, b"words.txt": "'\\ ''quoted'' +plus \u0130 \U00020000\n".encode(),
        b"blank.py": b"\n\n\nx = 1\n\n\n\x0c\ndef f():\n\n    return 1\n\n\n",
    }  # fmt: skip
    for name, content in contents.items():
        (repository / os.fsdecode(name)).write_bytes(content)
    (repository / "link").symlink_to("README.md")
    job = await index(repository)
    found = await verdex.verify(repository)
    assert found.differences == []
    assert (found.files, found.chunks, job.files_skipped) == (18, job.chunks_total, 3)


async def test_a_truth_that_takes_several_batches_to_read_is_true(verdex: Verdex, worker, python_files, index):
    root = python_files(300, 600)
    await index(root)
    assert (await verdex.verify(root)).ok


def edited_unseen(root: Path) -> list[str]:
    path = root / "package" / "one.py"
    before = path.stat()
    path.write_text(path.read_text().replace("1", "2"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return ["package/one.py: the index holds another content"]


def added(root: Path) -> list[str]:
    (root / "new.py").write_text("new = 1\n")
    return ["new.py: not in the index"]


def deleted(root: Path) -> list[str]:
    (root / "README.md").unlink()
    return ["README.md: in the index, but not in the source"]


def renamed(root: Path) -> list[str]:
    (root / "README.md").rename(root / "package" / "README.md")
    return ["README.md: in the index, but not in the source", "package/README.md: not in the index"]


def ignored(root: Path) -> list[str]:
    (root / ".gitignore").write_text("README.md\n.gitignore\n")
    return ["README.md: in the index, but ignored by the source"]


def made_binary(root: Path) -> list[str]:
    (root / "README.md").write_bytes(b"\0\1")
    return ["README.md: in the index, but to be skipped: binary"]


def made_a_link(root: Path) -> list[str]:
    (root / "README.md").unlink()
    (root / "README.md").symlink_to("package/one.py")
    return ["README.md: in the index, but to be skipped: symlink"]


def removed(root: Path) -> list[str]:
    shutil.rmtree(root)
    return [f"{root} does not exist"]


@pytest.mark.parametrize("change", [edited_unseen, added, deleted, renamed, ignored, made_binary, made_a_link, removed])
async def test_a_source_that_changed_since_the_job_is_found(verdex: Verdex, worker, repository, index, change):
    await index(repository)
    expected = change(repository)
    found = await verdex.verify(repository)
    assert (list(found.differences), found.differences_total) == (expected, len(expected))
    assert not found.ok
    if repository.exists():
        await index(repository)
        assert (await verdex.verify(repository)).ok


ONE = "(SELECT blob_id FROM files WHERE path = 'package/one.py')"
TWO = "(SELECT blob_id FROM files WHERE path = 'package/two.py')"
UNFOUND = "package/one.py: the chunk of lines 1-2 is not found by its words"
INDEX_LIES = {
    "a chunk is gone": (
        f"DELETE FROM chunks WHERE blob_id = {ONE}",
        ["chunks_total: ", "package/one.py: line 1 is in no chunk"]),
    "a chunk says something else": (
        f"UPDATE chunks SET content = 'def one():\n    return 9' WHERE blob_id = {ONE}",
        ["package/one.py: the chunk of lines 1-2 holds another text"]),
    "a chunk is said to be elsewhere": (
        f"UPDATE chunks SET start_line = 2, end_line = 3 WHERE blob_id = {ONE}",
        ["package/one.py: line 1 is in no chunk"]),
    "a chunk is there twice": (
        ("INSERT INTO chunks (blob_id, ordinal, start_line, end_line, kind, content, lexemes) "
        f"SELECT blob_id, 7, start_line, end_line, kind, content, lexemes FROM chunks WHERE blob_id = {ONE}"),
        ["chunks_total: ", "package/one.py: the chunk of lines 1-2 is out of place"]),
    "the chunks of two contents are exchanged": (
        ("UPDATE chunks SET content = other.content FROM chunks AS other "
        f"WHERE chunks.blob_id IN ({ONE}, {TWO}) AND other.blob_id = {ONE} + {TWO} - chunks.blob_id"),
        ["package/one.py: ", "package/two.py: "]),
    "a file has the content of another": (
        f"UPDATE files SET blob_id = {TWO} WHERE path = 'package/one.py'",
        ["chunks_total: ", "manifest_digest: ", "package/one.py: the index holds another content"]),
    "a content is taken for another": (
        f"UPDATE blobs SET content_hash = sha256('x') WHERE id = {ONE}",
        ["manifest_digest: ", "package/one.py: the index holds another content"]),
    "a content is lost": (
        f"DELETE FROM blobs WHERE id = {ONE}",
        ["manifest_digest: ", "package/one.py: the index holds another content"]),
    "a chunk has no words": (
        f"UPDATE chunks SET lexemes = '' WHERE blob_id = {ONE}", [UNFOUND]),
    "a word of a chunk is another": (
        f"UPDATE chunks SET lexemes = ts_delete(lexemes, 'return') || '''it''''s'':1A' WHERE blob_id = {ONE}",
        [UNFOUND]),
    "a chunk has one word more": (
        f"UPDATE chunks SET lexemes = lexemes || 'zeppelin:1C' WHERE blob_id = {ONE}", [UNFOUND]),
    "the words of a chunk weigh something else": (
        f"UPDATE chunks SET lexemes = setweight(lexemes, 'C') WHERE blob_id = {ONE}", [UNFOUND]),
    "the words of a chunk have no weight": (
        f"UPDATE chunks SET lexemes = strip(lexemes) WHERE blob_id = {ONE}", [UNFOUND]),
    "a chunk has another name": (
        f"UPDATE chunks SET symbol = 'another' WHERE blob_id = {ONE}", [UNFOUND]),
    "a file is gone": (
        "DELETE FROM files WHERE path = 'package/one.py'",
        ["files_indexed: the job says 3, the index 2", "chunks_total: ", "manifest_digest: ",
         "package/one.py: not in the index"]),
    "a file is there twice": (
        ("INSERT INTO files (manifest_id, ordinal, path, size, outcome, blob_id) "
        "SELECT manifest_id, 99, path, size, outcome, blob_id FROM files WHERE path = 'package/one.py'"),
        ["package/one.py: twice in the index", "files_indexed: the job says 3, the index 4", "manifest_digest: "]),
    "a file has another name": (
        "UPDATE files SET path = 'package/three.py' WHERE path = 'package/one.py'",
        ["manifest_digest: ", "package/three.py: in the index, but not in the source",
         "package/one.py: not in the index"]),
    "a file is said to be skipped": (
        "UPDATE files SET outcome = 'skipped', reason = 'binary', blob_id = NULL WHERE path = 'package/one.py'",
        ["files_indexed: ", "files_skipped: ", "chunks_total: ", "manifest_digest: ",
         "package/one.py: not in the index"]),
    "a generation was never published": (
        "UPDATE repositories SET generation = 7", ["generation: the job says 1, the index 7"]),
    "nothing is published": (
        "UPDATE repositories SET generation = 0, manifest_id = NULL", ["nothing is published"]),
    "all tables are empty": ("TRUNCATE repositories, manifests, files, blobs, chunks", ["nothing is published"]),
    "there is no schema": ("DROP SCHEMA public CASCADE; CREATE SCHEMA public", ["nothing is published"]),
}  # fmt: skip


@pytest.mark.parametrize("lie", INDEX_LIES)
async def test_an_index_that_was_tampered_with_is_found(verdex: Verdex, worker, repository, index, project, lie):
    statement, expected = INDEX_LIES[lie]
    await index(repository)
    await tamper(project, statement)
    found = await verdex.verify(repository)
    assert len(found.differences) == found.differences_total == len(expected), found.differences
    assert all(map(str.startswith, found.differences, expected)), found.differences


async def test_an_index_of_an_older_verdex_is_not_asked_for_the_words_that_it_does_not_have(
    verdex: Verdex, worker, repository, index, project
):
    await index(repository)
    await tamper(project, "UPDATE manifests SET pipeline_version = 1")
    await tamper(project, "ALTER TABLE chunks DROP COLUMN lexemes")
    assert (await verdex.verify(repository)).ok


@pytest.mark.parametrize(
    ("lie", "expected"),
    [
        ("generation = 9", ["generation: the job says 9, the index 1"]),
        ("chunks_total = 99", ["chunks_total: the job says 99, the index 3"]),
        (
            "files_indexed = 4, files_added = 4, files_total = 4, files_done = 4",
            ["files_indexed: the job says 4, the index 3"],
        ),
        ("files_skipped = 1, files_total = 4, files_done = 4", ["files_skipped: the job says 1, the index 0"]),
        ("manifest_digest = repeat('e', 64)", [f"manifest_digest: the job says {'e' * 64}, the index "]),
    ],
)
async def test_a_row_that_claims_something_else_is_found(
    verdex: Verdex, server: Server, worker, repository, index, lie, expected
):
    await index(repository)
    await tamper(server.registry, f"UPDATE indexing_jobs SET {lie}")
    found = await verdex.verify(repository)
    assert len(found.differences) == len(expected)
    assert all(map(str.startswith, found.differences, expected)), found.differences


async def test_a_search_that_is_led_to_an_older_index_is_found(verdex: Verdex, worker, repository, index, project):
    old = await index(repository)
    (repository / "README.md").write_text("# Another\n")
    new = await index(repository)
    await tamper(
        project, "UPDATE repositories SET generation = 1, manifest_id = (SELECT id FROM manifests WHERE generation = 1)"
    )
    found = await verdex.verify(repository)
    assert found.differences[0] == f"job_id: the job says {new.job_id}, the index {old.job_id}"
    assert found.differences[1] == "generation: the job says 2, the index 1"
    assert found.differences[-1] == "README.md: the index holds another content"


async def test_a_database_that_is_gone_is_found_and_not_made_again(
    verdex: Verdex, server: Server, worker, repository, index
):
    await index(repository)
    await server.forget("cb_proj_default")
    async with server.registry.connection() as connection:
        await connection.execute("DROP DATABASE cb_proj_default WITH (FORCE)")
    for _ in range(2):
        found = await verdex.verify(repository)
        assert list(found.differences) == [
            'nothing is published: PostgreSQL: database "cb_proj_default" does not exist'
        ]
        assert (found.files, found.chunks, found.manifest_digest) == (0, 0, None)


async def test_only_the_first_of_many_differences_are_named(verdex: Verdex, worker, repository, index):
    await index(repository)
    for number in range(KEPT_DIFFERENCES + 5):
        (repository / f"new_{number}.py").write_text(f"new = {number}\n")
    found = await verdex.verify(repository)
    assert (len(found.differences), found.differences_total) == (KEPT_DIFFERENCES, KEPT_DIFFERENCES + 5)


async def test_a_newer_job_that_failed_is_told_but_makes_nothing_untrue(
    verdex: Verdex, run_worker, repository, finished
):
    class Failing(IndexingActivities):
        @activity.defn
        async def publish(self, manifest: Manifest) -> IndexResult:
            return IndexResult(status="failed", errors=["disk full"])

    async with run_worker():
        completed = await finished((await verdex.index(repository)).job_id)
    async with run_worker(Failing):
        failed = await finished((await verdex.index(repository)).job_id)
    found = await verdex.verify(repository)
    assert (found.ok, found.job_id) == (True, completed.job_id)
    assert list(found.warnings) == [f"the newest job, {failed.job_id}, is failed: disk full"]


async def test_a_newer_job_that_runs_is_told(verdex: Verdex, run_worker, repository, index, finished, hold, gate):
    async with run_worker():
        await index(repository)
    async with run_worker(hold("publish")):
        started = await verdex.index(repository)
        await gate.reached()
        found = await verdex.verify(repository)
        gate.open()
        await finished(started.job_id)
    assert (found.ok, list(found.warnings)) == (True, [f"the newest job, {started.job_id}, is running"])


async def test_a_file_of_which_the_job_says_that_it_failed_is_no_difference(
    verdex: Verdex, run_worker, repository, index
):
    class Partial(IndexingActivities):
        @activity.defn
        async def publish(self, manifest: Manifest) -> IndexResult:
            await fail_file(self._server, manifest, "README.md", "no")
            return await super().publish(manifest)

    async with run_worker(Partial):
        assert (await index(repository)).result_status == "partial"
    found = await verdex.verify(repository)
    assert (found.ok, found.files) == (True, 2)


async def test_a_claim_that_changes_while_the_index_is_opened_is_read_again(
    verdex: Verdex, server: Server, worker, repository, index, project, eventually
):
    await index(repository)
    async with project.transaction() as connection:
        await connection.execute("LOCK repositories")

        async def is_held_up() -> bool:
            return bool(await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

        verifying = asyncio.create_task(verdex.verify(repository))
        await eventually(is_held_up)
        await tamper(server.registry, "UPDATE indexing_jobs SET chunks_total = 99")
    assert list((await verifying).differences) == ["chunks_total: the job says 99, the index 3"]


async def test_repositories_and_projects_are_told_apart(verdex: Verdex, worker, repository, index, tmp_path):
    await index(repository)
    other = tmp_path / "repository2"
    other.mkdir()
    for path, project_id in [(other, "default"), (repository, "shop"), (repository / "package", "default")]:
        with pytest.raises(JobNotFound, match="no job has completed for"):
            await verdex.verify(path, project_id=project_id)


async def test_where_no_job_has_completed_there_is_nothing_to_verify(verdex: Verdex, server: Server, tmp_path):
    with pytest.raises(JobNotFound, match="there is nothing to verify"):
        await verdex.verify(tmp_path)
    async with server.registry.connection() as connection:
        assert not await connection.fetchval("SELECT true FROM pg_database WHERE datname = 'cb_proj_default'")


async def test_what_can_name_no_repository_or_project_is_refused(verdex: Verdex, tmp_path):
    with pytest.raises(RepositoryError):
        await verdex.verify("/x\0")
    with pytest.raises(ProjectNameInvalid):
        await verdex.verify(tmp_path, project_id="a:b")
