"""Docstring → function: the first line of what a function of the standard library says of itself finds the function.

What is indexed is a copy of the library without the docstrings of all functions that can be asked for, whichever part
and sample is asked: so both parts have one index, and no function has its docstring while the one asked for lacks it.
Left out are lines of fewer than four words, lines that several functions share, and the library's own tests, which
remain in the index, to be confused with. A right answer has a line in common with the function.
"""

import ast
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.quality.definitions import Definition, Function, functions, is_test, module, sources
from benchmarks.quality.sets import Query, QuerySet
from benchmarks.trees import commit, tree

NAME: Final = "docstrings"
FEWEST_WORDS: Final = 4


class Documented(NamedTuple):
    """A function, by its number in its file, and the first line of its docstring."""

    file_path: str
    number: int
    line: str


def make(to: Path) -> QuerySet:
    """The set of the standard library; the tree to index is made at `to`."""
    return made(tree("stdlib").root, to)


def made(root: Path, to: Path) -> QuerySet:
    """The set of a tree of Python."""
    asked = _by_file(chosen(documented(root)))
    queries = list[Query]()
    for path, source in sources(root):
        stripped, found = _stripped(path, source, asked.get(path, {}))
        queries += found
        target = to / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(stripped, newline="")
    commit(to)
    return QuerySet(NAME, to, queries)


def documented(root: Path) -> Iterator[Documented]:
    """The documented functions of a tree."""
    for path, source in sources(root):
        if not is_test(path) and (parsed := module(source)) is not None:
            for number, definition in enumerate(functions(parsed)):
                if line := _first_line(definition):
                    yield Documented(path, number, line)


def _first_line(definition: Definition) -> str:
    assert isinstance(definition.node, Function)
    docstring = ast.get_docstring(definition.node) or ""
    return " ".join(docstring.partition("\n")[0].split())


def chosen(candidates: Iterator[Documented]) -> list[Documented]:
    """Those whose line says something, and says it of nothing else."""
    found = list(candidates)
    times = Counter(one.line.casefold() for one in found)
    return [one for one in found if len(words(one.line)) >= FEWEST_WORDS and times[one.line.casefold()] == 1]


def words(line: str) -> list[str]:
    """What a person would call words."""
    return re.findall(r"\w+", line)


def _by_file(asked: Sequence[Documented]) -> Mapping[str, Mapping[int, str]]:
    found: dict[str, dict[int, str]] = {}
    for one in asked:
        found.setdefault(one.file_path, {})[one.number] = one.line
    return found


def _stripped(path: str, source: str, lines: Mapping[int, str]) -> tuple[str, list[Query]]:
    """A file without docstrings, and the queries that ask for what is in it."""
    if not lines:
        return source, []
    stripped = without_docstrings(source, lines)
    parsed = module(stripped)
    if parsed is None:
        raise RuntimeError(f"{path} is no longer valid without its docstrings")
    left = functions(parsed)
    bare = {number: line for number, line in lines.items() if not _first_line(left[number])}
    return stripped, [Query(line, [left[number].place(path)]) for number, line in bare.items()]


def without_docstrings(source: str, numbers: Collection[int]) -> str:
    """The source without the docstrings of the functions with these numbers, and as many functions as before."""
    parsed = module(source)
    assert parsed is not None
    lines = source.encode().split(b"\n")
    nodes = [definition.node for number, definition in enumerate(functions(parsed)) if number in numbers]
    for node in sorted(nodes, key=lambda node: -node.body[0].lineno):
        _remove(lines, node.body[0], is_all=len(node.body) == 1)
    return b"\n".join(lines).decode()


def _remove(lines: list[bytes], docstring: ast.stmt, *, is_all: bool) -> None:
    """Remove its lines; leave `pass` where something has to stand, or other code shares them."""
    assert docstring.end_lineno is not None
    first, last = docstring.lineno - 1, docstring.end_lineno - 1
    before, after = lines[first][: docstring.col_offset], lines[last][docstring.end_col_offset :]
    lines[first : last + 1] = [before + b"pass" + after] if is_all or before.strip() or after.strip() else []
