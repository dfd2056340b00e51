"""A search: read the query, ask the index for candidates, rank them."""

from collections.abc import Sequence
from typing import Final

from verdex.search.query import Query, Term, read, told, tsqueries
from verdex.search.ranking import Ranked, Ranking
from verdex.storage.searching import ChunkKey, Filter, SearchedIndex

ENOUGH: Final = 300
"""Chunks that match a query of the index so well that none is asked for which match less."""
RANKED: Final = 100
"""Candidates whose content is read, and that are ranked: at most so many can be paged through."""
NAMED_FILES: Final = 20
"""Of files whose path the query names."""


async def find(index: SearchedIndex, text: str, accepted: Filter) -> list[Ranked]:
    """The best places for a query, at most `RANKED`, the best first.

    Raises:
        QueryInvalid: there is no word in it.
        DatabaseUnavailable, …: see `verdex.errors`.
    """
    query = read(text)
    known = told(query, await index.frequencies(query.terms))
    keys = await _candidates(index, known, accepted)
    keys += await _of_named_files(index, query, accepted)
    return Ranking(query, known).ranked(await index.chunks(list(dict.fromkeys(keys)), accepted))


async def _candidates(index: SearchedIndex, known: Sequence[Term], accepted: Filter) -> list[ChunkKey]:
    if not known:
        return []
    weights = {term.term: term.idf for term in known}
    found: dict[ChunkKey, float] = {}
    for tsquery in tsqueries(known):
        found |= await index.candidates(tsquery, weights, accepted, ENOUGH)
        if len(found) >= ENOUGH:
            break
    return sorted(found, key=lambda key: (-found[key], key))[:RANKED]


async def _of_named_files(index: SearchedIndex, query: Query, accepted: Filter) -> list[ChunkKey]:
    found: list[ChunkKey] = []
    for path in query.paths:
        found += await index.chunks_of_paths(_path_expression(path), accepted, NAMED_FILES)
    return found


def _path_expression(path: str) -> str:
    """A regular expression for the paths that end so; it is made of letters and a few signs."""
    return "(?:^|/)" + "".join(one if one.isalnum() or one in "/_" else f"[{one}]" for one in path) + "$"
