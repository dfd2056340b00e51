"""What the trace of a job says of where its time went: its spans summed by name."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from operator import add
from typing import Any, NamedTuple


class Sum(NamedTuple):
    """Of all spans of a name. Seconds; those of steps that run side by side add up to more than the job took."""

    spans: int = 0
    seconds: float = 0.0
    statements: int = 0
    busy: float = 0.0
    """Of the statements that a span stands for, which take turns with other work."""
    rows: int = 0


def sums(trace: Mapping[str, Any]) -> dict[str, Sum]:
    """By the name of the spans, the longest first; `trace` is what `verdex trace --json` prints."""
    found = defaultdict[str, Sum](Sum)
    for span in _spans(trace):
        found[span["name"]] = Sum._make(map(add, found[span["name"]], _sum(span)))
    return dict(sorted(found.items(), key=lambda item: -(item[1].busy or item[1].seconds)))


def report(trace: Mapping[str, Any]) -> Iterator[str]:
    """Lines of a table."""
    yield f"{'spans of the job':40} {'spans':>6} {'seconds':>8} {'statements':>10} {'busy s':>7} {'rows':>9}"
    for name, one in sums(trace).items():
        yield f"{name:40} {one.spans:6} {one.seconds:8.2f} {one.statements:10} {one.busy:7.2f} {one.rows:9}"


def _sum(span: Mapping[str, Any]) -> Sum:
    told = {each["key"]: next(iter(each["value"].values())) for each in span.get("attributes", ())}
    return Sum(
        1,
        (int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])) / 1e9,
        int(told.get("verdex.statements", 0)),
        float(told.get("verdex.busy_seconds", 0.0)),
        int(told.get("verdex.rows", 0)),
    )


def _spans(trace: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for resource in trace["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            yield from scope["spans"]
