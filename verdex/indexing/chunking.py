"""Cut the content of a file into chunks along its syntax tree.

A definition that fits is one chunk, with the comments and decorators directly above it. One that does not is opened:
its nested definitions become chunks, and the lines between them chunks of the definition itself. What is still too
big is cut by lines. Chunks are runs of whole lines, so nothing here depends on columns or encodings.
"""

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import accumulate
from math import ceil
from typing import Final, NamedTuple

from tree_sitter import Node, QueryCursor

from verdex.indexing.languages import GRAMMARS, ROLES, grammar

PIPELINE_VERSION: Final = 2
"""Raise whenever the same content would be cut differently, or has other terms: stored chunks of another version are
not used."""

MAX_LINES: Final = 60
MAX_CHARS: Final = 4_000
"""Most characters in a chunk, line ends not counted."""

_PROSE: Final = frozenset({"markdown"})
_BRACED: Final = frozenset({"c", "cpp", "csharp", "java"})
"""Nothing worth a chunk is defined without a brace, which spares parsing register headers of many MB."""

_MINIFIED: Final = 1_000
"""Mean characters in a line from which on definitions are not runs of lines, and parsing is in vain."""

_TYPES: Final = frozenset(
    {"class", "extension", "impl", "instance", "interface", "object", "protocol", "record", "struct", "trait"}
)
"""Kinds whose functions are methods."""

_QUERY_DEPTHS: Final = (3, 6)
"""How far below a scope definitions are looked for; the second where the first finds none (looking is not cheap)."""

_LOOSE_TOKENS: Final = 10_000
_MATCH_LIMIT: Final = 4_096
_MAX_NESTING: Final = 12
_MAX_NAME: Final = 200
_TAIL_LINES: Final = 2
"""Lines directly below a definition (its scope's end, `EXPORT_SYMBOL`) which are too few to be found by themselves."""


class Chunk(NamedTuple):
    """A run of lines that a search can return."""

    start_line: int  # 1-based
    end_line: int  # inclusive
    kind: str  # "function", "class", "method", …; "module" or "text" outside of definitions
    symbol: str | None  # "Parser.feed": the definition, after the scopes it is nested in
    content: str


def chunk(content: str, language: str | None) -> list[Chunk]:
    """Cut `content` into chunks that hold each of its non-blank lines once, in order; [] if it has none.

    `language` is a name that `language_of` gave; anything else is cut by lines. Lines end at "\\n" only. A chunk has
    at most `MAX_LINES` lines and `MAX_CHARS` characters, unless a single line is longer. No content makes it raise.
    """
    lines = _Lines(content)
    kind = "module" if language in GRAMMARS and language not in _PROSE else "text"
    file = _Scope(0, len(lines.rows) - 1, kind, None, depth=0)
    if language in GRAMMARS and _has_definitions(content, language, lines):
        cutter = _Cutter(lines, language)
        runs = cutter.runs(cutter.segments(file, cutter.parse(content)))
    else:
        runs = ((file, first, last) for first, last in lines.pieces(0, file.last))
    return [
        Chunk(first + 1, last + 1, scope.kind, scope.symbol, lines.text(first, last))
        for scope, first, last in _without_tails(runs, lines)
    ]


class _Scope(NamedTuple):
    """A definition, or the file: its rows (0-based, inclusive), those above its first line which lead it included."""

    first: int
    last: int
    kind: str
    symbol: str | None
    depth: int


_Captures = dict[str, list[Node]]
_Found = tuple[int, int, _Captures]
"""First row, last row, and what the query captured."""

_Run = tuple[_Scope, int, int]
"""A run of rows, and the innermost scope that it belongs to."""


class _Lines:
    """The rows of a content, and which runs of them fit in a chunk."""

    def __init__(self, content: str) -> None:
        self._content = content
        self.rows = content.split("\n")
        self._offsets = list(accumulate(map(len, self.rows), initial=0))  # line ends not counted

    def text(self, first: int, last: int) -> str:
        return self._content[self._offsets[first] + first : self._offsets[last + 1] + last]

    def fits(self, first: int, last: int) -> bool:
        return last - first < MAX_LINES and self._offsets[last + 1] - self._offsets[first] <= MAX_CHARS

    def pieces(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Cut a run into runs that fit, without blank rows at their edges."""
        first, last = self._trimmed(first, last)
        while not self.fits(first, last):
            end = self._cut(first, last)
            yield self._trimmed(first, end)
            first, last = self._trimmed(end + 1, last)
        if first <= last:
            yield first, last

    def _trimmed(self, first: int, last: int) -> tuple[int, int]:
        while first <= last and self._is_blank(first):
            first += 1
        while first < last and self._is_blank(last):
            last -= 1
        return first, last

    def _cut(self, first: int, last: int) -> int:
        """The last row of a first piece: equal shares of the run, or the blank row next to where that would end."""
        bound = min(first + MAX_LINES, last + 1)
        full = self._offsets[first] + MAX_CHARS
        end = max(first, bisect_right(self._offsets, full, first + 1, bound + 1) - 2)
        remaining = last - first + 1
        goal = min(end, first + ceil(remaining / ceil(remaining / MAX_LINES)) - 1)
        return self._blank_near(goal, first + (end - first) // 2, end)

    def _blank_near(self, goal: int, lowest: int, highest: int) -> int:
        """The blank row that is next to `goal`, which itself is taken if there is none within the bounds."""
        behind = bisect_left(self._blanks, goal)
        above, below = self._blanks[behind - 1], self._blanks[behind]
        if above >= lowest and (goal - above <= below - goal or below > highest):
            return above
        return below if below <= highest else goal

    @cached_property
    def _blanks(self) -> list[int]:
        """Between two that are out of any reach."""
        blanks = [row for row, text in enumerate(self.rows) if not text or text.isspace()]
        return [-sys.maxsize, *blanks, sys.maxsize]

    def _is_blank(self, row: int) -> bool:
        return not self.rows[row] or self.rows[row].isspace()


class _Cutter:
    """Cuts one content along the definitions that the query of its language finds."""

    def __init__(self, lines: _Lines, language: str) -> None:
        self._lines = lines
        self._grammar = grammar(language)
        self._separator = " > " if language in _PROSE else "."
        self._one_liners: dict[int, _Scope] = {}

    def parse(self, content: str) -> Node:
        return self._grammar.parser.parse(content.encode("utf-8", "replace")).root_node

    def runs(self, segments: Iterable[_Run]) -> Iterator[_Run]:
        """Cut segments to size. A definition of one line keeps its name only where nothing else shares its chunk."""
        for scope, first, last in segments:
            for start, end in self._lines.pieces(first, last):
                yield self._one_liners.get(start, scope) if start == end else scope, start, end

    def segments(self, scope: _Scope, node: Node) -> Iterator[_Run]:
        """The definitions in `scope` that fit, what is in those that do not, and the rows between, in order."""
        row = scope.first
        for nested, nested_node in self._definitions(scope, node):
            first, last = max(nested.first, row), min(nested.last, scope.last)
            inner = nested._replace(first=first, last=last)
            if first == last:
                self._one_liners.setdefault(first, inner)
            if first >= last:
                continue
            yield scope, row, first - 1
            if self._lines.fits(first, last) or inner.depth == _MAX_NESTING:
                yield inner, first, last
            else:
                yield from self.segments(inner, nested_node)
            row = last + 1
        yield scope, row, scope.last

    def _definitions(self, scope: _Scope, node: Node) -> Iterator[tuple[_Scope, Node]]:
        """The definitions in `scope`, each with the node to look for its own nested ones.

        Those inside of one that fits are left out. Definitions that repeat a name on the next row, such as the
        equations of a function, are one.
        """
        before: tuple[_Scope, Node] | None = None
        for first, last, captures in self._found(scope, node):
            if before and last <= before[0].last and self._lines.fits(before[0].first, before[0].last):
                continue
            definition = self._definition(scope, first, last, captures)
            if before and _repeats(definition[0], before[0]) and self._lines.fits(before[0].first, last):
                before = before[0]._replace(last=last), before[1]
                continue
            if before:
                yield before
            before = definition
        if before:
            yield before

    def _found(self, scope: _Scope, node: Node) -> list[_Found]:
        """What the query finds in `scope`, outer definitions before inner ones."""
        own = _rows(node) if scope.depth else None
        for depth in _QUERY_DEPTHS:
            matches = self._matches(node, depth)
            leads = self._leads([captures["lead"] for captures in matches if "lead" in captures])
            found = [
                (_led(rows[0], leads), rows[1], captures)
                for captures in matches
                if "lead" not in captures and (rows := _rows(_defined(captures)[1])) != own
            ]
            if found:
                return sorted(found, key=lambda each: (each[0], -each[1]))
        return []

    def _matches(self, node: Node, depth: int) -> list[_Captures]:
        if _is_debris(node):
            return []
        cursor = QueryCursor(self._grammar.query, match_limit=_MATCH_LIMIT)
        cursor.set_max_start_depth(depth)
        return [captures for _, captures in cursor.matches(node)]

    def _leads(self, captured: list[list[Node]]) -> dict[int, int]:
        """Last row → first row of all that may lead a definition, where nothing stands before it."""
        leads: dict[int, int] = {}
        for nodes in captured:
            first, column = nodes[0].start_point
            if not self._lines.rows[first][:column].strip():
                leads.setdefault(_rows(nodes[-1])[1], first)
        return leads

    def _definition(self, scope: _Scope, first: int, last: int, captures: _Captures) -> tuple[_Scope, Node]:
        kind, node = _defined(captures)
        if kind == "function" and scope.kind in _TYPES:
            kind = "method"
        return _Scope(first, last, kind, self._symbol(scope, captures), scope.depth + 1), node

    def _symbol(self, scope: _Scope, captures: _Captures) -> str | None:
        names = [_text(captures[role][0]) for role in ("scope", "name") if role in captures]
        if self._separator == ".":
            names = [name.replace("::", ".") for name in names]
        return self._separator.join([scope.symbol, *names] if scope.symbol else names) or None


def _defined(captures: _Captures) -> tuple[str, Node]:
    kind = next(capture for capture in captures if capture not in ROLES)
    return kind, captures[kind][0]


def _led(row: int, leads: dict[int, int]) -> int:
    """The first row of what stands directly above `row` and leads it; remembered in `leads`."""
    first = leads.get(row, row)
    while (above := leads.get(first - 1)) is not None:
        first = above
    if first < row:
        leads[row - 1] = first
    return first


def _repeats(definition: _Scope, before: _Scope) -> bool:
    return definition.symbol == before.symbol and definition.first == before.last + 1


def _is_debris(node: Node) -> bool:
    """Whether error recovery left so many loose tokens that a query, quadratic in them, would take minutes."""
    return node.descendant_count > _LOOSE_TOKENS and any(
        each.child_count - each.named_child_count > _LOOSE_TOKENS for each in (node, *node.children)
    )


def _without_tails(runs: Iterable[_Run], lines: _Lines) -> list[_Run]:
    """Leave the few rows directly below a definition, such as the end of its scope, in its chunk."""
    kept: list[_Run] = []
    for scope, first, last in runs:
        is_tail = kept and first == kept[-1][2] + 1 and scope.first < first and last < first + _TAIL_LINES
        if is_tail and lines.fits(kept[-1][1], last):
            kept[-1] = (*kept[-1][:2], last)
        else:
            kept.append((scope, first, last))
    return kept


def _rows(node: Node) -> tuple[int, int]:
    first, (last, column) = node.start_point.row, node.end_point
    return first, last if column or last == first else last - 1


def _text(node: Node) -> str:
    text = (node.text or b"")[: 4 * _MAX_NAME].decode("utf-8", "replace")
    return " ".join(text.split())[:_MAX_NAME]


def _has_definitions(content: str, language: str, lines: _Lines) -> bool:
    is_minified = len(content) > _MINIFIED * len(lines.rows)
    return not is_minified and (language not in _BRACED or "{" in content)
