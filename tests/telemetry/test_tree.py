import io
from collections.abc import Sequence
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from verdex.telemetry.otlp import StoredEvent, StoredSpan, decode
from verdex.telemetry.tree import render, to_json

SECOND = 10**9


def span(
    name: str,
    start: float,
    end: float,
    *,
    span_id: str | None = None,
    parent: str | None = None,
    error: tuple[str, ...] | None = None,
    **attributes: Any,
) -> StoredSpan:
    """Make a span with times in seconds; `error` is type and message of its exception."""
    exception = dict(zip(("exception.type", "exception.message"), error or (), strict=False))
    return StoredSpan(
        trace_id="a" * 32,
        span_id=span_id or name,
        parent_span_id=parent,
        name=name,
        start_ns=int(start * SECOND),
        end_ns=int(end * SECOND),
        status="error" if error is not None else "unset",
        attributes=attributes,
        events=(StoredEvent("exception", int(end * SECOND), exception),) if error else (),
    )


def drawn(spans: Sequence[StoredSpan], width: int = 80, **console: Any) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=200, **console).print(render(spans, width))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_children_stand_under_their_parent_with_bars_on_one_time_scale() -> None:
    lines = drawn(
        [
            span("publish", 3, 4, parent="job"),
            span("job", 0, 4),
            span("scan", 0, 1, parent="job"),
            span("git", 0, 0.002, parent="scan"),
        ]
    )
    assert lines == [
        "job                                               ━━━━━━━━━━━━━━━━━━━━    4.00 s",
        "├── scan                                          ━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌    1.00 s",
        "│   └── git                                       ━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌      2 ms",
        "└── publish                                       ╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌━━━━━    1.00 s",
    ]


def test_a_failing_attempt_shows_its_error_in_place_and_the_retry_beside_it() -> None:
    lines = drawn(
        [
            span("job", 0, 2),
            span("shard", 0, 1, parent="job", span_id="1", error=("verdex.errors.Lost", "gone"), attempt=1),
            span("shard", 1, 2, parent="job", span_id="2", attempt=2),
        ]
    )
    assert lines[1].startswith("├── shard attempt=1 ")
    assert lines[2] == "│   Lost: gone"
    assert lines[3].startswith("└── shard attempt=2 ")


def test_an_error_without_an_exception_still_says_something() -> None:
    failed = StoredSpan("a" * 32, "1", None, "job", 0, SECOND, "error", "cancelled by the user")
    assert drawn([failed])[1] == "cancelled by the user"
    assert drawn([span("job", 0, 1, error=())])[1] == "failed without a message"


def test_errors_are_red_on_a_terminal() -> None:
    lines = drawn([span("job", 0, 1, error=("E", "bad"))], force_terminal=True, color_system="standard")
    assert lines[1] == "\x1b[31mE: bad\x1b[0m"


def test_a_long_error_wraps_inside_the_tree() -> None:
    message = "cannot reach the server " * 8
    lines = drawn([span("job", 0, 1), span("step", 0, 1, parent="job", error=("E", message))])
    assert len(lines) > 3
    assert "".join(line.strip() + " " for line in lines[2:]).strip() == f"E: {message}".strip()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_asked(width: int) -> None:
    spans = [span("0", 0, 1, paths="/very/long" * 30)]
    spans += [span(str(depth), 0, 1, parent=str(depth - 1), error=("E", "漢字" * 99)) for depth in range(1, 8)]
    assert max(map(cell_len, drawn(spans, width))) == width


def test_a_message_cannot_break_the_tree_or_reach_the_terminal_as_a_code() -> None:
    lines = drawn([span("job\x1b[2J", 0, 1, error=("E", "one\ntwo\x1b[31m [bold]"))])
    assert lines[0].startswith("job[2J ")
    assert lines[1:] == ["E: one two[31m [bold]"]


def test_spans_without_their_parent_stand_at_the_root() -> None:
    lines = drawn([span("shard", 1, 2, parent="still running"), span("scan", 0, 1, parent="still running")])
    assert [line.split()[0] for line in lines] == ["scan", "shard"]


def test_ids_are_not_shown_and_names_lose_their_namespace() -> None:
    attributes: dict[str, Any] = {"temporalRunID": "x", "job_id": "y", "verdex.files": 3, "valid": 1}
    (line,) = drawn([span("job", 0, 1, **attributes)])
    assert line.startswith("job files=3 valid=1  ")


def test_no_spans_are_said_to_be_none() -> None:
    assert drawn([]) == ["no spans"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 µs"),
        (0.000_25, "250 µs"),
        (0.5, "500 ms"),
        (59.5, "59.50 s"),
        (125, "2 min 5 s"),
        (3_900, "1 h 5 min"),
    ],
)
def test_durations_have_a_unit_that_fits(seconds: float, text: str) -> None:
    (line,) = drawn([span("job", 0, seconds)])
    assert line.endswith(f" {text}")


def test_as_json_the_spans_are_otlp() -> None:
    spans = [span("job", 0, 1, files=3), span("scan", 0, 1, parent="job", error=("E", "bad"))]
    assert list(decode(to_json(spans))) == spans
