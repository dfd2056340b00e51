"""Spans as the store keeps them, to and from OTLP/JSON.

The encoding: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding. The encoder of the OTLP exporters
makes protobuf messages, whose own JSON differs from it: ids would be base64.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanKind, StatusCode

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Event, ReadableSpan

Attributes = dict[str, Any]
Json = dict[str, Any]
Status = Literal["unset", "ok", "error"]

_STATUSES: tuple[Status, ...] = ("unset", "ok", "error")  # the position is the number in OTLP


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """Something that happened within a span; an exception is an event named `exception`."""

    name: str
    time_ns: int
    attributes: Attributes = field(default_factory=dict)

    @property
    def type(self) -> str | None:
        """Qualified name of the class of the exception; None if the event is no exception."""
        return self.attributes.get("exception.type")

    @property
    def message(self) -> str | None:
        """Message of the exception."""
        return self.attributes.get("exception.message")

    @property
    def stacktrace(self) -> str | None:
        """Traceback of the exception, several lines."""
        return self.attributes.get("exception.stacktrace")


@dataclass(frozen=True, slots=True)
class StoredSpan:
    """A finished span; ids are lower-case hex, times are nanoseconds since the epoch."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    start_ns: int
    end_ns: int
    status: Status = "unset"
    status_message: str = ""
    attributes: Attributes = field(default_factory=dict)
    events: tuple[StoredEvent, ...] = ()
    kind: SpanKind = SpanKind.INTERNAL
    scope: str = ""
    resource: Attributes = field(default_factory=dict)


def from_sdk(span: "ReadableSpan") -> StoredSpan:
    """Copy a finished span of the SDK."""
    context = span.get_span_context() or INVALID_SPAN_CONTEXT
    return StoredSpan(
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        parent_span_id=f"{span.parent.span_id:016x}" if span.parent else None,
        name=span.name,
        start_ns=span.start_time or 0,
        end_ns=span.end_time or 0,
        status=_status(span.status.status_code),
        status_message=span.status.description or "",
        attributes=_plain(span.attributes or {}),
        events=tuple(_event(event) for event in span.events),
        kind=span.kind,
        scope=span.instrumentation_scope.name if span.instrumentation_scope else "",
        resource=_plain(span.resource.attributes),
    )


def encode(spans: Iterable[StoredSpan]) -> Json:
    """Make one `TracesData` message of the spans, grouped by resource and scope."""
    scopes: dict[tuple[str, str], Json] = {}
    for span in spans:
        scope = scopes.setdefault((repr(span.resource), span.scope), _resource_spans(span))
        scope["scopeSpans"][0]["spans"].append(_encode_span(span))
    return {"resourceSpans": list(scopes.values())}


def decode(traces: Json) -> Iterator[StoredSpan]:
    """Read the spans of a `TracesData` message; raises KeyError, TypeError or ValueError if it is none."""
    for resource_spans in traces["resourceSpans"]:
        resource = _decode_attributes(resource_spans["resource"])
        for scope_spans in resource_spans["scopeSpans"]:
            scope = scope_spans["scope"].get("name", "")
            for span in scope_spans["spans"]:
                yield _decode_span(span, scope, resource)


def _status(code: StatusCode) -> Status:
    return _STATUSES[code.value]


def _event(event: "Event") -> StoredEvent:
    return StoredEvent(event.name, event.timestamp, _plain(event.attributes or {}))


def _plain(attributes: Mapping[str, object]) -> Attributes:
    return {key: _plain_value(value) for key, value in attributes.items()}


def _plain_value(value: object) -> object:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain_value(item) for item in value]
    return str(value)


def _resource_spans(span: StoredSpan) -> Json:
    return {
        "resource": {"attributes": _encode_attributes(span.resource)},
        "scopeSpans": [{"scope": {"name": span.scope}, "spans": []}],
    }


def _encode_span(span: StoredSpan) -> Json:
    parent = {"parentSpanId": span.parent_span_id} if span.parent_span_id else {}
    return {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        **parent,
        "name": span.name,
        "kind": span.kind.value + 1,  # in OTLP, 0 means that the kind is not specified
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _encode_attributes(span.attributes),
        "events": [_encode_event(event) for event in span.events],
        "status": {"code": _STATUSES.index(span.status), "message": span.status_message},
    }


def _encode_event(event: StoredEvent) -> Json:
    return {
        "name": event.name,
        "timeUnixNano": str(event.time_ns),
        "attributes": _encode_attributes(event.attributes),
    }


def _encode_attributes(attributes: Attributes) -> list[Json]:
    return [{"key": key, "value": _encode_value(value)} for key, value in attributes.items()]


def _encode_value(value: object) -> Json:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list():
            return {"arrayValue": {"values": [_encode_value(item) for item in value]}}
        case _:
            return {"stringValue": value}


def _decode_span(span: Json, scope: str, resource: Attributes) -> StoredSpan:
    status = span["status"]
    return StoredSpan(
        trace_id=span["traceId"],
        span_id=span["spanId"],
        parent_span_id=span.get("parentSpanId"),
        name=span["name"],
        start_ns=int(span["startTimeUnixNano"]),
        end_ns=int(span["endTimeUnixNano"]),
        status=_STATUSES[status["code"]],
        status_message=status["message"],
        attributes=_decode_attributes(span),
        events=tuple(_decode_event(event) for event in span["events"]),
        kind=SpanKind(span["kind"] - 1),
        scope=scope,
        resource=resource,
    )


def _decode_event(event: Json) -> StoredEvent:
    return StoredEvent(event["name"], int(event["timeUnixNano"]), _decode_attributes(event))


def _decode_attributes(owner: Json) -> Attributes:
    return {attribute["key"]: _decode_value(attribute["value"]) for attribute in owner["attributes"]}


def _decode_value(value: Json) -> object:
    match value:
        case {"intValue": number}:
            return int(number)
        case {"arrayValue": {"values": values}}:
            return [_decode_value(item) for item in values]
        case _:
            return next(iter(value.values()), None)
