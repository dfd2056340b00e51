"""What is asked: the terms of a query, how much each of them tells, and which chunks to look at first."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from verdex.errors import QueryInvalid
from verdex.storage.searching import Frequencies
from verdex.terms import emphasised, terms

MAX_QUERY: Final = 2_000
"""Characters; of a longer query, such as a pasted traceback, the rest is not looked at."""
MAX_TERMS: Final = 24
"""Of a query, the rarest."""
DECIDING: Final = 6
"""Of these, so many of the rarest decide which chunks are looked at."""
COMMON: Final = 20_000
"""A term that is in more chunks finds only those that are strongly about it."""
SHARES: Final = (0.75, 0.5, 0.35, 0.2, 0.1)
"""Chunks are looked at that have this share of what the deciding terms tell: first of the most, then of less."""

EXPECTED: Final = 10
"""Chunks that a query of the index is asked for, at least; words come together, so it finds many more."""

_ENGLISH: Final = """
a an and are as at be by can do does for from has have how i if in into is it its me my of on or our should that the
their them there these they this to us was we were what when where which who why will with would you
"""
_FUNCTION_WORDS: Final = frozenset(_ENGLISH.split())
"""They tell nothing about code; where a query has no others, they count."""
_PATH: Final = re.compile(r"[\w.@+-]*(?:/[\w.@+-]+)+/?|[\w@+-]+\.[A-Za-z]\w{0,9}")

_RELATIVE: Final = re.compile(r"^(?:\.{0,2}/)+")


class Term(NamedTuple):
    """A term of a query: what it tells (its inverse document frequency), and the lexeme by which it finds chunks."""

    term: str
    idf: float
    lexeme: str
    part: float = 1.0
    """Of all chunks, those that have the term, at most."""


class Query(NamedTuple):
    """A query, read; `paths` are those of its words that look like paths of files."""

    text: str
    terms: Sequence[str]
    paths: Sequence[str]


def read(text: str) -> Query:
    """Read a query.

    Raises:
        QueryInvalid: there is no word in it.
    """
    text = " ".join(text[:MAX_QUERY].split())
    words = [word for word in text.split(" ") if word.lower().strip("?.,!") not in _FUNCTION_WORDS]
    found = list(dict.fromkeys(terms(" ".join(words)) or terms(text)))
    if not found:
        raise QueryInvalid("there is no word to look for in the query: write words, names or an error message")
    return Query(text, found, [_RELATIVE.sub("", path).strip("/") for path in _PATH.findall(text)])


def told(query: Query, frequencies: Frequencies) -> list[Term]:
    """The terms that some chunk has, what tells most first."""
    found = [
        Term(
            term,
            _idf(frequency, frequencies.chunks),
            emphasised(term) if frequency > COMMON else term,
            frequency / frequencies.chunks,
        )
        for term, frequency in frequencies.of_term.items()
        if frequency > 0 and term in query.terms
    ]
    return sorted(found, key=lambda term: (-term.idf, term.term))[:MAX_TERMS]


def _idf(frequency: float, chunks: float) -> float:
    return math.log(1 + max(chunks - frequency + 0.5, 0.0) / (frequency + 0.5))


def tsqueries(found: Sequence[Term], chunks: float = math.inf) -> Iterator[str]:
    """What to ask the index for, in turn, until enough is found: each finds what the one before does, and more.

    Of `chunks`, some are expected to be found by the first already.

    At last, but for this, also what has the common terms without being strongly about them.
    """
    deciding = found[:DECIDING]
    whole = sum(term.idf for term in deciding)
    weights = [(term.lexeme, term.idf / whole if whole else 1 / len(deciding)) for term in deciding]
    plain = [(term.term, weight) for term, (_, weight) in zip(deciding, weights, strict=True)]
    parts = [(term.part, weight) for term, (_, weight) in zip(deciding, weights, strict=True)]
    worth = [share for share in SHARES if chunks * _part_with_share(parts, share) >= EXPECTED] or SHARES[-1:]
    yield from filter(None, dict.fromkeys(_with_share(weights, share) for share in worth))
    if plain != weights:
        yield from filter(None, dict.fromkeys(_with_share(plain, share) for share in SHARES[:2]))


def _part_with_share(parts: Sequence[tuple[float, float]], share: float) -> float:
    """Which part of all chunks has terms that weigh `share` together, if none came with another: at least so many."""
    if share <= 1e-9:
        return 1.0
    if not parts:
        return 0.0
    (part, weight), *rest = parts
    return part * _part_with_share(rest, share - weight) + (1 - part) * _part_with_share(rest, share)


def anything(found: Sequence[Term]) -> str:
    """What to ask for where little was found by that: the terms that decide may stand only where nobody searches."""
    return " | ".join(f"'{term.lexeme}'" for term in found)


def _with_share(weights: Sequence[tuple[str, float]], share: float) -> str | None:
    """A tsquery for what has lexemes that weigh `share` together: "" for everything, None for nothing."""
    if share <= 1e-9:
        return ""
    if sum(weight for _, weight in weights) < share - 1e-9:
        return None
    (lexeme, weight), *rest = weights
    without = _with_share(rest, share)
    if without == "":
        return ""
    beside = _with_share(rest, share - weight)
    having = f"'{lexeme}'" + (f" & ({beside})" if beside else "") if beside is not None else None
    return " | ".join(filter(None, (having, without))) or None
