"""What one has without verdex: BM25 over the same chunks or whole functions, and what a person does with ripgrep."""

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import bm25s
import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.definitions import functions, module, sources
from benchmarks.quality.identifiers import words
from benchmarks.quality.metrics import DEPTH
from benchmarks.quality.sets import Place

System = Callable[[str], Awaitable[list[Place]]]
"""Answers a query, the best place first."""

_IDENTIFIER: Final = re.compile(r"\w+")
STOP_WORDS: Final = frozenset(
    _IDENTIFIER.findall("""
    a an and are as at be by can do does for from has have how i if in into is it its no not of on or should so that
    the their then there these they this to was we what when where whether which who why will with
    """)
)


class Document(NamedTuple):
    """A place, and what stands there."""

    place: Place
    content: str


class Weights(NamedTuple):
    """The two parameters of BM25."""

    k1: float
    b: float


WEIGHTS: Final = (Weights(1.2, 0.75), Weights(1.5, 0.75))
"""The usual ones, and the defaults of bm25s."""


@lru_cache(maxsize=1 << 20)
def _terms_of(identifier: str) -> tuple[str, ...]:
    parts, whole = words(identifier), identifier.lower()
    return parts if parts == (whole,) else (*parts, whole)


def terms(text: str) -> list[str]:
    """The words of the identifiers in a text, and the identifiers.

    >>> terms("HTTPConnection(host)")
    ['http', 'connection', 'httpconnection', 'host']
    """
    return [term for identifier in _IDENTIFIER.findall(text) for term in _terms_of(identifier)]


class BM25:
    """The method of Lucene over documents; those without any term of the query are no answer."""

    def __init__(self, documents: Sequence[Document], weights: Weights) -> None:
        """All documents are indexed at once."""
        self._places = [document.place for document in documents]
        self._index = bm25s.BM25(method="lucene", k1=weights.k1, b=weights.b)
        self._index.index([terms(document.content) for document in documents], show_progress=False)

    async def __call__(self, query: str) -> list[Place]:
        """The best places."""
        known = [term for term in terms(query) if term in self._index.vocab_dict]
        if not known:
            return []
        depth = min(DEPTH, len(self._places))
        numbers, scores = self._index.retrieve([known], k=depth, show_progress=False)
        return [self._places[number] for number, score in zip(numbers[0], scores[0], strict=True) if score > 0]


class Grep:
    """What ripgrep finds, without regard to case, in chunks.

    First those that hold the query as it stands, then those that hold all its words, then the others by how many
    different words they hold; of as many, in the order of the paths. A word may be part of another, as it may for
    ripgrep. Words that nobody would look for ("the") are left out, unless there are no others.
    """

    def __init__(self, documents: Sequence[Document]) -> None:
        """They are read again for each word that was not asked for before."""
        ordered = sorted(documents)
        self._places = [document.place for document in ordered]
        self._texts = [document.content.lower() for document in ordered]
        self._held: dict[str, NDArray[np.bool_]] = {}

    async def __call__(self, query: str) -> list[Place]:
        """The best places."""
        query = query.lower()
        asked = set(_IDENTIFIER.findall(query))
        asked = asked - STOP_WORDS or asked
        held = np.zeros(len(self._texts), dtype=np.int32)
        for word in asked:
            held += self._holding(word)
        held += self._holding(query) * (len(asked) + 1)
        best = np.argsort(-held, kind="stable")[:DEPTH]
        return [self._places[number] for number in best if held[number]]

    def _holding(self, text: str) -> NDArray[np.bool_]:
        if text not in self._held:
            self._held[text] = np.fromiter((text in each for each in self._texts), dtype=np.bool_)
        return self._held[text]


def whole_functions(root: Path) -> Iterator[Document]:
    """Every function and method of a tree of Python."""
    for path, source in sources(root):
        if (parsed := module(source)) is not None:
            lines = source.split("\n")
            for definition in functions(parsed):
                place = definition.place(path)
                yield Document(place, "\n".join(lines[place.start_line - 1 : place.end_line]))
