"""What a process tells about itself: a trace per job, kept locally or exported, and log lines with its ids."""

from verdex.telemetry.logs import bind, set_up_logging
from verdex.telemetry.redaction import keep_secret, keep_secrets_of, redact
from verdex.telemetry.tracing import Tracing, current_trace_id, set_up_tracing, within_trace

__all__ = [
    "Tracing",
    "bind",
    "current_trace_id",
    "keep_secret",
    "keep_secrets_of",
    "redact",
    "set_up_logging",
    "set_up_tracing",
    "within_trace",
]
