"""What is searched to measure how long it takes: a part of a tree of about as many chunks, and queries from its text.

The queries are of the kinds that people and agents type. What they are made of is drawn from the tree, with a seed.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Final, NamedTuple, TypeVar

from benchmarks.trees import Tree, commit, files
from verdex.indexing.chunking import chunk
from verdex.indexing.languages import language_of

SAMPLED_FILES: Final = 400
READ_BYTES: Final = 64 * 1024
LARGEST_FILE: Final = 1_000_000
"""In a part of a tree; in Linux, the few above are headers which some program wrote."""
OF_EACH_KIND: Final = 12
COMMON_WORDS: Final = 300
SINGLE_WORDS: Final = (
    *("file", "return", "int", "if", "the", "data"),
    *("error", "struct", "get", "name", "value", "include"),
)
"""What stands in a great part of all chunks."""
_QUESTIONS: Final = (
    "how does the {} handle a {} that is too large?",
    "where is the {} of a {} checked?",
    "what happens when {} and {} are called at the same time?",
    "which function converts a {} to a {}?",
    "why would {} fail if there is no {}?",
    "how to register a new {} with the {}",
)
_ERROR: Final = re.compile(r'"([^"\\\n]{16,90})"')
_TROUBLE: Final = re.compile(r"(?i)fail|error|invalid|cannot|can't|unable|unknown|unexpected|not |missing|must")
_WORD: Final = re.compile(r"\b[a-z]{4,20}\b")
_IDENTIFIER: Final = re.compile(r"\b(?:[a-z]+(?:_[a-z0-9]+)+|[A-Z]?[a-z]+(?:[A-Z][a-z]+)+)\b")

One = TypeVar("One")


class Typed(NamedTuple):
    """A query, and of what kind it is."""

    kind: str
    text: str


def part(tree: Tree, chunks: int, to: Path) -> Path:
    """A tree of about `chunks` chunks: some directories of `tree`, made at `to`, or all of it if it has no more.

    A hash of their paths says which, so that a smaller part is contained in a larger one.
    """
    sources = [path for path in files(tree.root) if path.stat().st_size <= LARGEST_FILE]
    wanted = chunks * _bytes_of_a_chunk(sources)
    if wanted >= sum(path.stat().st_size for path in sources):
        return tree.root
    taken = 0
    for path in _by_directory(sources, tree.root):
        if taken >= wanted:
            break
        taken += path.stat().st_size
        target = to / path.relative_to(tree.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    commit(to)
    return to


def _bytes_of_a_chunk(sources: Sequence[Path]) -> float:
    """Of the mean chunk, as a sample tells."""
    contents = [(path.name, path.read_bytes()) for path in _some(Random(0), sources, SAMPLED_FILES)]  # noqa: S311
    chunks = sum(len(chunk(read.decode(errors="replace"), language_of(name, read[:200]))) for name, read in contents)
    return sum(len(read) for _, read in contents) / max(chunks, 1)


def _by_directory(sources: Iterable[Path], root: Path) -> Iterator[Path]:
    directories = [list(group) for _, group in groupby(sources, key=lambda path: path.parent)]
    for of_one in sorted(
        directories, key=lambda group: sha256(os.fsencode(group[0].parent.relative_to(root))).digest()
    ):
        yield from of_one


def queries(root: Path, seed: int) -> list[Typed]:
    """As many of each kind, unless the tree is too small for them; none twice."""
    random = Random(seed)  # noqa: S311  (the same ones each time)
    sources = _some(random, sorted(files(root)), SAMPLED_FILES)
    text = "\n".join(_read(path) for path in sources)
    errors = {one for one in _ERROR.findall(text) if one.count(" ") >= 2 and _TROUBLE.search(one)}
    drawn = {
        "identifier": _some(random, sorted(set(_IDENTIFIER.findall(text))), OF_EACH_KIND),
        "two or three common words": _combinations(random, text),
        "question": _questions(random, text),
        "text of an error": _some(random, sorted(errors), OF_EACH_KIND),
        "path": _some(random, [path.relative_to(root).as_posix() for path in sources], OF_EACH_KIND),
        "very common word": SINGLE_WORDS,
    }
    return [Typed(kind, text) for kind, texts in drawn.items() for text in dict.fromkeys(texts)]


def _read(path: Path) -> str:
    with path.open("rb") as opened:
        return opened.read(READ_BYTES).decode(errors="replace")


def _combinations(random: Random, text: str) -> list[str]:
    words = _common(text)
    return [" ".join(_some(random, words, random.choice((2, 3)))) for _ in range(OF_EACH_KIND)]


def _questions(random: Random, text: str) -> list[str]:
    words = _common(text)
    return [_QUESTIONS[number % len(_QUESTIONS)].format(*random.choices(words, k=2)) for number in range(OF_EACH_KIND)]


def _common(text: str) -> list[str]:
    return [word for word, _ in Counter(_WORD.findall(text)).most_common(COMMON_WORDS)]


def _some(random: Random, found: Sequence[One], number: int) -> list[One]:
    return random.sample(found, min(number, len(found)))
