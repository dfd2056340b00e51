"""Identifier → definition: the name of a function, class or method of the standard library finds where it is defined.

Half of the names are asked for as one writes them (`HTTPConnection.request`), half as their words ("http connection
request"), a hash of the name says which. Names are compared by their words, and left out where a definition or an
assignment anywhere in the tree has the same, so that there is one right answer. Not asked for are definitions inside of
functions, `__dunder__` methods, and the library's own tests, which remain in the index.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.quality.definitions import definitions, is_test, module, sources
from benchmarks.quality.sets import Place, Query, QuerySet, even
from benchmarks.trees import tree

NAME: Final = "identifiers"
_WORD: Final = re.compile(r"[A-Z]+(?![^\WA-Z\d_])|[A-Z]?[^\WA-Z\d_]+|\d+")


class Named(NamedTuple):
    """A name that a file gives to something."""

    name: str
    """As far as it is qualified by classes and functions."""
    place: Place
    is_asked: bool


def make(_: Path) -> QuerySet:
    """The set of the standard library, as it is."""
    return made(tree("stdlib").root)


def made(root: Path) -> QuerySet:
    """The set of a tree of Python."""
    found = list(named(root))
    times = Counter(chain.from_iterable(map(_ways, (one.name for one in found))))
    asked = {written: one.place for one in found if one.is_asked and times[words(written := _written(one.name))] == 1}
    return QuerySet(NAME, root, [Query(_as_query(name), [place]) for name, place in asked.items()])


def named(root: Path) -> Iterator[Named]:
    """All that is defined or assigned outside of functions, and definitions inside of them."""
    for path, source in sources(root):
        if (parsed := module(source)) is None:
            continue
        for definition in definitions(parsed):
            is_dunder = definition.node.name.startswith("__")
            is_asked = not (is_dunder or definition.is_local or is_test(path))
            yield Named(definition.name, definition.place(path), is_asked)
            if isinstance(definition.node, ast.ClassDef):
                yield from _assigned(path, definition.node, definition.name)
        yield from _assigned(path, parsed, "")


def _assigned(path: str, scope: ast.Module | ast.ClassDef, name: str) -> Iterator[Named]:
    for statement in scope.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name):
                place = Place(path, statement.lineno, statement.end_lineno or statement.lineno)
                yield Named(f"{name}.{target.id}".lstrip("."), place, is_asked=False)


def _ways(name: str) -> Iterator[tuple[str, ...]]:
    """The words of all that may be written for a qualified name: it, and what is left without its outer scopes."""
    parts = name.split(".")
    return (words(".".join(parts[start:])) for start in range(len(parts)))


def _written(name: str) -> str:
    """What one writes: a method with its class."""
    return ".".join(name.split(".")[-2:])


def words(name: str) -> tuple[str, ...]:
    """The words of an identifier.

    >>> words("HTTPConnection.set_debuglevel")
    ('http', 'connection', 'set', 'debuglevel')
    """
    return tuple(word.lower() for word in _WORD.findall(name))


def _as_query(name: str) -> str:
    return " ".join(words(name)) if even(f"split {name}") else name
