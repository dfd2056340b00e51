"""What a process tells about itself: a trace per job, kept locally or exported, and log lines with its ids."""

from verdex.telemetry.logs import bind, redact, set_up_logging
from verdex.telemetry.store import SpanStore, StoredSpan
from verdex.telemetry.tracing import Tracing, current_trace_id, set_up_tracing

__all__ = [
    "SpanStore",
    "StoredSpan",
    "Tracing",
    "bind",
    "current_trace_id",
    "redact",
    "set_up_logging",
    "set_up_tracing",
]
