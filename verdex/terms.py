"""Terms: what search compares of a text, made once when it is indexed and once of each query.

A word of code is split where people see its parts: `parseHTTPBody` has the terms of parse, HTTP and body, and one for
itself, which `parse_http_body` has too. All are in lower case and without the endings of plurals and tenses.
"""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Final

MAX_TEXT: Final = 100_000
"""Characters of a chunk whose terms are searched. Only a single line can be longer than `chunking.MAX_CHARS`, and
PostgreSQL holds a megabyte of terms of each chunk."""
MAX_TERM: Final = 64
"""Characters of a term; what is longer is hardly a word."""

K1: Final = 1.8
B: Final = 0.5
MEAN_TERMS: Final = 83
"""The parameters of BM25, and the number of terms of a chunk that is as long as most. It is fixed, so that a chunk
need not be weighed again when others come (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009)."""
SYMBOL_COUNT: Final = 3
"""A term of the name of a definition counts as if it stood so many times more in it."""

FIRMNESS: Final = (0.4, 0.6)
"""From which impact on a term is firm, and strong. An impact is the part of BM25 that depends on the chunk."""
WEAK, FIRM, STRONG, NAMED = range(4)
"""How much a chunk is about a term; `NAMED`: it defines what is called so."""

_WORD: Final = re.compile(r"\w+")
_PART: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
_MAX_REMEMBERED: Final = 200_000


class _Memory(dict[str, tuple[str, ...]]):
    """The terms of words: the same ones come again and again."""

    def __missing__(self, word: str) -> tuple[str, ...]:
        if len(self) >= _MAX_REMEMBERED:
            self.clear()
        self[word] = found = _terms_of_word(word)
        return found


_terms_of: Final = _Memory()


def words(text: str) -> Iterator[tuple[str, ...]]:
    """The terms of each word, in order: those of its parts, and if it has several, the one of the whole.

    >>> list(words("parse_files(HTTPServer)"))
    [('pars', 'file', 'parsefil'), ('http', 'server', 'httpserver')]
    """
    return map(_terms_of.__getitem__, _WORD.findall(text))


def terms(text: str) -> list[str]:
    """All terms of a text, as often as they stand in it."""
    return list(chain.from_iterable(words(text)))


def count(content: str, symbol: str | None) -> tuple[Counter[str], int]:
    """How often each term stands in a chunk, those of its symbol more often, and how many its content has."""
    found = terms(content[:MAX_TEXT])
    counted = Counter(found)
    for term in set(terms(symbol)) if symbol else ():
        counted[term] += SYMBOL_COUNT
    return counted, len(found)


def impact(count: float, length: int) -> float:
    """The part of BM25 that depends on the chunk, from 0 to 1: of a term that counts so much among `length` terms."""
    return count / (count + K1 * (1 - B + B * length / MEAN_TERMS))


def weighed(content: str, symbol: str | None) -> dict[str, int]:
    """Each term of a chunk, and how much the chunk is about it: `WEAK` to `NAMED`."""
    counted, length = count(content, symbol)
    named = set(terms(name_of(symbol))) if symbol else set[str]()
    firm, strong = (_least(firmness, length) for firmness in FIRMNESS)
    return {
        term: NAMED if term in named else STRONG if times >= strong else FIRM if times >= firm else WEAK
        for term, times in counted.items()
    }


def lexemes(content: str, symbol: str | None) -> dict[str, int]:
    """What the index of the database holds of a chunk: its terms, and once more those that it is strongly about.

    With these alone, a search for what stands in very many chunks reads few of them.
    """
    found = weighed(content, symbol)
    return found | {emphasised(term): weight for term, weight in found.items() if weight >= STRONG}


def emphasised(term: str) -> str:
    """The lexeme of a term in those chunks that are strongly about it; no term begins so."""
    return f"+{term}"


def name_of(symbol: str) -> str:
    """What is defined, without the scopes it is nested in.

    >>> name_of("Parser.feed"), name_of("Guide > First steps")
    ('feed', 'First steps')
    """
    return symbol.rpartition(" > ")[2] if " > " in symbol else symbol.rpartition(".")[2]


def _least(firmness: float, length: int) -> float:
    """How often a term must stand among `length` to have this impact."""
    return firmness / (1 - firmness) * K1 * (1 - B + B * length / MEAN_TERMS)


def _terms_of_word(word: str) -> tuple[str, ...]:
    parts = [_stem(part.lower()) for part in _PART.findall(word)]
    if len(parts) > 1:
        parts.append(_stem(word.replace("_", "").lower()))
    return tuple(part[:MAX_TERM] for part in parts)


def _stem(word: str) -> str:
    """Without the commonest endings of English; what it gives need not be a word.

    >>> [_stem(word) for word in ("parse", "parses", "parsed", "parsing", "queries", "class", "classes")]
    ['pars', 'pars', 'pars', 'pars', 'query', 'class', 'class']
    """
    word = _singular(word) if len(word) > 3 and word[-1] == "s" else word
    for ending in ("ing", "ed"):
        if len(word) > len(ending) + 3 and word.endswith(ending):
            stem = word[: -len(ending)]
            is_doubled = stem[-1] == stem[-2] and stem[-1] not in "lsz"
            word = stem[:-1] if is_doubled else stem
            break
    return word[:-1] if len(word) > 4 and word[-1] == "e" else word


def _singular(word: str) -> str:
    if word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("ches", "shes", "xes", "sses", "zes")) else word[:-1]
