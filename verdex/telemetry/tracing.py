"""OpenTelemetry tracing of a process: set up once, flushed at its end. What it consists of is in `provider`."""

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from opentelemetry import trace
from opentelemetry.util.types import Attributes

if TYPE_CHECKING:
    from verdex.telemetry.provider import Provider


class Tracing:
    """The tracing of this process."""

    _of_process: ClassVar["Tracing | None"] = None
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, provider: "Provider | WhenNeeded") -> None:
        """Hold the provider, which `set_up_tracing` makes the global one."""
        self._provider = provider

    @classmethod
    def of_process(cls, service_name: str, traces_directory: Path, *, runs_workflows: bool) -> "Tracing":
        """Give the one tracing of this process, and set it up the first time."""
        build = partial(_build, service_name, traces_directory, runs_workflows=runs_workflows)
        with cls._lock:
            if cls._of_process is None:
                provider = build() if runs_workflows else WhenNeeded(build)
                trace.set_tracer_provider(provider)
                cls._of_process = cls(provider)
            return cls._of_process

    def flush(self) -> None:
        """Export the spans that ended so far; gives up after `FLUSH_SECONDS` an exporter."""
        self._provider.force_flush()

    def shutdown(self) -> None:
        """Export what is left and stop, within `FLUSH_SECONDS` an exporter; later spans are dropped.

        What a flush has given up is not waited for again. Happens by itself when the interpreter exits.
        """
        self._provider.shutdown()


class WhenNeeded(trace.TracerProvider):
    """A provider that is built when somebody asks for a tracer, to begin a span: that is slow, and few commands do."""

    def __init__(self, build: "Callable[[], Provider]") -> None:
        """`build` is called once, or never."""
        self._build = build
        self._built: Provider | None = None

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> trace.Tracer:
        """Give a tracer of the provider."""
        self._built = self._built or self._build()
        return self._built.get_tracer(instrumenting_module_name, instrumenting_library_version, schema_url, attributes)

    def force_flush(self) -> None:
        """Flush what there is."""
        if self._built:
            self._built.force_flush()

    def shutdown(self) -> None:
        """Stop what there is."""
        if self._built:
            self._built.shutdown()


def set_up_tracing(service_name: str, traces_directory: Path, *, runs_workflows: bool = True) -> Tracing:
    """Set the global tracer provider, once per process: later calls return the same tracing.

    `OTEL_SERVICE_NAME` has precedence over `service_name`. A setting that does not work is logged, not raised.
    A process that runs no workflows does without what keeps their spans from being ended again by a replay, and without
    all the rest until somebody asks for a tracer: both are slow to import.
    """
    return Tracing.of_process(service_name, traces_directory, runs_workflows=runs_workflows)


def _build(service_name: str, traces_directory: Path, *, runs_workflows: bool) -> "Provider":
    from verdex.telemetry.provider import build_provider  # noqa: PLC0415  (slow to import)

    return build_provider(service_name, traces_directory, runs_workflows=runs_workflows)


def current_trace_id() -> str | None:
    """Give the trace id of the current span as 32 hex digits; None outside a span."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


@contextmanager
def within_trace(trace_id: str) -> Iterator[None]:
    """Spans that begin inside belong to a trace that other processes began; their parent is not known.

    `trace_id` is written as 32 hex digits.
    """
    sampled = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    parent = trace.SpanContext(int(trace_id, 16), secrets.randbits(64), is_remote=True, trace_flags=sampled)
    with trace.use_span(trace.NonRecordingSpan(parent)):
        yield
