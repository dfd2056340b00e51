import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from verdex.telemetry.otlp import StoredEvent, StoredSpan, decode
from verdex.telemetry.tree import render, to_json

SECOND = 10**9
TIMES = "\u00d7"


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
    """The lines of the tree below the heading."""
    return whole(spans, width, **console)[bool(spans) :]


def whole(spans: Sequence[StoredSpan], width: int = 80, **console: Any) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=200, **console).print(render(spans, width))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_children_stand_under_their_parent_with_bars_on_one_time_axis() -> None:
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


def test_the_heading_tells_when_it_began_and_the_ends_of_the_axis() -> None:
    began = datetime.fromtimestamp(0, UTC).astimezone()
    heading, line = whole([span("job", 0, 4)])
    assert heading.split() == [*f"{began:%Y-%m-%d %H:%M:%S}".split(), "0", "4.00", "s"]
    assert heading.index(" 0  ") + 1 == line.index("━")
    assert len(heading) == line.rindex("━") + 1


def test_attempts_are_one_line_with_the_error_that_was_overcome() -> None:
    lines = drawn(
        [
            span("job", 0, 4),
            span("shard", 0, 1, parent="job", span_id="1", error=("verdex.errors.Lost", "gone"), attempt=1, shard=3),
            span("shard", 3, 4, parent="job", span_id="2", attempt=2, shard=3),
        ]
    )
    assert lines[1:] == [
        "└── shard shard=3  2 attempts                     ━━━━━╌╌╌╌╌╌╌╌╌╌━━━━━    4.00 s",
        "    Lost: gone",
    ]


def failing(name: str, times: Sequence[float], message: str, **attributes: Any) -> list[StoredSpan]:
    """Attempts at these times that all failed."""
    return [
        span(name, at, at + 0.1, parent="job", span_id=f"{name}{at}", error=("E", message.format(at)), **attributes)
        for at in times
    ]


def test_errors_that_differ_in_numbers_only_are_one_line_with_the_last_of_them() -> None:
    spans = [span("job", 0, 9), *failing("scan", range(7), "port {} is closed"), *failing("scan", [7], "no route")]
    assert drawn(spans)[2:] == [f"    E {TIMES}7, last: port 6 is closed", "    E: no route"]


def test_what_follows_a_success_overlaps_or_differs_is_no_attempt() -> None:
    spans = [
        span("job", 0, 9, error=()),
        *failing("shard", [0], "bad", shard=0),
        *failing("shard", [0.05], "bad", shard=0),
        *failing("shard", [1], "bad", shard=1),
        span("record", 2, 3, parent="job", span_id="r1"),
        span("record", 3, 4, parent="job", span_id="r2"),
    ]
    titles = [line[4:].split("  ")[0] for line in drawn(spans) if "━" in line]
    assert titles[1:] == ["shard shard=0", "shard shard=0", "shard shard=1", "record", "record"]


def test_an_attempt_whose_predecessors_are_lost_tells_its_number() -> None:
    attributes: dict[str, Any] = {"verdex.attempt": 3}
    (line,) = drawn([span("scan", 0, 1, **attributes)])
    assert line.startswith("scan  3 attempts ")


def test_children_are_those_of_the_last_attempt() -> None:
    spans = [
        *failing("scan", [0], "bad"),
        span("first", 0, 0.1, parent="scan0"),
        span("scan", 1, 2, parent="job", span_id="again"),
        span("second", 1, 2, parent="again"),
    ]
    assert [line.split()[-4] for line in drawn(spans) if "━" in line] == ["attempts", "second"]


def test_an_error_is_told_where_it_arose_and_not_again_above() -> None:
    root = ("RootNotFound", "RootNotFound: RootNotFound: /nowhere does not exist")
    cause = ("verdex.sources.errors.RootNotFound", "/nowhere does not exist")
    lines = drawn([span("job", 0, 1, error=root), span("preflight", 0, 1, parent="job", error=cause)])
    assert [line for line in lines if "━" not in line] == ["    RootNotFound: /nowhere does not exist"]


def test_an_error_of_its_own_stands_above_those_below_it() -> None:
    lines = drawn([span("job", 0, 1, error=("E", "gave up")), span("scan", 0, 1, parent="job", error=("E", "bad"))])
    assert [line.strip("│ ") for line in lines if "━" not in line] == ["E: gave up", "E: bad"]


def test_many_steps_of_a_kind_that_went_well_are_one_line_and_the_others_stay() -> None:
    shards = [
        span("shard", at, at + 1, parent="job", span_id=str(at), error=("E", "bad") if at == 7 else None, shard=at)
        for at in range(50)
    ]
    lines = drawn([span("job", 0, 50), *shards])
    assert [line.strip("├└─ ").split("  ")[0] for line in lines[1:]] == ["shard", "shard shard=7", "E: bad"]
    assert f"{TIMES}49, the longest 1.00 s" in lines[1]


def test_what_is_below_them_is_one_line_for_each_name() -> None:
    shards = [span("shard", at, at + 1, parent="job", span_id=str(at), shard=at) for at in range(50)]
    copies = [span("COPY chunks", at, at + 0.5, parent=str(at), span_id=f"copy {at}") for at in range(50)]
    lines = drawn([span("job", 0, 50), *shards, *copies])
    assert [line.strip("├└─ ").split("  ")[0] for line in lines] == ["job", "shard", "COPY chunks"]
    assert f"{TIMES}50, the longest 0.50 s" in lines[2]


def test_of_what_the_conventions_tell_of_a_statement_only_the_number_of_rows_is_drawn() -> None:
    told: dict[str, Any] = {
        "db.system.name": "postgresql",
        "db.operation.name": "SELECT",
        "db.response.returned_rows": 5,
        "server.address": "db",
        "error.type": "E",
    }
    lines = drawn([span("SELECT files", 0, 1, **told)])
    assert lines[0].startswith("SELECT files returned_rows=5 ")


def test_thousands_of_attempts_are_drawn_in_no_time() -> None:
    spans = [span("job", 0, 9000), *failing("scan", range(9000), "port {} is closed")]
    assert drawn(spans)[2:] == [f"    E {TIMES}9000, last: port 8999 is closed"]


def test_an_error_without_an_exception_still_says_something() -> None:
    failed = StoredSpan("a" * 32, "1", None, "job", 0, SECOND, "error", "cancelled by the user")
    assert drawn([failed])[1] == "cancelled by the user"
    assert drawn([span("job", 0, 1, error=())])[1] == "failed without a message"


def test_errors_are_red_and_those_overcome_yellow_on_a_terminal() -> None:
    colours: dict[str, Any] = {"force_terminal": True, "color_system": "standard"}
    failed = span("scan", 0, 1, error=("E", "bad"))
    assert drawn([failed], **colours)[1] == "\x1b[31mE: bad\x1b[0m"
    assert drawn([failed, span("scan", 1, 2, span_id="2")], **colours)[1] == "\x1b[33mE: bad\x1b[0m"


def test_a_long_error_wraps_inside_the_tree() -> None:
    message = "cannot reach the server " * 8
    lines = drawn([span("job", 0, 1), span("step", 0, 1, parent="job", error=("E", message))])
    assert len(lines) > 3
    assert "".join(line.strip() + " " for line in lines[2:]).strip() == f"E: {message}".strip()


def test_of_a_long_path_the_end_is_shown() -> None:
    attributes: dict[str, Any] = {"verdex.repo_path": "/srv/a/very/long/way/to/the/web-shop"}
    (line,) = drawn([span("job", 0, 1, **attributes)])
    assert line.startswith("job repo_path=…ong/way/to/the/web-shop ")


@pytest.mark.parametrize("width", [40, 60, 80, 120])
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
