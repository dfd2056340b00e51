"""The measures are those of the books, and all systems are asked the same. How good searches are, no test says."""

from math import log2
from pathlib import Path
from typing import Final

import pytest

from benchmarks.quality import docstrings
from benchmarks.quality.__main__ import SYSTEMS, Asked, measure
from benchmarks.quality.baselines import BM25, WEIGHTS, Document, Grep, terms, whole_functions
from benchmarks.quality.metrics import Score, score, summary
from benchmarks.quality.sets import Place, part_of
from benchmarks.small import connected
from tests.chaos.stack import stack
from verdex.client import Verdex
from verdex.contracts import SearchResponse

SOURCE: Final = '''\
import os


class Connection:
    @property
    def host(self):
        """The host that it leads to."""
        return self._host


def connect(host):
    """Open a connection to some host."""
    return Connection(host)
'''
A, B, C = (Place("a.py", first, first + 9) for first in (1, 11, 21))
NOWHERE: Final = Place("b.py", 1, 100)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    (root / "connection.py").write_text(SOURCE)
    return root


@pytest.mark.parametrize(
    ("found", "right", "expected"),
    [
        ([A], [A], Score(1, 1, 1)),
        ([NOWHERE, Place("a.py", 10, 11)], [A], Score(1 / 2, 1, 1 / log2(3))),
        ([NOWHERE] * 10 + [A], [A], Score(0, 0, 0)),
        ([], [A], Score(0, 0, 0)),
        ([A, A, B], [A, B, C], Score(1, 2 / 3, (1 + 1 / log2(4)) / (1 + 1 / log2(3) + 1 / log2(4)))),
        ([Place("a.py", 5, 15)], [A, B], Score(1, 1, 1 / (1 + 1 / log2(3)))),
    ],
)
def test_an_answer_is_scored(found, right, expected):
    assert score(found, right) == pytest.approx(expected)


def test_scores_are_summed_up_with_an_interval():
    found = summary([Score(1, 1, 1), Score(0, 0, 0)] * 50, seed=0)
    assert (found.mrr, found.recall, found.ndcg, found.queries) == (0.5, 0.5, 0.5, 100)
    assert found.low == pytest.approx(0.4, abs=0.02)
    assert found.high == pytest.approx(0.6, abs=0.02)


def test_terms_are_the_words_of_identifiers_and_the_identifiers():
    assert terms("raise IOError(no_file)") == ["raise", "io", "error", "ioerror", "no", "file", "no_file"]


DOCUMENTS: Final = [
    Document(C, "def other(): return None"),
    Document(A, "def open_connection(host): the host"),
    Document(B, "connection = host  # open it"),
]


async def test_bm25_finds_by_terms():
    asked = BM25(DOCUMENTS, WEIGHTS[0])
    assert (await asked("openConnection"))[:2] == [B, A]
    assert (await asked("open_connection"))[0] == A
    assert await asked("nothing of this") == []


async def test_ripgrep_finds_the_query_as_it_stands_then_all_its_words_then_some():
    asked = Grep(DOCUMENTS)
    assert await asked("Open_Connection(") == [A]
    assert await asked("the open host") == [A, B]
    assert await asked("open it host") == [A, B]
    assert await asked("none, or the host") == [A, B, C]
    assert await asked("the") == [A, C]
    assert await asked("nothing") == []


def test_whole_functions_are_what_stands_in_their_lines(root):
    lines = SOURCE.split("\n")
    assert list(whole_functions(root)) == [
        Document(Place("connection.py", 5, 8), "\n".join(lines[4:8])),
        Document(Place("connection.py", 11, 13), "\n".join(lines[10:13])),
    ]


async def test_all_systems_are_asked_on_one_index(root, tmp_path, monkeypatch):
    async def answer(self: Verdex, query: str, **_: object) -> SearchResponse:
        return SearchResponse(query=query, project_id="", results=[], total_count=0, repositories=[], latency_ms=0)

    monkeypatch.setattr(Verdex, "search", answer)
    for name in ("VERDEX_DATABASE_URL", "TEMPORAL_ADDRESS"):
        monkeypatch.setenv(name, "")  # so that they are as before, in the end
    made = docstrings.made(root, tmp_path / "made")
    part = part_of(made.queries[0].text)
    async with stack() as running:
        async with connected(running) as api:
            lines = [line async for line in measure(running, api, made, Asked(part, 10, 0, SYSTEMS, None))]
        await running.run("down")
    assert [line.split(" | ")[0].split(" (")[0] for line in lines[4:-1]] == [
        "| verdex",
        "| BM25 over chunks",
        "| BM25 over whole functions",
        "| ripgrep",
    ]
