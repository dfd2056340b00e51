"""The database of a project refuses what would show searches something else than a published manifest."""

import pytest

from tests.storage.conftest import Tree
from verdex.contracts import Manifest
from verdex.errors import StateRefused
from verdex.storage.publish import abandon

PUBLISH = "UPDATE manifests SET state = 'published', generation = base_generation + 1, result = '{}' WHERE id = $1"


async def execute(tree: Tree, query: str, *arguments: object) -> None:
    async with tree.database.connection() as connection:
        await connection.execute(query, *arguments)


async def refused(tree: Tree, match: str, query: str, *arguments: object) -> None:
    """The query is refused, and what searches see stays as it is."""
    before = (await tree.generation(), await tree.visible())
    with pytest.raises(StateRefused, match=match):
        await execute(tree, query, *arguments)
    assert (await tree.generation(), await tree.visible()) == before


async def planned(tree: Tree) -> Manifest:
    manifest = await tree.open()
    await tree.plan(manifest, {"a": "1", "b": "2"})
    return manifest


async def published(tree: Tree) -> Manifest:
    manifest = await planned(tree)
    await tree.settle(manifest, {"a": "1", "b": "2"})
    await tree.publish(manifest)
    return manifest


async def test_files_that_wait_cannot_be_published(tree: Tree):
    await refused(tree, "files without an outcome", PUBLISH, (await planned(tree)).manifest_id)


async def test_what_has_no_plan_cannot_be_published(tree: Tree):
    await refused(tree, "has no plan yet", PUBLISH, (await tree.open()).manifest_id)


async def test_a_manifest_begins_open(tree: Tree):
    await tree.open()
    copied = "job_id, force_reindex, pipeline_version, base_generation"
    await refused(
        tree, "cannot begin as published",
        f"INSERT INTO manifests (repository_id, {copied}, state, generation, result) "
        f"SELECT repository_id, gen_random_uuid(), false, 1, 0, 'published', 1, '{{}}' FROM manifests LIMIT 1",
    )  # fmt: skip


@pytest.mark.parametrize(
    "change", ["state = 'planned', generation = NULL", "result = '{}'", "generation = 7", "base_generation = 7"]
)
async def test_a_published_manifest_is_final(tree: Tree, change: str):
    manifest = await published(tree)
    await refused(
        tree, "is published: that is final", f"UPDATE manifests SET {change} WHERE id = $1", manifest.manifest_id
    )


async def test_an_abandoned_manifest_is_final(tree: Tree):
    manifest = await planned(tree)
    await tree.settle(manifest, {"a": "1", "b": "2"})
    await abandon(tree.database, manifest.job_id)
    await refused(tree, "is abandoned: that is final", PUBLISH, manifest.manifest_id)


async def test_a_published_manifest_has_a_generation_and_a_result(tree: Tree):
    manifest = await planned(tree)
    await tree.settle(manifest, {"a": "1", "b": "2"})
    for change in (
        "generation = NULL, result = '{}'",
        "generation = 1, result = NULL",
        "generation = 2, result = '{}'",
    ):
        await refused(
            tree,
            "manifests_",
            f"UPDATE manifests SET state = 'published', {change} WHERE id = $1",
            manifest.manifest_id,
        )


async def test_a_published_manifest_that_is_shown_cannot_be_deleted(tree: Tree):
    manifest = await published(tree)
    with pytest.raises(Exception, match="repositories_manifest_id_fkey"):
        await execute(tree, "DELETE FROM manifests WHERE id = $1", manifest.manifest_id)
    assert await tree.visible() == {"a": ["1"], "b": ["2"]}


POINT = "UPDATE repositories SET manifest_id = $2, generation = generation + 1 WHERE path = $1"


async def test_a_repository_shows_no_manifest_that_is_not_published(tree: Tree):
    await published(tree)
    await refused(tree, "can only show", POINT, tree.path, (await planned(tree)).manifest_id)


async def test_a_repository_does_not_show_the_manifest_of_another(tree: Tree):
    await published(tree)
    other = Tree(tree.database)
    await other.index({"a": "theirs"})
    theirs = await published(other)
    await refused(tree, "can only show", POINT, tree.path, theirs.manifest_id)


async def test_a_repository_does_not_go_back_nor_jump(tree: Tree):
    first = await published(tree)
    await tree.index({"a": "3"})
    for change in ("generation = 1, manifest_id = $2", "generation = 0, manifest_id = NULL"):
        query = f"UPDATE repositories SET {change} WHERE path = $1 AND coalesce($2::bigint, 0) > 0"
        await refused(tree, "can only show", query, tree.path, first.manifest_id)
    for change in ("generation = 3", "generation = 1", "manifest_id = NULL, generation = 0"):
        await refused(tree, "can only show", f"UPDATE repositories SET {change} WHERE path = $1", tree.path)


async def test_a_repository_begins_without_a_generation(tree: Tree):
    manifest = await published(tree)
    query = "INSERT INTO repositories (path, generation, manifest_id) VALUES ($1, 1, $2)"
    await refused(tree, "can only show", query, f"{tree.path}/copy", manifest.manifest_id)
