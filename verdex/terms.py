"""Terms: what search compares of a text, made once when it is indexed and once of each query.

A word of code is split where people see its parts: `parseHTTPBody` has the terms of parse, HTTP and body, and one for
itself, which `parse_http_body` has too. All are in lower case and without the endings of plurals and tenses.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection
from functools import lru_cache
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

LARGE: Final = 1_000_000
"""Characters of a text from which on its words are found as they are written only, and numbers are not: hardly anybody
writes so much, and registers, tables and other data have millions of words of which none comes again."""

_BETWEEN_WORDS: Final = bytes(
    code if code >= 128 or chr(code).isalnum() or chr(code) == "_" else ord(" ") for code in range(256)
)
_WORD: Final = re.compile(r"\w+")
_PART: Final = re.compile(r"[A-Z]{2,}s(?![a-z])|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PART_OF_ANY_SCRIPT: Final = re.compile(r"[^\W\d_]+|\d+")
_MAX_REMEMBERED: Final = 200_000
_MAX_REMEMBERED_WORD: Final = 100
"""Characters: of what is longer, such as data in base64, every one is different, and so many would fill the memory."""


class _Memory(dict[bytes, tuple[str, ...]]):
    """The terms of words: the same ones come again and again."""

    def __init__(self, terms_of: Callable[[str], tuple[str, ...]]) -> None:
        super().__init__()
        self._terms_of = terms_of

    def __missing__(self, found: bytes) -> tuple[str, ...]:
        """What was found between two signs of ASCII; in other scripts, more of them may be in it."""
        words = [found.decode()] if found.isascii() else _WORD.findall(found.decode())
        terms = tuple(term for word in words for term in self._terms_of(word))
        if len(found) <= _MAX_REMEMBERED_WORD:
            if len(self) >= _MAX_REMEMBERED:
                self.clear()
            self[found] = terms
        return terms


def terms(text: str) -> list[str]:
    """All terms of a text, in order, as often as they stand in it: those of the parts of a word, then of the whole.

    >>> terms("parse_files(HTTPServer, 0x1F)")
    ['pars', 'file', 'parsefil', 'http', 'server', 'httpserver', '0x1f']
    """
    return _all(text, _by_parts)


def _all(text: str, terms_of: _Memory) -> list[str]:
    return list(
        chain.from_iterable(map(terms_of.__getitem__, text.encode(errors="replace").translate(_BETWEEN_WORDS).split()))
    )


def count(
    content: str, symbol: str | None, *, among: Collection[str] | None = None, is_part_of_large: bool = False
) -> tuple[Counter[str], int]:
    """How often each term stands in a chunk, those of its symbol more often, and how many its content has.

    Where only some are asked about, `among` spares counting the others; `is_part_of_large` is that of `lexemes`.
    """
    found = _all(content[:MAX_TEXT], _as_written if is_part_of_large else _by_parts)
    counted = Counter(found if among is None else filter(among.__contains__, found))
    for term in set(terms(symbol)) if symbol else ():
        if among is None or term in among:
            counted[term] += SYMBOL_COUNT
    return counted, len(found)


def impact(count: float, length: int) -> float:
    """The part of BM25 that depends on the chunk, from 0 to 1: of a term that counts so much among `length` terms."""
    return count / (count + K1 * (1 - B + B * length / MEAN_TERMS))


def lexemes(content: str, symbol: str | None, *, is_part_of_large: bool = False) -> dict[str, int]:
    """What the index of the database holds of a chunk: each term, with how much the chunk is about it (`WEAK` to
    `NAMED`), and once more those that it is strongly about: with these alone, a search for what stands in very many
    chunks reads few of them.

    `is_part_of_large` says that the text which the chunk is of is `LARGE`.
    """
    counted, length = count(content, symbol, is_part_of_large=is_part_of_large)
    firm, strong = (_least(firmness, length) for firmness in FIRMNESS)
    found = dict.fromkeys(counted, WEAK)
    for term, times in counted.items():
        if times >= strong:
            found[term] = found[emphasised(term)] = STRONG
        elif times >= firm:
            found[term] = FIRM
    for term in terms(name_of(symbol)) if symbol else ():
        found[term] = found[emphasised(term)] = NAMED
    return found


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


def _parts_and_whole(word: str) -> tuple[str, ...]:
    if word[0].isdecimal():
        return _whole(word)
    parts = (_PART if word.isascii() else _PART_OF_ANY_SCRIPT).findall(word)
    return _whole(word) if len(parts) == 1 else (*map(_term_of_part, parts), *_whole(word))


@lru_cache(maxsize=50_000)
def _term_of_part(part: str) -> str:
    return _stem(part.lower())[:MAX_TERM]


def _whole(word: str) -> tuple[str, ...]:
    """Nothing of underscores alone."""
    whole = _stem(word.replace("_", "").lower())[:MAX_TERM]
    return (whole,) if whole else ()


def _whole_unless_number(word: str) -> tuple[str, ...]:
    return () if word[0].isdecimal() else _whole(word)


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


_by_parts: Final = _Memory(_parts_and_whole)
_as_written: Final = _Memory(_whole_unless_number)
