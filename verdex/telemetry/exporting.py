"""What every exporter has around it: spans come without secrets, as the conventions want them, and failing is quiet."""

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE, ErrorTypeValues
from opentelemetry.semconv.attributes.exception_attributes import EXCEPTION_TYPE
from opentelemetry.trace import Status, StatusCode
from opentelemetry.util.types import AnyValue

from verdex.telemetry.redaction import redact

_logger = logging.getLogger(__name__)


class Guarded(SpanExporter):
    """Keeps secrets from an exporter, and its failures from the process and its log."""

    def __init__(self, exporter: SpanExporter) -> None:
        """What `exporter` and its kind log of themselves is told by this, and less often."""
        self.exporter: Final = exporter
        self._dropped = 0
        _complaints.take_over()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export the spans; one line when they begin to be dropped, and one when that has passed. Never raises."""
        try:
            result = self.exporter.export([cleaned(span) for span in spans])
        except Exception as error:  # noqa: BLE001  (whatever an exporter raises, jobs go on)
            result, reason = SpanExportResult.FAILURE, f"{type(error).__name__}: {error}"
        else:
            reason = _complaints.taken()
        self._tell(result, len(spans), reason)
        return result

    def _tell(self, result: SpanExportResult, count: int, reason: str) -> None:
        name = type(self.exporter).__name__
        if result is SpanExportResult.FAILURE:
            if not self._dropped:
                _logger.warning("spans are dropped by %s, until it works again: %s", name, reason or "no reason given")
            self._dropped += count
        elif self._dropped:
            _logger.warning("%s works again; %d spans were dropped", name, self._dropped)
            self._dropped = 0

    def shutdown(self) -> None:
        """Stop the exporter."""
        self.exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the exporter."""
        return self.exporter.force_flush(timeout_millis)


class _Complaints(logging.Handler):
    """Takes the lines that OpenTelemetry's exporters would log at each failure, and keeps the first of each export."""

    def __init__(self) -> None:
        super().__init__()
        self._of_thread = threading.local()

    def take_over(self) -> None:
        exporters = logging.getLogger("opentelemetry.exporter")
        exporters.propagate = False
        exporters.addHandler(self)
        queues = logging.getLogger("opentelemetry.sdk._shared_internal")
        queues.addFilter(_once)

    def emit(self, record: logging.LogRecord) -> None:
        """An exporter says first why it tries again, and last that it gives up."""
        if not hasattr(self._of_thread, "first"):
            self._of_thread.first = record.getMessage()

    def taken(self) -> str:
        return str(vars(self._of_thread).pop("first", ""))


class _Once(logging.Filter):
    """Passes each kind of message once: that a queue is full would be said for every span that it drops."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        is_new = record.msg not in self._seen
        self._seen.add(record.msg)
        return is_new


_complaints: Final = _Complaints()
_once: Final = _Once()


def cleaned(span: ReadableSpan) -> ReadableSpan:
    """A copy of a finished span without secrets, all text of which is UTF-8, and with an `error.type` if it failed."""
    failed = span.status.status_code is StatusCode.ERROR
    return ReadableSpan(
        name=_text(span.name),
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes={**(_error_type(span.events) if failed else {}), **without_secrets(span.attributes)},
        events=[Event(_text(one.name), without_secrets(one.attributes), one.timestamp) for one in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code, _text(span.status.description or "")) if failed else span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _error_type(events: Sequence[Event]) -> dict[str, AnyValue]:
    types = [attributes[EXCEPTION_TYPE] for event in events if EXCEPTION_TYPE in (attributes := event.attributes or {})]
    return {ERROR_TYPE: types[-1] if types else ErrorTypeValues.OTHER.value}


def without_secrets(attributes: Mapping[str, AnyValue] | None) -> dict[str, AnyValue]:
    """A copy of attributes, all text of which is UTF-8."""
    return {_text(key): _value(value) for key, value in (attributes or {}).items()}


def _value(value: AnyValue) -> AnyValue:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return without_secrets(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_value(item) for item in value]
    return value


def _text(text: str) -> str:
    """The OTLP encoder drops what holds a part of a name that is not UTF-8, and a whole batch with it."""
    return redact(text).encode(errors="replace").decode()
