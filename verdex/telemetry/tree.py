"""The spans of a job as a tree for the terminal, and as OTLP/JSON for other tools."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from verdex.telemetry.otlp import StoredSpan, encode

_BAR_WIDTH = 20
_DURATION_WIDTH = 9
_ERROR_CHARACTERS = 500

_Children = Mapping[str | None, Sequence[StoredSpan]]


def render(spans: Sequence[StoredSpan], width: int) -> RenderableType:
    """Draw the spans as a tree, `width` cells wide: name, attributes, when, how long, and the errors in place.

    A span whose parent is not among them, such as one that has not ended yet, stands at the root.
    """
    if not spans:
        return Text("no spans")
    window = _Window(min(span.start_ns for span in spans), max(span.end_ns for span in spans))
    tree = Tree("", hide_root=True, guide_style="dim")
    _grow(tree, None, _children(spans), window)
    return Constrain(tree, width)


def to_json(spans: Sequence[StoredSpan]) -> dict[str, Any]:
    """Give the spans as an OTLP/JSON `TracesData` message."""
    return encode(spans)


@dataclass(frozen=True, slots=True)
class _Window:
    """The time that the whole trace took, which a bar shows as its full width."""

    start_ns: int
    end_ns: int

    def cells(self, span: StoredSpan) -> tuple[int, int]:
        """Give the first cell of the span's bar and the cell behind its last; at least one cell is filled."""
        scale = _BAR_WIDTH / max(self.end_ns - self.start_ns, 1)
        begin = min(int((span.start_ns - self.start_ns) * scale), _BAR_WIDTH - 1)
        return begin, max(begin + 1, round((span.end_ns - self.start_ns) * scale))


def _children(spans: Sequence[StoredSpan]) -> _Children:
    known = {span.span_id for span in spans}
    children: dict[str | None, list[StoredSpan]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: span.start_ns):
        children[span.parent_span_id if span.parent_span_id in known else None].append(span)
    return children


def _grow(tree: Tree, parent: str | None, children: _Children, window: _Window) -> None:
    for span in children.get(parent, ()):
        branch = tree.add(_label(span, window))
        _grow(branch, span.span_id, children, window)


def _label(span: StoredSpan, window: _Window) -> RenderableType:
    grid = Table.grid(expand=True, padding=(0, 1, 0, 0))
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    grid.add_column(width=_BAR_WIDTH)
    grid.add_column(width=_DURATION_WIDTH, justify="right", no_wrap=True)
    failed = span.status == "error"
    bar = _bar(*window.cells(span), style="red" if failed else "green")
    grid.add_row(_title(span, failed), bar, _duration(span.end_ns - span.start_ns))
    return Group(grid, *(Text(error, style="red") for error in _errors(span)))


def _title(span: StoredSpan, failed: bool) -> Text:
    title = Text(_one_line(span.name), style="bold red" if failed else "bold")
    for key, value in span.attributes.items():
        # Ids are long, and say nothing beside the other spans of the same job.
        if not key.endswith(("_id", ".id", "ID")):
            title.append(f" {key.rpartition('.')[2]}={_one_line(str(value))}", style="not bold default")
    return title


def _bar(begin: int, end: int, style: str) -> Text:
    return Text.assemble(("╌" * begin, "dim"), ("━" * (end - begin), style), ("╌" * (_BAR_WIDTH - end), "dim"))


def _errors(span: StoredSpan) -> Iterator[str]:
    if span.status != "error":
        return
    exceptions = [event for event in span.events if event.type]
    causes = [f"{str(event.type).rpartition('.')[2]}: {event.message}" for event in exceptions]
    for cause in dict.fromkeys(causes) or [span.status_message or "failed without a message"]:
        yield _one_line(cause)[:_ERROR_CHARACTERS]


def _one_line(text: str) -> str:
    """Keep a message from breaking the tree, or from sending escape codes to the terminal."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())


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
