"""A content is chunked once, however many paths, jobs and connections come to it."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from tests.storage.conftest import File, Line, Tree
from verdex.contracts import Manifest
from verdex.errors import StateRefused
from verdex.indexing.chunking import Chunk
from verdex.storage import blobs
from verdex.storage.blobs import BlobKey
from verdex.storage.copying import ChunkRow, encoded


async def store(tree: Tree, manifest: Manifest, contents: Mapping[BlobKey, Sequence[ChunkRow]]) -> dict[BlobKey, int]:
    async with tree.database.transaction() as connection:
        return await blobs.store(
            connection, manifest.manifest_id, {key: encoded(of_blob) for key, of_blob in contents.items()}
        )


async def known(tree: Tree, manifest: Manifest, *keys: BlobKey) -> dict[BlobKey, int]:
    return await blobs.known(tree.database, manifest.manifest_id, keys)


async def chunks(tree: Tree, blob_id: int) -> list[tuple[int, int, str]]:
    async with tree.database.connection() as connection:
        rows = await connection.fetch(
            "SELECT start_line, end_line, content FROM chunks WHERE blob_id = $1 ORDER BY ordinal", blob_id
        )
    return [tuple(row) for row in rows]


async def test_a_blob_is_stored_with_its_chunks(tree: Tree):
    manifest, key = await tree.open(), tree.key(File("1"))
    assert await known(tree, manifest, key) == {}
    ids = await store(tree, manifest, {key: tree.lines(File("1"))})
    assert await known(tree, manifest, key, key) == ids
    assert await chunks(tree, ids[key]) == [(1, 1, tree.path), (2, 2, "1")]


async def test_storing_again_takes_what_is_there(tree: Tree):
    manifest, other, key, new = await tree.open(), await tree.open(), tree.key(File("1")), tree.key(File("2"))
    ids = await store(tree, manifest, {key: [Line(1, "first")]})
    assert await store(tree, manifest, {key: [Line(1, "second")]}) == ids
    both = await store(tree, other, {new: [Line(1, "new")], key: [Line(1, "third")]})
    assert (both[key], set(both)) == (ids[key], {key, new})
    assert await chunks(tree, ids[key]) == [(1, 1, "first")]


async def test_two_connections_that_store_a_blob_make_one(tree: Tree):
    one, other, key = await tree.open(), await tree.open(), tree.key(File("1"))
    async with tree.database.transaction() as first:
        ids = await blobs.store(first, one.manifest_id, {key: encoded([Line(1, "one")])})
        waiting = asyncio.create_task(store(tree, other, {key: [Line(1, "other")]}))
        query = "SELECT true FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
        async with asyncio.timeout(30):
            while not await first.fetchval(query):
                await asyncio.sleep(0.01)
    assert await waiting == ids
    assert await chunks(tree, ids[key]) == [(1, 1, "one")]


async def test_connections_that_store_many_blobs_do_not_wait_for_each_other(tree: Tree):
    contents = {tree.key(file): [Line(1, file.content)] for file in map(File, "abcdefghij")}
    manifests = [await tree.open() for _ in range(4)]
    orders = [contents, dict(reversed(contents.items()))] * 2
    results = await asyncio.gather(*(store(tree, *pair) for pair in zip(manifests, orders, strict=True)))
    assert all(result == results[0] for result in results)
    assert len(set(results[0].values())) == len(contents)


async def test_a_blob_of_a_transaction_that_was_rolled_back_is_made_by_the_next(tree: Tree):
    manifest, key = await tree.open(), tree.key(File("1"))
    async with tree.database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await blobs.store(connection, manifest.manifest_id, {key: encoded([Line(1, "lost")])})
        await transaction.rollback()
    assert await known(tree, manifest, key) == {}
    ids = await store(tree, manifest, {key: [Line(1, "kept")]})
    assert await chunks(tree, ids[key]) == [(1, 1, "kept")]


async def test_languages_and_pipelines_have_blobs_of_their_own(tree: Tree):
    plain, python = tree.key(File("1")), tree.key(File("1", language="python"))
    old, new = await tree.open(version=1), await tree.open(version=2)
    first = await store(tree, old, {plain: [Line(1, "plain")], python: [Line(1, "python")]})
    assert await known(tree, new, plain, python) == {}
    second = await store(tree, new, {plain: [Line(1, "newer")]})
    assert len({*first.values(), *second.values()}) == 3
    assert await known(tree, old, plain, python) == first
    assert await known(tree, new, plain, python) == second


async def test_a_forced_job_knows_only_what_was_made_for_it(tree: Tree):
    key, plain = tree.key(File("1")), await tree.open()
    first = await store(tree, plain, {key: [Line(1, "old")]})
    forced = await tree.open(force=True)
    assert await known(tree, forced, key) == {}
    second = await store(tree, forced, {key: [Line(1, "new")]})
    assert second != first
    assert await store(tree, forced, {key: [Line(1, "again")]}) == second
    assert await known(tree, forced, key) == second
    assert await known(tree, await tree.open(), key) == second  # the newest is taken
    assert await known(tree, await tree.open(force=True), key) == {}


async def test_nothing_to_store_is_nothing(tree: Tree):
    manifest = await tree.open()
    assert (await store(tree, manifest, {}), await known(tree, manifest)) == ({}, {})


async def test_a_content_may_have_no_chunks(tree: Tree):
    manifest, key = await tree.open(), tree.key(File(""))
    ids = await store(tree, manifest, {key: []})
    assert await chunks(tree, ids[key]) == []


@pytest.mark.parametrize("key", [BlobKey(b"short", ""), BlobKey(b"x" * 33, "")], ids=str)
async def test_a_hash_has_32_bytes(tree: Tree, key: BlobKey):
    with pytest.raises(StateRefused):
        await store(tree, await tree.open(), {key: []})


async def test_a_chunk_has_a_place_and_is_stored_whole_or_not_at_all(tree: Tree):
    manifest, key = await tree.open(), tree.key(File("1"))
    with pytest.raises(StateRefused):
        await store(tree, manifest, {key: [Line(1, "fine"), Line(0, "nowhere")]})
    assert await known(tree, manifest, key) == {}


async def test_chunks_are_stored_as_they_were_made(tree: Tree):
    manifest, key = await tree.open(), tree.key(File("1"))
    made = [
        Chunk(1, 1, "module", None, "x = 'ä \U0001f40d'"),
        Chunk(2, 40_000_000, "method", "Größe.fmt", "\tdef fmt(self):\r\n\t\\N\n"),
        Chunk(40_000_001, 40_000_002, "text", "", ""),
    ]
    ids = await store(tree, manifest, {key: made})
    async with tree.database.connection() as connection:
        query = f"SELECT ordinal, {', '.join(Chunk._fields)} FROM chunks WHERE blob_id = $1 ORDER BY ordinal"
        rows = await connection.fetch(query, ids[key])
    assert [tuple(row) for row in rows] == [(number, *chunk) for number, chunk in enumerate(made)]
