"""The spans of a job as a tree for the terminal, and as OTLP/JSON for other tools."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from verdex.telemetry.otlp import StoredSpan, encode
from verdex.telemetry.steps import Problem, Step, one_line, steps

_DURATION_WIDTH: Final = 9
_ERROR_CHARACTERS: Final = 500
_VALUE_CHARACTERS: Final = 24


def render(spans: Sequence[StoredSpan], width: int) -> RenderableType:
    """Draw the spans as a tree, `width` cells wide: name, attributes, when, how long, and the errors in place.

    All attempts of a step are one line. A span whose parent is not among them, such as one that has not ended yet,
    stands at the root.
    """
    if not spans:
        return Text("no spans")
    axis = _Axis(spans, width)
    tree = Tree("", hide_root=True, guide_style="dim")
    tree.add(axis.heading())
    for step in steps(spans):
        _grow(tree, step, axis)
    return Constrain(tree, width)


def to_json(spans: Sequence[StoredSpan]) -> dict[str, Any]:
    """Give the spans as an OTLP/JSON `TracesData` message."""
    return encode(spans)


class _Axis:
    """The time that the whole trace took, which a bar shows as its full width."""

    def __init__(self, spans: Iterable[StoredSpan], width: int) -> None:
        """A quarter of the width is for the bars."""
        self._start_ns = min(span.start_ns for span in spans)
        self._end_ns = max(span.end_ns for span in spans)
        self._cells = max(8, width // 4)

    def row(self, title: Text, middle: Text, end: str) -> Table:
        """A line of the tree, in which all bars stand below each other."""
        grid = Table.grid(expand=True, padding=(0, 1, 0, 0))
        grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        grid.add_column(width=self._cells, no_wrap=True)
        grid.add_column(width=_DURATION_WIDTH, justify="right", no_wrap=True)
        grid.add_row(title, middle, end)
        return grid

    def heading(self) -> Table:
        """When the trace began, and the ends of the axis."""
        began = datetime.fromtimestamp(self._start_ns / 1e9, UTC).astimezone()
        end = _duration(self._end_ns - self._start_ns)
        scale = f"0{end.rjust(self._cells - 1)}"
        return self.row(Text(f"{began:%Y-%m-%d %H:%M:%S}", style="dim"), Text(scale, style="dim"), "")

    def bar(self, spans: Iterable[StoredSpan]) -> Text:
        """When each of the spans was under way, those that failed in red; a span fills at least one cell."""
        cells = [("╌", "dim")] * self._cells
        for span in sorted(spans, key=lambda span: span.status == "error"):  # a failure is never hidden
            begin, end = self._range(span)
            cells[begin:end] = [("━", "red" if span.status == "error" else "green")] * (end - begin)
        runs = [(style, list(run)) for style, run in groupby(cells, key=itemgetter(1))]
        return Text.assemble(*(("".join(map(itemgetter(0), run)), style) for style, run in runs))

    def _range(self, span: StoredSpan) -> tuple[int, int]:
        scale = self._cells / max(self._end_ns - self._start_ns, 1)
        begin = min(int((span.start_ns - self._start_ns) * scale), self._cells - 1)
        return begin, min(max(begin + 1, round((span.end_ns - self._start_ns) * scale)), self._cells)


def _grow(tree: Tree, step: Step, axis: _Axis) -> None:
    row = axis.row(_title(step), axis.bar(step.spans), _duration(step.nanoseconds))
    style = "red" if step.failed else "yellow"
    branch = tree.add(Group(row, *(Text(error, style=style) for error in _errors(step))))
    for child in step.children:
        _grow(branch, child, axis)


def _title(step: Step) -> Text:
    title = Text(one_line(step.name), style="bold red" if step.failed else "bold")
    for key, value in step.attributes.items():
        title.append(f" {key.rpartition('.')[2]}={_short(one_line(str(value)))}", style="not bold default")
    if step.note:
        title.append(f"  {step.note}", style="not bold yellow" if step.is_retried else "not bold dim")
    return title


def _short(value: str) -> str:
    """Of a path, the end says most."""
    return value if len(value) <= _VALUE_CHARACTERS else f"…{value[1 - _VALUE_CHARACTERS :]}"


def _errors(step: Step) -> Iterator[str]:
    told_below = {problem.message for child in step.children for problem in _all_problems(child)}
    for problem in step.problems:
        if problem.message not in told_below:
            yield problem.text[:_ERROR_CHARACTERS]


def _all_problems(step: Step) -> Iterator[Problem]:
    yield from step.problems
    for child in step.children:
        yield from _all_problems(child)


def _duration(nanoseconds: int) -> str:
    seconds = max(nanoseconds, 0) / 1e9
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes = round(seconds) // 60
    if minutes < 60:
        return f"{minutes} min {round(seconds) % 60} s"
    return f"{minutes // 60} h {minutes % 60} min"
