"""Which of the chunks that were found is the best answer: BM25 over their terms, their names and their paths."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from verdex.indexing.languages import OUTSIDE as OUTSIDE_KINDS
from verdex.search.query import Query, Term
from verdex.storage.searching import ChunkKey, FoundChunk
from verdex.terms import count, impact, name_of, terms

IN_PATH: Final = 0.15
"""What a term adds that is in the path of the file."""
SAME_NAME: Final = 0.5
"""What is added, as a part of what all terms tell, where the query is the name of what the chunk defines."""
AS_WRITTEN: Final = 0.2
"""More, where that is just as it is written, so that `publish` comes before `published`."""
IN_NAME: Final = 0.05
"""At most, by the part of the name that the query has."""
LITERAL: Final = 0.25
"""What is added, as such a part, where the query of several terms stands in the chunk as it is written."""
NAMED_FILE: Final = 0.5
"""As such a part: the query names the file."""
OUTSIDE: Final = 0.8
"""What a chunk outside of definitions is worth beside one that is a definition,"""
TEST: Final = 0.75
"""and a test beside what it tests, unless tests are asked for."""

MEANING: Final = 0.1
"""What the chunk adds that is nearest to the query in meaning, and others in proportion to their similarity, which only
those of one embedder can be compared with. What words tell clearly comes first, whatever an embedder says of it."""

MOST: Final = 1 + IN_PATH + SAME_NAME + AS_WRITTEN + IN_NAME + LITERAL + NAMED_FILE + MEANING
"""What all of these come to."""

_TEST: Final = re.compile(
    r"(?:^|/)(?:tests?|testing|spec|__tests__)/|(?:^|/)test_[^/]*$|[._-](?:test|spec)s?\.[^/]*$|Tests?\.[^/.]+$"
)


class Ranked(NamedTuple):
    """A chunk with its score, from 0 to 1, in the file where it has the highest; other files that hold it as well."""

    score: float
    chunk: FoundChunk
    repo_path: str
    file_path: str
    copies: Sequence[tuple[str, str]]


class Ranking:
    """Ranks chunks for one query."""

    def __init__(self, query: Query, told: Sequence[Term], similarities: Mapping[ChunkKey, float]) -> None:
        """`told` are the terms of the query that some chunk has; `similarities` those of chunks to what it means."""
        self._asked = frozenset(query.terms)
        self._idf = {term.term: term.idf for term in told}
        self._whole = sum(self._idf.values()) or 1.0
        self._similarities = similarities
        self._nearest = max(similarities.values(), default=0.0)
        self._literal = _plain(query.text) if len(query.terms) > 1 else None
        self._words = frozenset(query.text.lower().split())
        self._paths = [path.lower() for path in query.paths]
        self._wants_tests = "test" in query.terms

    def ranked(self, chunks: Sequence[FoundChunk]) -> list[Ranked]:
        """The best first; of the parts that a definition was cut into, only the best."""
        seen, kept = set[object](), []
        for one in sorted(map(self._ranked, chunks), key=_order):
            place = (one.repo_path, one.file_path, one.chunk.symbol or one.chunk.start_line)
            if place not in seen:
                kept.append(one)
            seen.add(place)
        return kept

    def _ranked(self, chunk: FoundChunk) -> Ranked:
        of_chunk = self._content(chunk) + self._name(chunk) + self._meaning(chunk)
        in_files = [(self._of_file(path) * (of_chunk + self._path(path)), repo, path) for repo, path in chunk.files]
        score, repo_path, file_path = max(in_files, key=lambda one: one[0])
        worth = 1.0 if chunk.kind not in OUTSIDE_KINDS else OUTSIDE
        copies = [file for file in chunk.files if file != (repo_path, file_path)]
        return Ranked(worth * score / MOST, chunk, repo_path, file_path, copies)

    def _meaning(self, chunk: FoundChunk) -> float:
        similarity = self._similarities.get(chunk.key, 0)
        return MEANING * similarity / self._nearest if similarity > 0 else 0

    def _content(self, chunk: FoundChunk) -> float:
        counted, length = count(chunk.content, chunk.symbol, among=self._idf)
        told = sum(self._idf[term] * impact(times, length) for term, times in counted.items())
        may_be = self._literal is not None and len(counted) == len(self._idf)
        is_literal = may_be and str(self._literal) in _plain(chunk.content)
        return told / self._whole + (LITERAL if is_literal else 0)

    def _name(self, chunk: FoundChunk) -> float:
        if not chunk.symbol:
            return 0
        written = name_of(chunk.symbol)
        name, whole = _terms_of(written), _terms_of(chunk.symbol)
        if not name:
            return 0
        same = SAME_NAME if name <= self._asked <= whole else 0
        as_written = AS_WRITTEN if same and written.lower() in self._words else 0
        return same + as_written + IN_NAME * len(name & self._asked) / len(name)

    def _path(self, path: str) -> float:
        lower = path.lower()
        named = NAMED_FILE if any(lower == one or lower.endswith(f"/{one}") for one in self._paths) else 0
        told = sum(self._idf.get(term, 0) for term in _terms_of(path))
        return named + IN_PATH * min(told / self._whole, 1)

    def _of_file(self, path: str) -> float:
        return TEST if _TEST.search(path) and not self._wants_tests else 1


@lru_cache(maxsize=4096)
def _terms_of(name: str) -> frozenset[str]:
    """Of a path or a symbol: many chunks have the same."""
    return frozenset(terms(name))


def _order(one: Ranked) -> tuple[float, str, str, int]:
    return -one.score, one.repo_path, one.file_path, one.chunk.start_line


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
