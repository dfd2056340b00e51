"""Log lines of the whole process, for people or as JSON, each with the ids of its job and its span."""

import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from json import dumps
from types import MappingProxyType
from typing import Any, TextIO

from opentelemetry import trace

Fields = dict[str, Any]

_bound: ContextVar[Mapping[str, Any]] = ContextVar("bound_log_fields", default=MappingProxyType({}))

# Up to the last @: a password may hold one, and to hide too much does less harm than to show a part of it.
_URL_PASSWORD = re.compile(r"(://[^\s:/@]*):\S*@")
_NAMED_PASSWORD = re.compile(r"(?i)(password=)('[^']*'|\"[^\"]*\"|[^\s&,;'\")]+)")

_RECORD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_TEMPORAL_EXTRAS = ("temporal_workflow", "temporal_activity")
_TEMPORAL_FIELDS = {
    "workflow_id": "workflow_id",
    "workflow_type": "workflow_type",
    "run_id": "run_id",
    "workflow_run_id": "run_id",
    "activity_type": "activity_type",
    "attempt": "attempt",
}


def set_up_logging(*, json: bool, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send the log records and Python warnings of the process to `stream` (stderr) and nowhere else.

    Raises ValueError if `level` is no level of `logging`.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if json else HumanFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    # Temporal closes the coroutine of a workflow that leaves its cache from elsewhere; OpenTelemetry complains of it.
    logging.getLogger("opentelemetry.context").setLevel(logging.CRITICAL)


@contextmanager
def bind(**fields: object) -> Iterator[None]:
    """Put the fields on every line that is logged inside, also by tasks and activities started there."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def redact(text: str) -> str:
    """Replace the passwords in connection strings, both as URL and as `password=…`, by `***`."""
    return _NAMED_PASSWORD.sub(r"\1***", _URL_PASSWORD.sub(r"\1:***@", text))


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object in one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Give time, level, logger, message, exception, ids of the span, bound fields and extras."""
        heading = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        # A field never replaces a part of the heading; the union keeps the order of its first operand.
        fields = heading | self._exception(record) | _span_ids() | _fields(record) | heading
        line = dumps(_clean(fields), ensure_ascii=False)
        return line.encode("utf-8", errors="replace").decode()

    def _exception(self, record: logging.LogRecord) -> Fields:
        if not record.exc_info or record.exc_info[1] is None:
            return {}
        error = record.exc_info[1]
        return {
            "error_type": type(error).__name__,
            "error": str(error),
            "traceback": self.formatException(record.exc_info),
        }


class HumanFormatter(logging.Formatter):
    """Formats a record as a line of text with its fields at the end, and the traceback below."""

    def __init__(self) -> None:
        """Set the layout; times are local, for the person who reads them."""
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is the standard library's
        """Give the line above the traceback."""
        record.message = _message(record)
        fields = "".join(f" {key}={value}" for key, value in _fields(record).items())
        return super().formatMessage(record) + fields

    def format(self, record: logging.LogRecord) -> str:
        """Give the text of the record."""
        return redact(super().format(record)).encode("utf-8", errors="replace").decode()


def _message(record: logging.LogRecord) -> str:
    message = record.getMessage()
    for name in _TEMPORAL_EXTRAS:
        # Temporal's loggers repeat as text behind the message what they pass as fields.
        message = message.removesuffix(f" ({getattr(record, name, None)})")
    return message


def _fields(record: logging.LogRecord) -> Fields:
    extras = {key: value for key, value in vars(record).items() if key not in _RECORD_ATTRIBUTES}
    temporal: Fields = {}
    for name in _TEMPORAL_EXTRAS:
        details = extras.pop(name, {})
        temporal |= {_TEMPORAL_FIELDS[key]: details[key] for key in _TEMPORAL_FIELDS if key in details}
    return temporal | dict(_bound.get()) | extras


def _span_ids() -> Fields:
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {
        "trace_id": trace.format_trace_id(context.trace_id),
        "span_id": trace.format_span_id(context.span_id),
    }


def _clean(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item) for item in value]
    return redact(str(value))
