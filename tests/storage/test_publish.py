"""Publishing is one answer, given once, and never over a newer index."""

import asyncio
from uuid import uuid4

import pytest

from tests.storage.conftest import File, Files, Tree
from verdex.contracts import Manifest
from verdex.errors import PermanentError, StateRefused
from verdex.storage.publish import abandon, publish

FILES: Files = {"a": "1", "b": "2", "c": File(outcome="failed")}


async def ready(tree: Tree, files: Files = FILES) -> Manifest:
    """A manifest that waits for nothing but to be published."""
    manifest = await tree.open()
    await tree.plan(manifest, files)
    await tree.settle(manifest, files)
    return manifest


async def test_nothing_is_seen_before_publishing(tree: Tree):
    await tree.index({"a": "old"})
    manifest = await ready(tree)
    assert await tree.visible() == {"a": ["old"]}
    await tree.publish(manifest)
    assert await tree.visible() == {"a": ["1"], "b": ["2"]}


async def test_publishing_again_gives_the_first_answer(tree: Tree):
    manifest = await ready(tree)
    first = await tree.publish(manifest)
    assert await tree.publish(manifest) == first
    assert await tree.publish(manifest, ratio=0) == first
    await tree.index({"z": "9"})
    assert await tree.publish(manifest) == first
    assert (await tree.generation(), await tree.visible()) == (2, {"z": ["9"]})


async def test_a_refusal_is_given_again_too(tree: Tree):
    manifest = await ready(tree)
    first = await tree.publish(manifest, ratio=0)
    assert first.error_type == "TooManyFailedFiles"
    assert await tree.publish(manifest, ratio=1) == first
    assert await tree.generation() == 0


async def test_attempts_at_the_same_time_publish_once(tree: Tree):
    manifest = await ready(tree)
    results = await asyncio.gather(*(tree.publish(manifest) for _ in range(5)))
    assert [result == results[0] for result in results] == [True] * 5
    assert await tree.generation() == 1


async def test_a_zombie_cannot_overwrite_a_newer_index(tree: Tree):
    zombie = await ready(tree, {"a": "stale"})
    await tree.index({"a": "new", "b": "2"})
    before = await tree.visible()
    result = await tree.publish(zombie)
    assert (result.status, result.error_type) == ("failed", "Superseded")
    assert result.error_message == "another job published generation 1 while this one worked on 0"
    assert (result.files_indexed, result.chunks_total) == (0, 0)
    assert (await tree.generation(), await tree.visible()) == (1, before)
    assert await tree.publish(zombie) == result


async def test_of_two_jobs_at_the_same_time_one_publishes(tree: Tree):
    one, other = await ready(tree, {"a": "one"}), await ready(tree, {"a": "other"})
    results = await asyncio.gather(tree.publish(one), tree.publish(other))
    assert sorted(str(result.error_type) for result in results) == ["None", "Superseded"]
    winner = "one" if results[0].error_type is None else "other"
    assert (await tree.generation(), await tree.visible()) == (1, {"a": [winner]})


async def test_repositories_of_a_project_do_not_touch_each_other(tree: Tree):
    neighbour = Tree(tree.database)
    waiting = await ready(neighbour, {"a": "theirs"})
    await tree.index({"a": "ours"})
    assert (await neighbour.publish(waiting)).generation == 1
    assert (await tree.visible(), await neighbour.visible()) == ({"a": ["ours"]}, {"a": ["theirs"]})


async def test_what_was_abandoned_is_never_published(tree: Tree):
    await tree.index({"a": "old"})
    manifest = await ready(tree)
    for _ in range(2):
        assert await abandon(tree.database, manifest.job_id) is None
    for _ in range(2):
        result = await tree.publish(manifest)
        assert (result.status, result.error_type) == ("failed", "JobAbandoned")
    assert (await tree.generation(), await tree.visible()) == (1, {"a": ["old"]})


async def test_what_was_published_cannot_be_abandoned(tree: Tree):
    manifest = await ready(tree)
    result = await tree.publish(manifest)
    for _ in range(2):
        assert await abandon(tree.database, manifest.job_id) == result
    assert await tree.visible() == {"a": ["1"], "b": ["2"]}


async def test_what_was_refused_can_be_abandoned(tree: Tree):
    manifest = await ready(tree)
    refused = await tree.publish(manifest, ratio=0)
    assert await abandon(tree.database, manifest.job_id) is None
    assert await tree.publish(manifest) == refused


async def test_publishing_and_abandoning_at_the_same_time_agree(tree: Tree):
    manifest = await ready(tree)
    result, withdrawn = await asyncio.gather(tree.publish(manifest), abandon(tree.database, manifest.job_id))
    assert (result.status, withdrawn) in [("partial", result), ("failed", None)]
    assert await tree.generation() == (1 if withdrawn else 0)


async def test_a_job_without_a_manifest_has_nothing_to_abandon(tree: Tree):
    assert await abandon(tree.database, str(uuid4())) is None


async def test_a_job_that_was_given_up_cannot_be_planned(tree: Tree):
    manifest = await tree.open()
    await abandon(tree.database, manifest.job_id)
    with pytest.raises(PermanentError, match="given up"):
        await tree.plan(manifest, FILES)


@pytest.mark.parametrize("files", [FILES, {"a": "1"}])
async def test_files_without_an_outcome_are_never_published(tree: Tree, files: Files):
    await tree.index({"old": "0"})
    manifest = await tree.open()
    await tree.plan(manifest, files)
    with pytest.raises(StateRefused, match="files without an outcome"):
        await tree.publish(manifest)
    assert await tree.visible() == {"old": ["0"]}
    await tree.settle(manifest, files)
    assert (await tree.publish(manifest)).generation == 2


async def test_a_manifest_without_a_plan_is_no_empty_repository(tree: Tree):
    manifest = await tree.open()
    with pytest.raises(StateRefused, match="has no plan yet"):
        await tree.publish(manifest)


async def test_a_manifest_that_does_not_exist_is_a_bug(tree: Tree):
    with pytest.raises(LookupError, match="no manifest 0"):
        await publish(tree.database, 0, max_failed_ratio=1)
