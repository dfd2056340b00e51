"""A search: read the query, ask the index for candidates, by words and by what they mean, and rank them."""

from collections.abc import Sequence
from typing import Final

from verdex.search.query import Term, anything, read, told, tsqueries
from verdex.search.ranking import Ranked, Ranking
from verdex.storage.searching import ChunkKey, Filter, Meaning, SearchedIndex

ENOUGH: Final = 150
"""Chunks that match a query of the index so well that none is asked for which match less."""
RANKED: Final = 100
"""Candidates whose content is read, and that are ranked: at most so many can be paged through."""
NAMED_PATHS: Final = 10
"""Paths in a query that are looked for,"""
NAMED_FILES: Final = 20
"""and files that are found by these."""

NEAREST: Final = 100
"""Candidates for what they mean, beside those."""


async def find(index: SearchedIndex, text: str, accepted: Filter, meaning: Meaning | None = None) -> list[Ranked]:
    """The best places for a query, at most `RANKED`, the best first.

    Raises:
        QueryInvalid: there is no word in it.
        DatabaseUnavailable, …: see `verdex.errors`.
    """
    query = read(text)
    frequencies = await index.frequencies(query.terms)
    known = told(query, frequencies)
    endings = query.paths[:NAMED_PATHS]
    keys = await _candidates(index, known, frequencies.chunks, accepted)
    keys += await index.chunks_of_files(endings, accepted, NAMED_FILES) if endings else []
    similarities = await _similarities(index, meaning, keys, accepted) if meaning else {}
    chunks = await index.chunks(list(dict.fromkeys([*keys, *similarities])), accepted, endings)
    return Ranking(query, known, similarities).ranked(chunks)[:RANKED]


async def _candidates(index: SearchedIndex, known: Sequence[Term], chunks: float, accepted: Filter) -> list[ChunkKey]:
    if not known:
        return []
    weights = {term.term: term.idf for term in known}
    found: dict[ChunkKey, float] = {}
    for tsquery in tsqueries(known, chunks):
        found |= await index.candidates(tsquery, weights, accepted, ENOUGH)
        if len(found) >= ENOUGH:
            break
    if len(found) < RANKED:
        found |= await index.candidates(anything(known), weights, accepted, ENOUGH)
    return sorted(found, key=lambda key: (-found[key], key))[:RANKED]


async def _similarities(
    index: SearchedIndex, meaning: Meaning, keys: Sequence[ChunkKey], accepted: Filter
) -> dict[ChunkKey, float]:
    """Those of the nearest chunks, and of others that were found."""
    nearest = await index.nearest(meaning, accepted, NEAREST)
    return nearest | await index.similarities(meaning, [key for key in keys if key not in nearest])
