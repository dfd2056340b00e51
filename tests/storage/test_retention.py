"""What is old and unneeded goes; what a job or a search needs stays, whoever is first."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import pytest

from tests.storage.conftest import File, Files, Line, Tree, failure, job_record, new_database, success
from verdex.contracts import TERMINAL, IndexResult, JobStatus, Manifest, Shard
from verdex.errors import PermanentError, StateRefused
from verdex.indexing.pool import ChunkPool, ParserCrashed, Source
from verdex.indexing.scan import scan_repository
from verdex.indexing.shard import index_shard
from verdex.local.postgres import Postgres
from verdex.storage import blobs, retention
from verdex.storage.claims import Repository, claims
from verdex.storage.copying import EncodedChunk, encoded
from verdex.storage.database import Connection, Database, Server
from verdex.storage.registry import Registry
from verdex.storage.retention import collect_blobs, collect_manifests, remove_old_jobs, was_removed

NOW = datetime.now(UTC)
NO_TIME = timedelta(0)
WEEK = timedelta(days=7)
RESULTS = {"completed": success, "failed": lambda: failure("trouble")}


@pytest.fixture
async def project(postgres: Postgres) -> AsyncIterator[Database]:
    """A database that this test alone collects in."""
    async with new_database(postgres, "project") as database:
        yield database


@pytest.fixture
def collect(server: Server, project: Database) -> Callable[[], Awaitable[tuple[int, int]]]:
    """Collect without any retention time; the numbers of manifests and of blobs."""

    async def run() -> tuple[int, int]:
        manifests = await collect_manifests(project, server.registry, NO_TIME)
        return manifests, await collect_blobs(project)

    return run


async def job(
    registry: Registry, status: JobStatus = "completed", *, age: float = 10, job_id: str | None = None, **values: Any
) -> str:
    """A job that was created `age` days ago, and has ended, if it has, at once or `ended` days ago."""
    job_id, at = job_id or str(uuid4()), NOW - timedelta(days=age)
    ended_at = NOW - timedelta(days=values.pop("ended", age))
    values |= {"created_at": at, "started_at": at}
    if status in TERMINAL:
        values |= {"completed_at": ended_at, "result": RESULTS[status]() if status in RESULTS else None}
    if status == "blocked":
        values["status_message"] = "held up"
    await registry.record(job_record(status, job_id=job_id, **values))
    return job_id


async def ids(server: Server, table: str = "indexing_jobs", column: str = "id") -> set[str]:
    async with server.registry.connection() as connection:
        return {str(row[0]) for row in await connection.fetch(f"SELECT DISTINCT {column} FROM {table}")}


async def count(database: Database, table: str) -> int:
    async with database.connection() as connection:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))


async def ready(tree: Tree, files: Files, job_id: str | None = None) -> Manifest:
    """A manifest that waits for nothing but to be published."""
    manifest = await tree.open(job_id=job_id)
    await tree.plan(manifest, files)
    await tree.settle(manifest, files)
    return manifest


async def test_jobs_that_ended_long_ago_go_with_their_events(server, registry):
    for status in ("completed", "failed", "cancelled"):
        await job(registry, status, age=8)
    kept = {await job(registry, age=6), await job(registry, age=5)}
    assert await remove_old_jobs(server.registry, WEEK) == 3
    assert await ids(server) == await ids(server, "job_events", "job_id") == kept


async def test_the_newest_job_of_each_repository_stays(server, registry):
    newest = set()
    for values in ({}, {"project_id": "other"}, {"repo_path": "/srv/other"}):
        await job(registry, "cancelled", age=12, **values)
        newest.add(await job(registry, "cancelled", age=11, **values))
    assert await remove_old_jobs(server.registry, WEEK) == 3
    assert await ids(server) == newest
    assert await remove_old_jobs(server.registry, NO_TIME) == 0


async def test_the_newest_that_completed_stays_behind_newer_ones_that_did_not(server, registry):
    await job(registry, "completed", age=14)
    completed = await job(registry, "completed", age=13)
    await job(registry, "failed", age=12)
    newest = await job(registry, "failed", age=11)
    assert await remove_old_jobs(server.registry, NO_TIME) == 2
    assert await ids(server) == {completed, newest}


async def test_the_one_that_completed_last_stays_though_newer_ones_did_before(server, registry):
    reset, newest = await job(registry, age=14, ended=8), await job(registry, age=12)
    assert await remove_old_jobs(server.registry, WEEK) == 0
    assert await ids(server) == {reset, newest}
    assert (await claims(server.registry, [Repository("default", "/srv/repository")])).popitem()[1].job_id == reset


@pytest.mark.parametrize("status", ["running", "blocked", "pending"])
async def test_a_job_that_has_not_ended_stays_however_old(server, registry, status):
    unfinished, newest = await job(registry, status, age=100), await job(registry, age=1)
    assert await remove_old_jobs(server.registry, NO_TIME) == 0
    assert await ids(server) == {unfinished, newest}


async def test_of_jobs_of_the_same_moment_one_stays(server, registry):
    for _ in range(3):
        await job(registry, age=10)
    assert await remove_old_jobs(server.registry, NO_TIME) == 2


async def test_a_job_that_was_removed_never_comes_back(server, registry):
    removed, newest = await job(registry, age=10), await job(registry, age=9)
    await remove_old_jobs(server.registry, WEEK)
    for status in ("running", "completed", "failed"):
        with pytest.raises(StateRefused, match="had ended and was removed"):
            await job(registry, status, job_id=removed)
    assert await ids(server) == {newest}
    assert [await was_removed(server.registry, job_id) for job_id in (removed, newest)] == [True, False]


async def test_what_searches_see_is_never_collected(tree: Tree, collect):
    await tree.index({"a": "1", "b": "2", "c": File(outcome="skipped")})
    await tree.index({"a": "1", "b": "changed"})
    before = await tree.visible()
    assert before == {"a": ["1"], "b": ["changed"]}
    assert await collect() == (1, 1)
    assert await tree.visible() == before
    assert [await count(tree.database, table) for table in ("files", "blobs", "chunks")] == [2, 2, 4]
    assert await collect() == (0, 0)
    assert (await tree.index({"a": "1", "b": "changed", "c": "3"})).files_unchanged == 2


class Twin(Tree):
    """A repository whose contents others have as well."""

    def text(self, content: str) -> str:
        return f"shared\n{content}"


async def test_a_blob_stays_while_any_repository_holds_it(project: Database, collect):
    one, other = Twin(project), Twin(project)
    await one.index({"a": "1", "b": "2"})
    await other.index({"c": "1"})
    await one.index({"b": "2"})
    assert await collect() == (1, 0)
    assert (await one.visible(), await other.visible()) == ({"b": ["2"]}, {"c": ["1"]})
    await other.index({"c": "3"})
    assert await collect() == (1, 1)
    assert (await one.visible(), await other.visible()) == ({"b": ["2"]}, {"c": ["3"]})


async def test_what_a_forced_job_made_takes_the_place_of_what_was_there(tree: Tree, collect):
    files: Files = {"a": "1", "b": "2"}
    await tree.index(files)
    await tree.index(files, force=True)
    assert await collect() == (1, 2)
    assert await tree.visible() == {"a": ["1"], "b": ["2"]}
    await tree.index(files)
    assert await collect() == (1, 0)
    assert await tree.visible() == {"a": ["1"], "b": ["2"]}


async def test_a_manifest_stays_as_long_as_the_row_of_its_job(tree: Tree, server, registry, collect):
    failed = await job(registry, "failed", age=10)
    manifest = await ready(tree, {"a": "1", "b": File(outcome="failed")}, failed)
    assert (await tree.publish(manifest, ratio=0)).status == "failed"
    assert await collect() == (0, 0)
    assert [file.outcome for file in await tree.manifests.outcomes(failed)] == ["indexed", "failed"]
    await job(registry, age=1)
    await remove_old_jobs(server.registry, WEEK)
    assert await collect() == (1, 1)
    assert await tree.manifests.outcomes(failed) == []


async def test_what_a_job_needs_that_has_not_ended_stays(tree: Tree, server, registry, collect):
    await tree.index({"a": "old"})
    running = await job(registry, "running", age=100)
    manifest = await tree.open(job_id=running)
    assert await collect() == (0, 0)
    await tree.plan(manifest, {"a": "1", "b": "2"})
    assert await collect() == (0, 0)
    await tree.settle(manifest, {"a": "1", "b": "2"})
    assert await collect() == (0, 0)
    assert (await tree.publish(manifest)).files_indexed == 2
    assert await collect() == (1, 1)
    assert await tree.visible() == {"a": ["1"], "b": ["2"]}


async def test_a_young_manifest_without_a_row_stays_for_the_retention_time(tree: Tree, server):
    await ready(tree, {"a": "1"})
    for days, collected in ((1, 0), (0, 1)):
        assert await collect_manifests(tree.database, server.registry, timedelta(days=days)) == collected


async def test_a_zombie_whose_manifest_was_collected_is_told(tree: Tree, collect):
    planned, opened = await ready(tree, {"a": "1"}), await tree.open()
    assert await collect() == (2, 1)
    with pytest.raises(PermanentError, match="given up"):
        await tree.plan(opened, {"a": "1"})
    async with tree.database.transaction() as connection:
        with pytest.raises(PermanentError, match="given up"):
            await blobs.hold(connection, planned.manifest_id, {})


@asynccontextmanager
async def locked(database: Database, query: str, *arguments: object) -> AsyncIterator[Connection]:
    """Another connection, in the middle of a transaction."""
    async with database.transaction() as connection:
        await connection.execute(query, *arguments)
        yield connection


async def blocked(connection: Connection) -> None:
    """Wait until somebody waits for `connection`."""
    query = "SELECT true FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
    async with asyncio.timeout(30):
        while not await connection.fetchval(query):
            await asyncio.sleep(0.01)


@pytest.fixture
async def orphan(tree: Tree) -> tuple[blobs.BlobKey, int]:
    """A blob that no manifest holds."""
    key = tree.key(File("orphan"))
    async with tree.database.transaction() as connection:
        ids = await blobs.store(connection, (await tree.open()).manifest_id, {key: encoded(tree.lines(File("orphan")))})
    return key, ids[key]


async def test_a_blob_that_a_job_is_about_to_hold_is_not_collected(tree: Tree, orphan):
    manifest, (key, blob_id) = await tree.open(), orphan
    known = await blobs.known(tree.database, manifest.manifest_id, [key])
    async with tree.database.transaction() as connection:
        assert await blobs.hold(connection, manifest.manifest_id, known) == {key: blob_id}
        assert await collect_blobs(tree.database) == 0
    assert await collect_blobs(tree.database) == 1


async def test_a_job_waits_for_the_collector_and_makes_anew_what_is_gone(tree: Tree, orphan):
    manifest, (key, blob_id) = await tree.open(), orphan
    known = await blobs.known(tree.database, manifest.manifest_id, [key])

    async def hold_or_store() -> tuple[dict[blobs.BlobKey, int], dict[blobs.BlobKey, int]]:
        async with tree.database.transaction() as connection:
            held = await blobs.hold(connection, manifest.manifest_id, known)
            return held, await blobs.store(connection, manifest.manifest_id, {key: encoded([Line(1, "anew")])})

    async with locked(tree.database, "DELETE FROM blobs WHERE id = $1", blob_id) as collector:
        waiting = asyncio.create_task(hold_or_store())
        await blocked(collector)
    held, stored = await waiting
    assert held == {}
    assert stored[key] != blob_id


async def test_a_blob_that_is_collected_while_it_is_stored_is_made_anew(tree: Tree, orphan):
    manifest, (key, blob_id) = await tree.open(), orphan

    async def store() -> dict[blobs.BlobKey, int]:
        async with tree.database.transaction() as connection:
            return await blobs.store(connection, manifest.manifest_id, {key: encoded([Line(1, "anew")])})

    async with locked(tree.database, "SELECT FROM blobs WHERE id = $1 FOR UPDATE", blob_id) as collector:
        waiting = asyncio.create_task(store())
        await blocked(collector)
        await collector.execute("DELETE FROM blobs WHERE id = $1", blob_id)
    assert (await waiting)[key] != blob_id
    assert await count(tree.database, "chunks") == 1


async def test_a_blob_that_is_held_since_the_collector_found_it_stays(tree: Tree, orphan):
    found = await retention._unheld(tree.database, 0)
    assert found == [orphan[1]]
    await ready(tree, {"a": "orphan"})
    assert await retention._remove_blobs(tree.database, found) == 0
    assert await count(tree.database, "blobs") == 1


@pytest.mark.parametrize("lock", ["UPDATE", "KEY SHARE"])
async def test_a_manifest_that_somebody_works_on_is_left_for_the_next_time(tree: Tree, collect, lock):
    manifest = await ready(tree, {"a": "1"})
    async with locked(tree.database, f"SELECT FROM manifests WHERE id = $1 FOR {lock}", manifest.manifest_id):
        assert await collect() == (0, 0)
    assert await collect() == (1, 1)


async def test_a_manifest_that_is_published_since_the_collector_found_it_stays(tree: Tree, collect):
    manifest = await ready(tree, {"a": "1"})
    assert list(await retention._unpublished(tree.database, NO_TIME)) == [manifest.manifest_id]
    await tree.publish(manifest)
    assert await retention._remove_manifest(tree.database, manifest.manifest_id) == 0
    assert await tree.visible() == {"a": ["1"]}


async def test_what_a_plan_takes_blobs_from_is_not_replaced_meanwhile(tree: Tree, collect):
    await tree.index({"a": "1"})
    manifest, zombie = await tree.open(), await ready(tree, {"b": "2"})
    query = "SELECT FROM repositories WHERE path = $1 FOR UPDATE"  # as one that publishes
    async with locked(tree.database, query, tree.path) as publishing:
        planning = asyncio.create_task(tree.plan(manifest, {"a": "1"}))
        await blocked(publishing)
    await planning
    await tree.publish(zombie)
    assert await tree.settle(manifest, {}) == []
    assert (await tree.publish(manifest)).error_type == "Superseded"


async def test_more_blobs_than_a_batch_are_collected(tree: Tree, collect, monkeypatch):
    monkeypatch.setattr(retention, "BATCH_BLOBS", 2)
    await tree.index({name: name for name in "abcdefg"})
    await tree.index({"d": "d"})
    assert await collect() == (1, 6)
    assert await tree.visible() == {"d": ["d"]}


class Collecting(ChunkPool):
    """Parses while the collector runs."""

    collect: Callable[[], Awaitable[tuple[int, int]]]
    found: list[tuple[int, int]]

    async def chunk(self, sources: Sequence[Source]) -> list[list[EncodedChunk] | ParserCrashed]:
        self.found.append(await self.collect())
        return await super().chunk(sources)


async def test_a_blob_that_is_collected_in_the_middle_of_a_batch_is_made_anew(
    project: Database, registry, collect, pool: ChunkPool, repository: Path
):
    async def index(job_id: str, pool: ChunkPool) -> IndexResult:
        scan = await scan_repository(project, job_id, str(repository), force_reindex=False, max_file_bytes=10_000)
        for shard in scan.shards:
            await index_shard(
                project, pool, Shard(manifest=scan.manifest, shard=shard), max_file_bytes=10_000, on_batch=nothing
            )
        return await Tree(project).publish(scan.manifest)

    async def nothing(_: int) -> None:
        return

    one, two = repository / "package" / "one.py", repository / "package" / "two.py"
    text = one.read_text()
    await index(str(uuid4()), pool)
    one.unlink()
    await index(str(uuid4()), pool)
    one.write_text(text)  # its blob is there, but no published manifest holds it
    two.write_text("two = 2\n")
    collecting = Collecting(1)
    collecting.collect, collecting.found = collect, []
    result = await index(await job(registry, "running"), collecting)
    collecting.close()
    assert collecting.found == [(1, 1), (0, 0)]
    assert (result.status, result.files_indexed, result.chunks_created) == ("success", 3, 2)
    assert await count(project, "blobs") == 4  # and that of two.py as it was


@pytest.mark.parametrize("seed", range(6))
async def test_after_any_sequence_of_jobs_and_collections_searches_see_what_was_published(
    project: Database, server, registry, collect, seed
):
    random, days = Random(seed), iter(range(1000, 0, -1))  # noqa: S311
    trees = [Twin(project) for _ in range(3)]
    expected: dict[Tree, dict[str, list[str]]] = {tree: {} for tree in trees}
    running: dict[Tree, tuple[Manifest, Files]] = {}

    async def begin(tree: Tree) -> None:
        files = {path: str(random.randrange(6)) for path in "abcde" if random.random() < 0.7} or {"a": "0"}
        job_id = await job(registry, "running", age=next(days), repo_path=tree.path)
        manifest = await tree.open(job_id=job_id, force=random.random() < 0.2, version=random.choice([1, 1, 2]))
        await tree.plan(manifest, files)
        running[tree] = manifest, files

    async def end(tree: Tree) -> None:
        manifest, files = running.pop(tree)
        status: JobStatus = random.choice(("completed", "completed", "failed", "cancelled"))
        if status == "completed":
            await tree.settle(manifest, files)
            assert (await tree.publish(manifest)).status == "success"
            expected[tree] = {path: [str(content)] for path, content in files.items()}
        await job(registry, status, job_id=manifest.job_id, age=next(days), repo_path=tree.path)

    for _ in range(80):
        tree = random.choice(trees)
        if random.random() < 0.3:
            await remove_old_jobs(server.registry, NO_TIME)
            await collect()
        elif tree in running and random.random() < 0.5:
            await tree.settle(*running[tree])
        else:
            await (end if tree in running else begin)(tree)
        assert {tree: await tree.visible() for tree in trees} == expected
    await remove_old_jobs(server.registry, NO_TIME)
    await collect()
    assert {tree: await tree.visible() for tree in trees} == expected
    assert await count(project, "manifests") <= 3 * len(trees)  # the published, the newest, and the running one
    assert await retention._unheld(project, 0) == []
