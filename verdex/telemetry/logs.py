"""Log lines of the whole process, for people or as JSON, each with the ids of its job and its span."""

import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from json import dumps
from types import MappingProxyType
from typing import Any, Final, TextIO

from opentelemetry import trace

from verdex.telemetry.fields import cleaned, text_of
from verdex.telemetry.redaction import redact

Fields = dict[str, Any]

_bound: ContextVar[Mapping[str, Any]] = ContextVar("bound_log_fields", default=MappingProxyType({}))

_RECORD_ATTRIBUTES: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_TEMPORAL_EXTRAS: Final = ("temporal_workflow", "temporal_activity")
_CORE_EXTRA: Final = "temporal_log"
_TEMPORAL_FIELDS: Final = {
    "workflow_id": "workflow_id",
    "workflow_type": "workflow_type",
    "run_id": "run_id",
    "workflow_run_id": "run_id",
    "activity_type": "activity",
    "attempt": "attempt",
}
_IDS_FOR_MACHINES: Final = frozenset({"workflow_id", "run_id", "project_id", "trace_id", "span_id"})
"""What a person who has the job id can find, and does not want in each line."""
_SEPARATORS: Final = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}
"""What JSON may hold as it is, and what some readers of lines take for the end of one."""
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in b"\n\t"}
"""What a terminal would obey."""


def set_up_logging(
    *, json: bool, level: str = "INFO", stream: TextIO | None = None, identify: logging.Filter | None = None
) -> None:
    """Send the log records and Python warnings of the process to `stream` (stderr) and nowhere else.

    `identify` may add ids to each record. Raises ValueError if `level` is no level of `logging`.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if json else HumanFormatter())
    if identify is not None:
        handler.addFilter(identify)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    # Temporal closes the coroutine of a workflow that leaves its cache from elsewhere; OpenTelemetry complains of it.
    logging.getLogger("opentelemetry.context").setLevel(logging.CRITICAL)
    # It has a line for each request, of which an embedder is asked thousands for a job.
    logging.getLogger("httpx2").setLevel(logging.WARNING)


@contextmanager
def bind(**fields: object) -> Iterator[None]:
    """Put the fields on every line that is logged inside, also by tasks and activities started there."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object in one line, whatever it holds."""

    def format(self, record: logging.LogRecord) -> str:
        """Give time, level, logger, message, exception, ids of the span, bound fields and extras."""
        heading = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        fields = _fields(record)
        # A field never replaces a part of the heading; the union keeps the order of its first operand.
        told = heading | _exception(record) | _span_ids(fields) | fields | heading
        line = dumps(cleaned(told), ensure_ascii=False, allow_nan=False).translate(_SEPARATORS)
        return line.encode("utf-8", errors="replace").decode()


class HumanFormatter(logging.Formatter):
    """Formats a record as a line of text with its fields at the end, and the traceback below."""

    def __init__(self) -> None:
        """Set the layout; times are local, for the person who reads them."""
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is the standard library's
        """Give the line above the traceback."""
        record.message = text_of(cleaned(_message(record)))
        fields = "".join(f" {key}={_for_people(value)}" for key, value in _telling(_fields(record)).items())
        return super().formatMessage(record) + fields

    def format(self, record: logging.LogRecord) -> str:
        """Give the text of the record."""
        record.asctime = self.formatTime(record)
        parts = [self.formatMessage(record), text_of(cleaned(_traceback(record))), record.stack_info]
        return redact("\n".join(filter(None, parts))).translate(_CONTROLS).encode("utf-8", errors="replace").decode()


def _message(record: logging.LogRecord) -> str:
    core = getattr(record, _CORE_EXTRA, None)
    if core is not None:
        return text_of(core.message)
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001  (its arguments do not fit it, or cannot be shown)
        message = text_of(record.msg)
    for name in _TEMPORAL_EXTRAS:
        # Temporal's loggers repeat as text behind the message what they pass as fields.
        message = message.removesuffix(f" ({text_of(getattr(record, name, None))})")
    return message


def _fields(record: logging.LogRecord) -> Fields:
    extras = {key: value for key, value in vars(record).items() if key not in _RECORD_ATTRIBUTES}
    temporal: Fields = {}
    for name in _TEMPORAL_EXTRAS:
        details = extras.pop(name, {})
        temporal |= {_TEMPORAL_FIELDS[key]: details[key] for key in _TEMPORAL_FIELDS if key in details}
    bound = {key: value for key, value in _bound.get().items() if value is not None}
    return _core_fields(extras.pop(_CORE_EXTRA, None)) | temporal | bound | extras


def _core_fields(core: Any) -> Fields:  # noqa: ANN401
    """What Temporal's core tells beside its message."""
    try:
        told = core.fields if core is not None else {}
    except Exception:  # noqa: BLE001  (as the SDK does)
        return {}
    return {_TEMPORAL_FIELDS.get(key, key): value for key, value in told.items()}


def _span_ids(fields: Mapping[str, object]) -> Fields:
    """Those of the current span, unless the line is about another trace."""
    context = trace.get_current_span().get_span_context()
    trace_id = trace.format_trace_id(context.trace_id)
    if not context.is_valid or fields.get("trace_id", trace_id) != trace_id:
        return {}
    return {"trace_id": trace_id, "span_id": trace.format_span_id(context.span_id)}


def _exception(record: logging.LogRecord) -> Fields:
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return {}
    return {"error_type": type(error).__name__, "error": text_of(error), "traceback": _traceback(record)}


def _traceback(record: logging.LogRecord) -> str:
    """Of an exception whose text cannot be made, that as well."""
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    return "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")


def _telling(fields: Fields) -> Fields:
    kept = {key: value for key, value in fields.items() if value is not None and (key, value) != ("attempt", 1)}
    return {key: kept[key] for key in kept if "job_id" not in kept or key not in _IDS_FOR_MACHINES}


def _for_people(value: object) -> str:
    text = text_of(cleaned(value))
    return repr(text) if "\n" in text else text
