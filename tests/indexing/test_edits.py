"""Whatever is done to a tree between two jobs, the second sees exactly that. hypothesis does it.

The real scan, shards and publish, over a real database; what they must find is known from the edits alone.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.properties import bounded
from tests.storage.conftest import new_database
from verdex.contracts import IndexResult, Scan, Shard
from verdex.indexing.pool import ChunkPool
from verdex.indexing.scan import scan_repository
from verdex.indexing.shard import index_shard
from verdex.local.postgres import Postgres
from verdex.sources import fingerprint
from verdex.sources.paths import to_text
from verdex.storage.database import Database
from verdex.storage.manifests import Manifests
from verdex.storage.publish import publish

LIMIT: Final = 100
"""Bytes of the largest file that is indexed."""
SETTLING_NS: Final = 20_000_000
"""In place of three seconds, so that both kinds of file are met: too young to be trusted, and old enough."""

MOST_EDITS: Final = 3
"""Between two jobs."""

Content = bytes

paths = st.sampled_from(
    [b"a.py", b"b", b"d/a.py", b"d/e/f/b.c", b"d/lost.log", b"new\nline", b"latin-\xe9/x", b"back\\slash"]
)
texts: st.SearchStrategy[Content] = st.sampled_from([b"one = 1\n", b"two = 2\n", b"x" * LIMIT, b"\xff\n"])
others: st.SearchStrategy[Content] = st.sampled_from([b"", b"\n \n", b"bin\0ary", b"x" * (LIMIT + 1)])
contents = st.one_of(texts, texts, texts, others)
rules: st.SearchStrategy[Content] = st.sampled_from([b"*.log\n", b"d/\n", b"# nothing\n", b"*\n!a.py\n"])


class EditedTree(RuleBasedStateMachine):
    """A repository that is edited and indexed in turn."""

    database: Database
    pool: ChunkPool
    run: Callable[[Awaitable[Any]], Any]

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="verdex-tree-")).resolve()
        self.files: dict[bytes, Content] = {}
        self.published: dict[str, Content] = {}
        self.young: set[str] = set()
        self.touched: set[str] = set()
        self.edits = 0
        """Since the last job."""

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    def on_disk(self, path: bytes) -> Path:
        """The place of a file that is about to be edited."""
        self.edits += 1
        self.touched.add(to_text(path))
        return self.root / os.fsdecode(path)

    def any_file(self, data: st.DataObject) -> bytes:
        return data.draw(st.sampled_from(sorted(self.files)))

    @initialize(content=texts)
    def start(self, content: Content) -> None:
        """Twice indexed, so that most files are old enough to be trusted."""
        for path in (b"a.py", b"b", b"d/a.py", b"d/lost.log"):
            self.write(path, content)
        self.index()
        self.index()

    # Edits.

    @rule(path=paths, content=contents)
    def write(self, path: bytes, content: Content) -> None:
        """A new file, another content, or the same again."""
        place = self.on_disk(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        self.files[path] = content

    @rule(content=rules)
    def ignore(self, content: Content) -> None:
        self.write(b".gitignore", content)

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        path = self.any_file(data)
        self.on_disk(path).unlink()
        del self.files[path]

    @precondition(lambda self: self.files)
    @rule(data=st.data(), new=paths)
    def rename(self, data: st.DataObject, new: bytes) -> None:
        """Also over another file; a rename keeps the time of the last change."""
        old = self.any_file(data)
        place = self.on_disk(new)
        place.parent.mkdir(parents=True, exist_ok=True)
        self.on_disk(old).rename(place)
        self.files[new] = self.files.pop(old)

    @precondition(lambda self: self.files)
    @rule(data=st.data(), mode=st.sampled_from([0o600, 0o644, 0o755]))
    def chmod(self, data: st.DataObject, mode: int) -> None:
        self.on_disk(self.any_file(data)).chmod(mode)

    @precondition(lambda self: self.files)
    @rule(data=st.data(), seconds=st.sampled_from([0, 1_000_000_000, 2_000_000_000]))
    def touch(self, data: st.DataObject, seconds: int) -> None:
        os.utime(self.on_disk(self.any_file(data)), (seconds, seconds))

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def change_in_secret(self, data: st.DataObject) -> None:
        """As many bytes as before, and the time of the last change put back."""
        path = self.any_file(data)
        place, changed = self.on_disk(path), self.files[path].swapcase()
        before = place.stat()
        place.write_bytes(changed)
        os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
        self.files[path] = changed

    # Jobs.

    @invariant()
    def index_after_some_edits(self) -> None:
        if self.edits >= MOST_EDITS:
            self.index()

    @rule()
    def index(self) -> None:
        self.edits = 0
        self.run(self.index_and_check())

    async def index_and_check(self) -> None:
        job_id = str(uuid4())
        scan = await scan_repository(self.database, job_id, str(self.root), force_reindex=False, max_file_bytes=LIMIT)
        await self.check_plan(scan)
        for number in scan.shards:
            shard = Shard(manifest=scan.manifest, shard=number)
            await index_shard(self.database, self.pool, shard, max_file_bytes=LIMIT, on_batch=nothing)
        result = await publish(self.database, scan.manifest.manifest_id, max_failed_ratio=0.5)
        outcomes = {one.path: one.outcome for one in await Manifests(self.database).outcomes(job_id)}
        seen = {to_text(path): content for path, content in self.files.items() if not self.is_ignored(path)}
        assert outcomes == {path: outcome(content) for path, content in seen.items()}
        indexed = {path: content for path, content in seen.items() if outcome(content) == "indexed"}
        self.check(result, indexed, len(seen))
        if indexed:
            await self.published_as(indexed, scan)

    async def check_plan(self, scan: Scan) -> None:
        """A file that nobody touched, and that was old enough when it was read, is not read again."""
        left = set()
        for shard in scan.shards:
            files = await Manifests(self.database).files_left(scan.manifest.manifest_id, shard)
            assert files, "a shard without files"
            left |= {file.path for file in files}
        assert left <= self.touched | self.young

    def check(self, result: IndexResult, indexed: dict[str, Content], total: int) -> None:
        if not indexed:
            assert (result.status, result.error_type) == ("failed", "NothingToIndex")
            return
        both = indexed.keys() & self.published.keys()
        changed = sum(indexed[path] != self.published[path] for path in both)
        assert (result.status, result.files_total, result.files_failed) == ("success", total, 0)
        assert (result.files_indexed, result.files_skipped) == (len(indexed), total - len(indexed))
        assert (result.files_changed, result.files_unchanged) == (changed, len(both) - changed)
        assert result.files_added == len(indexed) - len(both)
        assert result.files_deleted == len(self.published) - len(both)

    async def published_as(self, indexed: dict[str, Content], scan: Scan) -> None:
        self.published, self.touched = indexed, set()
        query = "SELECT path FROM files WHERE manifest_id = $1 AND fingerprint IS NULL"
        async with self.database.connection() as connection:
            self.young = {row["path"] for row in await connection.fetch(query, scan.manifest.manifest_id)}
        ignored = {to_text(path) for path in self.files if self.is_ignored(path)}
        self.young |= ignored  # their first reading is still to come

    def is_ignored(self, path: bytes) -> bool:
        match self.files.get(b".gitignore"):
            case b"*.log\n":
                return path.endswith(b".log")
            case b"d/\n":
                return path.startswith(b"d/")
            case b"*\n!a.py\n":
                return path != b"a.py"
            case b"*\n!A.PY\n":  # changed in secret
                return True
            case _:
                return False


def outcome(content: Content) -> str:
    return "skipped" if len(content) > LIMIT or b"\0" in content or not content.strip() else "indexed"


async def nothing(_: int) -> None:
    return


@asynccontextmanager
async def resources(postgres: Postgres) -> AsyncIterator[None]:
    async with new_database(postgres, "project") as database:
        EditedTree.database = database
        yield


@pytest.fixture
def machine(postgres: Postgres, pool: ChunkPool, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[EditedTree]]:
    """Over an event loop of its own: a state machine is not asynchronous."""
    monkeypatch.setattr(fingerprint, "SETTLING_NS", SETTLING_NS)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/nowhere")
    loop = asyncio.new_event_loop()
    opened = resources(postgres)
    loop.run_until_complete(opened.__aenter__())
    EditedTree.pool, EditedTree.run = pool, staticmethod(loop.run_until_complete)
    yield EditedTree
    loop.run_until_complete(opened.__aexit__(None, None, None))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def test_a_job_sees_exactly_what_was_edited_since_the_last(machine: type[EditedTree]):
    run_state_machine_as_test(machine, settings=bounded(30, steps=20))
