"""Searches are timed on the corpus that is asked for. How long they take, no test says."""

import subprocess
from pathlib import Path
from typing import Final

import pytest

from benchmarks import corpus, searching
from benchmarks.corpus import SINGLE_WORDS, queries
from benchmarks.searching import Asked, measure
from benchmarks.small import connected
from benchmarks.trees import commit, files, tree
from tests.chaos.stack import stack
from verdex.client import Verdex
from verdex.contracts import SearchResponse
from verdex.errors import QueryInvalid
from verdex.storage.projects import Projects

SOURCE: Final = """\
def open_connection_{number:02}(timeout):
    server = connect(timeout={number:02})
    if not server:
        raise ConnectionError("cannot open connection number {number:02} in time")
    return server
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twenty directories of one file each."""
    root = tmp_path / "tree"
    for number in range(20):
        (root / f"part_{number}").mkdir(parents=True)
        (root / f"part_{number}" / "connection.py").write_text(SOURCE.format(number=number))
    commit(root)
    return root


def test_there_are_queries_of_every_kind_and_the_same_each_time(root):
    found = queries(root, seed=1)
    assert found == queries(root, seed=1)
    assert found != queries(root, seed=2)
    assert len(found) == len(set(found)) >= 60
    by_kind = {kind: [text for one, text in found if one == kind] for kind, _ in found}
    assert set(by_kind["identifier"]) <= {"ConnectionError"} | {f"open_connection_{number:02}" for number in range(20)}
    assert all(text.startswith("cannot open connection") for text in by_kind["text of an error"])
    assert all((root / text).is_file() for text in by_kind["path"])
    assert {len(text.split()) for text in by_kind["two or three common words"]} == {2, 3}
    assert by_kind["very common word"] == list(SINGLE_WORDS)


def test_a_part_of_a_tree_has_about_as_many_chunks_and_is_part_of_a_larger_one(root, tmp_path):
    small, large = (corpus.part(tree(str(root)), chunks, tmp_path / f"{chunks}") for chunks in (5, 10))
    parts = [{path.relative_to(part) for path in files(part)} for part in (small, large)]
    assert [len(part) for part in parts] == [5, 10]
    assert parts[0] < parts[1]
    assert not subprocess.run(["git", "-C", small, "status", "--porcelain"], capture_output=True, check=True).stdout


def test_a_tree_without_as_many_chunks_is_taken_whole(root, tmp_path):
    assert corpus.part(tree(str(root)), 1_000, tmp_path / "part") == root


async def test_searches_are_timed_warm_and_cold(root, monkeypatch):
    async def answer(self: Verdex, query: str, **_: object) -> SearchResponse:
        if query == "the":
            raise QueryInvalid("there is nothing to look for")
        return SearchResponse(query=query, project_id="", results=[], total_count=0, repositories=[], latency_ms=0)

    monkeypatch.setattr(Verdex, "search", answer)
    monkeypatch.setattr(searching, "drop_caches", lambda: False)  # all that runs beside would suffer
    for name in ("VERDEX_DATABASE_URL", "TEMPORAL_ADDRESS"):
        monkeypatch.setenv(name, "")  # so that they are as before, in the end
    async with stack() as running:
        async with connected(running) as api:
            lines = [line async for line in measure(running, api, root, "searching", Asked(2, 2, 0, None))]
        await running.run("down")
    rows = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")[-2:] for line in lines if " | " in line}
    assert lines[0].startswith("**20 chunks** of 20 files")
    assert rows["warm"] == [f"{2 * len(queries(root, seed=0))}", "0"]
    assert rows["warm, very common word"] == [f"{2 * len(SINGLE_WORDS)}", "0"]
    assert rows["cold (PostgreSQL only: the system does not forget what it has read)"] == ["2", "0"]


async def test_what_search_added_to_a_database_is_counted_as_its_part(server):
    await Projects(server).create("sizes")
    database = await Projects(server).database("sizes")
    async with database.connection() as connection:
        before = float(await connection.fetchval(f"SELECT search FROM ({searching._SIZES}) AS sizes", searching.BEFORE))
        await connection.execute("CREATE TABLE of_search AS SELECT generate_series(1, 10000) AS number")
        after = float(await connection.fetchval(f"SELECT search FROM ({searching._SIZES}) AS sizes", searching.BEFORE))
    assert 0 < before < 100_000, "the indexes of a project that is empty"
    assert after - before > 300_000
