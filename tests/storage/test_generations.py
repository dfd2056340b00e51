"""What a job did to the index, read back from the database, over one job after another."""

from typing import Any

from tests.storage.conftest import File, Files, Tree
from verdex.contracts import IndexResult

COUNTS = ("total", "indexed", "added", "changed", "deleted", "unchanged", "skipped", "failed")


def counts(result: IndexResult) -> dict[str, int]:
    """The counts of files that are not zero."""
    return {name: value for name in COUNTS if (value := getattr(result, f"files_{name}"))}


def chunks(result: IndexResult) -> tuple[int, int]:
    return result.chunks_created, result.chunks_total


async def test_the_first_job_adds_everything(tree: Tree):
    result = await tree.index({"a": "1", "b": "2", "c": "3"})
    assert (result.status, result.generation, result.errors, result.error_message) == ("success", 1, [], None)
    assert counts(result) == {"total": 3, "indexed": 3, "added": 3}
    assert chunks(result) == (6, 6)
    assert await tree.visible() == {"a": ["1"], "b": ["2"], "c": ["3"]}


async def test_a_repository_goes_from_generation_to_generation(tree: Tree):
    steps: list[tuple[Files, dict[str, int], tuple[int, int]]] = [
        ({"a": "1", "b": "2"}, {"total": 2, "indexed": 2, "added": 2}, (4, 4)),
        ({"a": "1", "b": "2"}, {"total": 2, "indexed": 2, "unchanged": 2}, (0, 4)),
        ({"a": "1", "b": "3"}, {"total": 2, "indexed": 2, "changed": 1, "unchanged": 1}, (2, 4)),
        ({"a": "1"}, {"total": 1, "indexed": 1, "deleted": 1, "unchanged": 1}, (0, 2)),
        ({"c": "1"}, {"total": 1, "indexed": 1, "added": 1, "deleted": 1}, (0, 2)),
        ({"c": "1", "b": "2"}, {"total": 2, "indexed": 2, "added": 1, "unchanged": 1}, (0, 4)),
        ({"c": "2", "b": "1"}, {"total": 2, "indexed": 2, "changed": 2}, (0, 4)),
    ]
    for generation, (files, expected, written) in enumerate(steps, start=1):
        result = await tree.index(files)
        assert (result.generation, counts(result), chunks(result)) == (generation, expected, written)
        assert await tree.visible() == {path: [content] for path, content in files.items()}


async def test_a_content_at_two_paths_is_stored_once(tree: Tree):
    result = await tree.index({"a": "same", "b": "same", "c": "other"})
    assert counts(result) == {"total": 3, "indexed": 3, "added": 3}
    assert chunks(result) == (4, 4)
    result = await tree.index({"a": "same", "b": "new", "c": "other"})
    assert (counts(result), chunks(result)) == ({"total": 3, "indexed": 3, "changed": 1, "unchanged": 2}, (2, 6))
    assert await tree.visible() == {"a": ["same"], "b": ["new"], "c": ["other"]}


async def test_the_language_belongs_to_what_is_chunked_but_makes_no_file_changed(tree: Tree):
    result = await tree.index({"a.py": File("x", language="python"), "a.txt": "x"})
    assert chunks(result) == (4, 4)
    moved = await tree.index({"a.py": File("x", fingerprinted=False), "a.txt": "x"})
    assert (counts(moved), chunks(moved)) == ({"total": 2, "indexed": 2, "unchanged": 2}, (0, 2))


async def test_force_chunks_all_contents_again_and_says_what_really_changed(tree: Tree):
    await tree.index({"a": "1", "b": "2"})
    result = await tree.index({"a": "1", "b": "3"}, force=True)
    assert counts(result) == {"total": 2, "indexed": 2, "changed": 1, "unchanged": 1}
    assert chunks(result) == (4, 4)
    after = await tree.index({"a": "1", "b": "3"})
    assert (counts(after), chunks(after)) == ({"total": 2, "indexed": 2, "unchanged": 2}, (0, 4))


async def test_a_new_pipeline_indexes_everything_again(tree: Tree):
    files: Files = {"a": "1", "b": File(outcome="skipped")}
    await tree.index(files)
    manifest = await tree.open(version=2)
    await tree.plan(manifest, files)
    assert await tree.settle(manifest, files) == ["a", "b"]
    result = await tree.publish(manifest)
    assert (counts(result), chunks(result)) == ({"total": 2, "indexed": 1, "unchanged": 1, "skipped": 1}, (2, 2))


async def test_a_file_that_is_skipped_or_fails_leaves_the_index(tree: Tree):
    await tree.index({"a": "1", "b": "2", "c": "3", "d": "4"})
    result = await tree.index({"a": "1", "b": File(outcome="skipped"), "c": File(outcome="failed"), "d": "4"})
    assert counts(result) == {"total": 4, "indexed": 2, "deleted": 2, "unchanged": 2, "skipped": 1, "failed": 1}
    assert await tree.visible() == {"a": ["1"], "d": ["4"]}


async def test_any_failed_file_makes_the_result_partial_and_is_named(tree: Tree):
    files: Files = {"a": "1", "b": "2", "c": File(outcome="failed"), "d": File(outcome="failed", by_scan=True)}
    result = await tree.index(files)
    assert (result.status, result.error_type, result.generation) == ("partial", "FilesFailed", 1)
    assert result.error_message == "2 of 4 files could not be indexed: c: was failed; d: was failed"
    assert result.errors == [result.error_message, "c: was failed", "d: was failed"]


async def test_a_summary_names_five_failed_files_and_the_errors_a_hundred(tree: Tree):
    failed = {f"{number:03}": File(outcome="failed") for number in range(101)}
    result = await tree.index({**failed, "z": "1"}, ratio=1)
    assert result.error_message is not None
    assert result.error_message.startswith("101 of 102 files could not be indexed: 000: was failed; ")
    assert result.error_message.endswith("; 004: was failed, …")
    assert result.errors[1:] == [f"{number:03}: was failed" for number in range(100)]


async def _fails(tree: Tree, files: Files, error_type: str, **values: Any) -> IndexResult:
    """The result of a job that must not publish; the index stays as it is."""
    before = await tree.visible()
    result = await tree.index(files, **values)
    assert (result.status, result.error_type, result.generation) == ("failed", error_type, None)
    assert (result.files_indexed, result.chunks_total, await tree.visible()) == (0, 0, before)
    return result


async def test_too_many_failed_files_publish_nothing(tree: Tree):
    half: Files = {"a": "1", "b": File(outcome="failed")}
    assert (await tree.index(half)).status == "partial"
    result = await _fails(tree, {**half, "c": File(outcome="failed")}, "TooManyFailedFiles")
    assert result.error_message == (
        "2 of 3 files could not be indexed: b: was failed; c: was failed "
        "(at most 0.5 of them may fail: VERDEX_MAX_FAILED_RATIO)"
    )
    assert counts(result) == {"total": 3, "failed": 2}
    await _fails(tree, half, "TooManyFailedFiles", ratio=0)


async def test_an_empty_repository_is_a_failure_that_says_so(tree: Tree):
    result = await _fails(tree, {}, "NothingToIndex")
    assert result.error_message == f"nothing to index: {tree.path} holds no files, or git's rules ignore them all"


async def test_a_repository_of_skipped_files_is_a_failure_that_says_so(tree: Tree):
    await tree.index({"a": "1"})
    result = await _fails(
        tree, {"a": File(outcome="skipped"), "b": File(outcome="skipped", by_scan=True)}, "NothingToIndex"
    )
    assert (
        result.error_message == f"nothing to index: no file of {tree.path} can be indexed (2 seen, 2 skipped, 0 failed)"
    )
    assert counts(result) == {"total": 2, "skipped": 2}


async def test_a_job_after_a_failed_one_goes_on_from_the_index(tree: Tree):
    await tree.index({"a": "1"})
    await _fails(tree, {}, "NothingToIndex")
    result = await tree.index({"a": "1", "b": "2"})
    assert (result.generation, counts(result)) == (2, {"total": 2, "indexed": 2, "added": 1, "unchanged": 1})
