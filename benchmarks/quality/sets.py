"""What a set of queries is, and how it is split.

The part of a query depends on nothing but its text. Whoever tunes looks at `dev`; `held-out` is for reports only.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Final, Literal, NamedTuple

Part = Literal["dev", "held-out"]
PARTS: Final[tuple[Part, ...]] = ("dev", "held-out")


class Place(NamedTuple):
    """A run of lines of a file, numbered from 1, the last one included; the path is relative to the tree."""

    file_path: str
    start_line: int
    end_line: int

    def overlaps(self, other: "Place") -> bool:
        """Whether they have a line in common."""
        return (
            self.file_path == other.file_path
            and self.start_line <= other.end_line
            and other.start_line <= self.end_line
        )


class Query(NamedTuple):
    """What is asked, and every place that is a right answer."""

    text: str
    right: Sequence[Place]


class QuerySet(NamedTuple):
    """Queries about one tree."""

    name: str
    root: Path
    """The tree to index."""
    queries: Sequence[Query]


def part_of(text: str) -> Part:
    """The part that a query belongs to: one half each."""
    return PARTS[even(text)]


def even(text: str) -> bool:
    """One of two halves, the same each time."""
    return hashlib.sha256(text.encode()).digest()[0] % 2 == 0


def sampled(queries: Iterable[Query], part: Part, samples: int, seed: int) -> list[Query]:
    """At most `samples` queries of a part; which ones, the seed says."""
    candidates = sorted(query for query in queries if part_of(query.text) == part)
    Random(seed).shuffle(candidates)  # noqa: S311  (the same ones each time)
    return candidates[:samples]
