"""The definitions of Python sources, found with `ast`: no code of verdex decides what is right."""

import ast
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from benchmarks.quality.sets import Place
from benchmarks.trees import files

Function = ast.FunctionDef | ast.AsyncFunctionDef
_STATEMENTS: Final = (ast.stmt, ast.excepthandler, ast.match_case)
_OF_TESTS: Final = frozenset({"test", "tests", "idle_test"})


class Definition(NamedTuple):
    """A function, method or class of a module, its decorators included."""

    scopes: tuple[ast.ClassDef | Function, ...]
    """The definitions that it is nested in, the outermost first."""
    node: ast.ClassDef | Function

    @property
    def name(self) -> str:
        """`Parser.feed`."""
        return ".".join(each.name for each in (*self.scopes, self.node))

    @property
    def is_local(self) -> bool:
        """Whether it is inside of a function."""
        return any(isinstance(scope, Function) for scope in self.scopes)

    def place(self, file_path: str) -> Place:
        """Where it is."""
        first = min(each.lineno for each in (self.node, *self.node.decorator_list))
        return Place(file_path, first, self.node.end_lineno or first)


def module(source: str) -> ast.Module | None:
    """The syntax tree; None where `source` is not valid."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def definitions(node: ast.AST, scopes: tuple[ast.ClassDef | Function, ...] = ()) -> Iterator[Definition]:
    """All definitions, in the order of the source, outer before inner."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | Function):
            yield Definition(scopes, child)
            yield from definitions(child, (*scopes, child))
        elif isinstance(child, _STATEMENTS):
            yield from definitions(child, scopes)


def functions(module: ast.Module) -> list[Definition]:
    """The functions and methods, in the order of the source."""
    return [definition for definition in definitions(module) if isinstance(definition.node, Function)]


def sources(root: Path) -> Iterator[tuple[str, str]]:
    """Paths and contents of the Python files of a tree whose lines Python and verdex number alike."""
    for path in files(root):
        if path.suffix == ".py" and (text := _text(path)) is not None:
            yield path.relative_to(root).as_posix(), text


def _text(path: Path) -> str | None:
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        return None
    return None if "\r" in text else text


def is_test(file_path: str) -> bool:
    """Whether a file belongs to the tests of a library."""
    return not _OF_TESTS.isdisjoint(PurePosixPath(file_path).parts)
