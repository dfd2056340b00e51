"""Plans: what the scan saw, what of it is known already, and how the rest is dealt out."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import psutil
import pytest

from tests.storage.conftest import File, Files, Tree, new_database
from verdex.contracts import FileOutcome
from verdex.errors import StateRefused
from verdex.local.postgres import Postgres
from verdex.storage.manifests import FILE_COST, SHARD_BYTES, SHARDS, IndexedFile, ScannedFile, settle


async def left(tree: Tree, files: Files, *, force: bool = False) -> list[str]:
    """The paths that the next job has to read."""
    manifest = await tree.open(force=force)
    await tree.plan(manifest, files)
    return await tree.settle(manifest, files)


async def test_a_job_has_one_manifest(tree: Tree):
    job_id = str(uuid4())
    manifest = await tree.open(job_id=job_id)
    assert (manifest.job_id, manifest.repo_path, manifest.database_name) == (job_id, tree.path, tree.database.name)
    opened = await asyncio.gather(*(tree.open(job_id=job_id) for _ in range(5)))
    assert opened == [manifest] * 5
    assert await tree.open() != manifest


async def test_a_manifest_keeps_the_generation_that_its_job_started_at(tree: Tree):
    job_id = str(uuid4())
    manifest = await tree.open(job_id=job_id)
    await tree.index({"a": "1"})
    await tree.open(job_id=job_id)
    await tree.plan(manifest, {"a": "1"})
    assert (await tree.publish(manifest)).error_type == "Superseded"


async def test_a_plan_is_kept_when_the_scan_is_stored_again(tree: Tree):
    manifest = await tree.open()
    assert not await tree.manifests.is_planned(manifest.manifest_id)
    await tree.plan(manifest, {"a": "1", "b": "2"})
    assert await tree.manifests.is_planned(manifest.manifest_id)
    await tree.plan(manifest, {"c": "3"})
    assert await tree.manifests.progress(manifest.manifest_id) == (2, 0)
    assert await tree.settle(manifest, {"a": "1", "b": "2"}) == ["a", "b"]
    assert await tree.manifests.progress(manifest.manifest_id) == (2, 2)
    assert await tree.manifests.shards_left(manifest.manifest_id) == []


async def test_attempts_at_the_same_time_store_one_plan(tree: Tree):
    manifest = await tree.open()
    await asyncio.gather(*(tree.plan(manifest, {"a": "1", "b": "2"}) for _ in range(3)))
    assert await tree.manifests.progress(manifest.manifest_id) == (2, 0)


async def test_a_plan_that_breaks_off_leaves_the_manifest_open_and_its_own_cause(tree: Tree):
    async def broken() -> AsyncIterator[ScannedFile]:
        yield ScannedFile("a", 1, None, None, None)
        raise PermissionError(13, "Permission denied", "/srv/secret")

    manifest = await tree.open()
    with pytest.raises(PermissionError, match="/srv/secret"):
        await tree.manifests.plan(manifest.manifest_id, broken())
    assert not await tree.manifests.is_planned(manifest.manifest_id)
    assert await tree.manifests.progress(manifest.manifest_id) == (0, 0)
    await tree.plan(manifest, {"a": "1"})


async def test_what_has_the_same_fingerprint_keeps_its_outcome(tree: Tree):
    skipped, failed = File("s", outcome="skipped"), File("f", outcome="failed")
    files: Files = {"a": "1", "b": skipped, "c": failed, "d": File("4", fingerprinted=False), "e": "5"}
    assert (await tree.index(files)).status == "partial"
    assert await left(tree, {**files, "e": "changed", "n": "new"}) == ["c", "d", "e", "n"]


async def test_a_fingerprint_speaks_of_one_path(tree: Tree):
    await tree.index({"a": "1"})
    assert await left(tree, {"b": "1"}) == ["b"]


async def test_force_reads_everything(tree: Tree):
    files: Files = {"a": "1", "b": File(outcome="skipped")}
    await tree.index(files)
    assert await left(tree, files, force=True) == ["a", "b"]
    assert await left(tree, files) == []


async def test_the_work_of_a_job_that_did_not_publish_is_known_by_its_contents(tree: Tree):
    files: Files = {"a": "1"}
    assert await left(tree, files) == ["a"]
    assert await left(tree, files) == ["a"]  # read again: only what is published is trusted unread
    result = await tree.index(files)
    assert (result.chunks_created, result.chunks_total) == (0, 2)


async def test_a_file_that_the_scan_settled_is_left_alone(tree: Tree):
    files: Files = {"a": "1", "b": File("2", outcome="skipped", by_scan=True)}
    await tree.index({"a": "1", "b": "2"})
    assert await left(tree, files) == []
    assert (await tree.index(files)).files_skipped == 1


async def test_a_settled_file_keeps_its_outcome(tree: Tree):
    manifest = await tree.open()
    await tree.plan(manifest, {"a": "1"})
    await tree.settle(manifest, {"a": File("1", outcome="skipped")})
    async with tree.database.transaction() as connection:
        await settle(connection, manifest.manifest_id, [IndexedFile(0, 7, None, "failed", "late", None)])
        await settle(connection, manifest.manifest_id, [])
    assert await tree.manifests.outcomes(manifest.job_id) == [
        FileOutcome(path="a", size=1, outcome="skipped", reason="was skipped")
    ]


@pytest.mark.parametrize(
    "file",
    [
        IndexedFile(0, 1, None, "indexed", None, None),
        IndexedFile(0, 1, None, "skipped", None, None),
        IndexedFile(0, 1, None, "failed", " \t\n", None),
        IndexedFile(0, -1, None, "failed", "oh", None),
        IndexedFile(0, 1, None, "lost", "oh", None),  # type: ignore[arg-type]
    ],
    ids=str,
)
async def test_an_outcome_that_says_too_little_is_refused(tree: Tree, file: IndexedFile):
    manifest = await tree.open()
    await tree.plan(manifest, {"a": "1"})
    with pytest.raises(StateRefused):
        async with tree.database.transaction() as connection:
            await settle(connection, manifest.manifest_id, [file])
    assert await tree.manifests.progress(manifest.manifest_id) == (1, 0)


async def test_a_manifest_has_files_if_its_own_scan_saw_any(tree: Tree):
    await tree.index({"a": "1"})
    for files, has_files in (({}, False), ({"a": "1"}, True), ({"a": File(outcome="skipped", by_scan=True)}, True)):
        manifest = await tree.open()
        await tree.plan(manifest, files)
        assert await tree.manifests.has_files(manifest.manifest_id) is has_files


async def test_outcomes_are_listed_by_path(tree: Tree):
    manifest = await tree.open()
    files: Files = {"b": "1", "a": File(outcome="failed"), "c": File(outcome="skipped", by_scan=True), "d": "4"}
    await tree.plan(manifest, files)
    assert [file.path for file in await tree.manifests.outcomes(manifest.job_id)] == ["c"]
    await tree.settle(manifest, files)
    assert [file.path for file in await tree.manifests.outcomes(manifest.job_id)] == ["a", "b", "c", "d"]
    assert [file.path for file in await tree.manifests.outcomes(manifest.job_id, "indexed")] == ["b", "d"]
    assert [file.reason for file in await tree.manifests.outcomes(manifest.job_id, "failed")] == ["was failed"]
    assert await tree.manifests.outcomes(str(uuid4())) == []


PATHS = {
    "long": "/".join(["d" * 199] * 20),
    "newline": "a\nb\r\n.py",
    "quotes": """it's "quoted" \\ $$ %s {} ; DROP TABLE files; --""",
    "emoji": "dossier 🗂/été/日本語.py",
    "spaces": "  a b  ",
}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
async def test_a_path_may_be_anything(tree: Tree, path: str):
    files: Files = {path: "1", "a": "2"}
    assert (await tree.index(files)).files_added == 2
    assert await left(tree, files) == []
    assert (await tree.index(files)).files_unchanged == 2
    assert path in await tree.visible()
    failed = await tree.index({path: File(outcome="failed"), "a": "2"})
    assert failed.errors[1] == f"{path}: was failed"


async def _shards(tree: Tree, *sizes: int) -> list[int]:
    """How many files each shard has."""

    async def scanned() -> AsyncIterator[ScannedFile]:
        for number, size in enumerate(sizes):
            yield ScannedFile(f"{number}", size, None, None, None)

    manifest = await tree.open()
    await tree.manifests.plan(manifest.manifest_id, scanned())
    shards = await tree.manifests.shards_left(manifest.manifest_id)
    return [len(await tree.manifests.files_left(manifest.manifest_id, shard)) for shard in shards]


async def test_a_shard_holds_so_many_bytes_or_files(tree: Tree):
    files = SHARD_BYTES // FILE_COST
    assert await _shards(tree) == []
    assert await _shards(tree, *[0] * files) == [files]
    assert await _shards(tree, *[0] * (2 * files + 1)) == [files, files, 1]
    assert await _shards(tree, *[SHARD_BYTES // 2 - FILE_COST] * 5) == [2, 2, 1]
    assert await _shards(tree, SHARD_BYTES * 10, SHARD_BYTES - FILE_COST, 1, 1) == [1, 3]


async def test_a_large_tree_has_no_more_shards_but_larger_ones(tree: Tree):
    assert await _shards(tree, *[SHARD_BYTES - FILE_COST] * (10 * SHARDS)) == [10] * SHARDS


MILLION = 1_000_000
MEMORY = 64 * 1024 * 1024  # bytes; a list of so many files takes four times as much


@pytest.fixture
async def own_tree(postgres: Postgres) -> AsyncIterator[Tree]:
    """In a database of its own, which goes with all that is planned in it."""
    async with new_database(postgres, "project") as database:
        yield Tree(database)


async def test_a_million_files_are_dealt_out_evenly_to_no_more_shards_with_no_more_memory(own_tree: Tree):
    taken = [psutil.Process().memory_info().rss]
    largest = 2 * SHARD_BYTES

    async def scanned() -> AsyncIterator[ScannedFile]:
        for number in range(MILLION):
            if number % (MILLION // 20) == 0:
                taken.append(psutil.Process().memory_info().rss)
            size = largest if number % 10_000 == 0 else number % 9_000
            yield ScannedFile(f"package_{number // 100}/module_{number}.py", size, f"{number}:state", None, None)

    manifest = await own_tree.open()
    await own_tree.manifests.plan(manifest.manifest_id, scanned())
    assert max(taken) - taken[0] < MEMORY
    assert await own_tree.manifests.progress(manifest.manifest_id) == (MILLION, 0)
    assert await own_tree.manifests.shards_left(manifest.manifest_id) == list(range(SHARDS))
    async with own_tree.database.connection() as connection:
        rows = await connection.fetch("SELECT sum(size) + $1 * count(*) AS cost FROM files GROUP BY shard", FILE_COST)
    costs = [int(row["cost"]) for row in rows]
    assert max(costs) - min(costs) <= 2 * (largest + FILE_COST)
    assert max(costs) < 1.1 * sum(costs) / SHARDS


async def test_a_file_is_in_one_shard(tree: Tree):
    files: Files = {str(number): str(number) for number in range(1100)}
    manifest = await tree.open()
    await tree.plan(manifest, files)
    shards = await tree.manifests.shards_left(manifest.manifest_id)
    dealt = [file for shard in shards for file in await tree.manifests.files_left(manifest.manifest_id, shard)]
    assert [file.path for file in dealt] == list(files)
    assert [file.ordinal for file in dealt] == list(range(1100))
