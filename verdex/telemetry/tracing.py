"""OpenTelemetry tracing of a process, as the standard `OTEL_*` settings choose.

Spans go to the local span store and to the exporters named in `OTEL_TRACES_EXPORTER` (`otlp` if only an OTLP
endpoint is set). `OTEL_TRACES_EXPORTER=none` and `OTEL_SDK_DISABLED=true` switch the store off as well. Every
exporter has a thread and a bounded queue of its own: a span ends in workflow code, which must not wait for a disk
or a network. What is around all of them is in `exporting`.
"""

import logging
import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import ClassVar, cast
from uuid import uuid4

from opentelemetry import trace
from opentelemetry.environment_variables import OTEL_TRACES_EXPORTER
from opentelemetry.sdk.environment_variables import (
    OTEL_BSP_SCHEDULE_DELAY,
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_PROTOCOL,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL,
    OTEL_SDK_DISABLED,
)
from opentelemetry.sdk.resources import (
    HOST_NAME,
    PROCESS_PID,
    PROCESS_RUNTIME_NAME,
    PROCESS_RUNTIME_VERSION,
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
)
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.util.types import AttributeValue
from temporalio.contrib.opentelemetry import ReplaySafeTracerProvider, create_tracer_provider

from verdex import __version__
from verdex.telemetry.exporting import Guarded, without_secrets
from verdex.telemetry.store import SpanStore

FLUSH_SECONDS = 2.0
STORE_DELAY_MILLISECONDS = 500.0

_logger = logging.getLogger(__name__)


class Tracing:
    """The tracing of this process."""

    _of_process: ClassVar["Tracing | None"] = None
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, provider: ReplaySafeTracerProvider) -> None:
        """Hold the provider, which `set_up_tracing` makes the global one."""
        self._provider = provider

    @classmethod
    def of_process(cls, service_name: str, traces_directory: Path) -> "Tracing":
        """Give the one tracing of this process, and set it up the first time."""
        with cls._lock:
            if cls._of_process is None:
                provider = build_provider(service_name, traces_directory)
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


def set_up_tracing(service_name: str, traces_directory: Path) -> Tracing:
    """Set the global tracer provider, once per process: later calls return the same tracing.

    `OTEL_SERVICE_NAME` has precedence over `service_name`. A setting that does not work is logged, not raised.
    """
    return Tracing.of_process(service_name, traces_directory)


def current_trace_id() -> str | None:
    """Give the trace id of the current span as 32 hex digits; None outside a span."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


@contextmanager
def within_trace(trace_id: str) -> Iterator[None]:
    """Spans that begin inside belong to a trace that other processes began; their parent is not known.

    `trace_id` is written as 32 hex digits.
    """
    generated = RandomIdGenerator().generate_span_id()
    parent = trace.SpanContext(
        int(trace_id, 16), generated, is_remote=True, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED)
    )
    with trace.use_span(trace.NonRecordingSpan(parent)):
        yield


def build_provider(service_name: str, traces_directory: Path) -> ReplaySafeTracerProvider:
    """Make a provider with the exporters that the environment chooses, without making it the global one."""
    provider = create_tracer_provider(resource=_resource(service_name))
    for exporter in _exporters(traces_directory):
        if processor := _processor(exporter):
            provider.add_span_processor(processor)
    return provider


class _BoundedProcessor(BatchSpanProcessor):
    """By default, a process would stay for half a minute for a backend that does not answer."""

    _flush: threading.Thread | None = None

    def force_flush(self, timeout_millis: int | None = None) -> bool:
        if not self._hangs():
            flush = super().force_flush
            self._flush = threading.Thread(target=flush, args=(timeout_millis,), name="flush-spans", daemon=True)
            self._flush.start()
            self._flush.join(FLUSH_SECONDS)
        return not self._hangs()

    def shutdown(self) -> None:
        self._batch_processor.shutdown(timeout_millis=0 if self._hangs() else int(FLUSH_SECONDS * 1000))

    def _hangs(self) -> bool:
        return self._flush is not None and self._flush.is_alive()


def _resource(service_name: str) -> Resource:
    """Neither the command line nor the environment of the process, which may hold secrets."""
    known: dict[str, AttributeValue] = {
        SERVICE_NAME: service_name,
        SERVICE_VERSION: __version__,
        SERVICE_INSTANCE_ID: str(uuid4()),
        HOST_NAME: platform.node(),
        PROCESS_PID: os.getpid(),
        PROCESS_RUNTIME_NAME: sys.implementation.name,
        PROCESS_RUNTIME_VERSION: platform.python_version(),
    }
    return Resource.create(without_secrets({**known, **OTELResourceDetector().detect().attributes}))


def _processor(exporter: SpanExporter) -> BatchSpanProcessor | None:
    by_default = STORE_DELAY_MILLISECONDS if isinstance(exporter, SpanStore) else None
    delay = None if _setting(OTEL_BSP_SCHEDULE_DELAY) else by_default
    try:
        return _BoundedProcessor(Guarded(exporter), schedule_delay_millis=delay)
    except ValueError as error:
        _logger.warning("no spans for %s: OTEL_BSP_*: %s", type(exporter).__name__, error)
        return None


def _exporters(traces_directory: Path) -> Iterator[SpanExporter]:
    names = _exporter_names()
    if _setting(OTEL_SDK_DISABLED).lower() == "true" or "none" in names:
        return
    # The store comes first, so that a slow backend does not use up the time that flushing may take.
    yield SpanStore(traces_directory)
    yield from filter(None, map(_exporter, names))


def _exporter_names() -> list[str]:
    chosen = [name.strip() for name in _setting(OTEL_TRACES_EXPORTER).split(",") if name.strip()]
    if chosen:
        return chosen
    endpoint = _setting(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) or _setting(OTEL_EXPORTER_OTLP_ENDPOINT)
    return ["otlp"] if endpoint else []


def _exporter(name: str) -> SpanExporter | None:
    if name == "console":
        return ConsoleSpanExporter(out=sys.stderr)  # stdout belongs to the result of the command
    entry_point = _otlp_entry_point() if name == "otlp" else name
    found = entry_points(group="opentelemetry_traces_exporter", name=entry_point)
    try:
        return cast("SpanExporter", next(iter(found)).load()())
    except StopIteration:
        _logger.warning("traces exporter %s is ignored: %s is not installed", name, entry_point)
    except Exception:  # whatever an exporter raises, the jobs go on without it
        _logger.exception("traces exporter %s is ignored: %s cannot be set up", name, entry_point)
    return None


def _otlp_entry_point() -> str:
    protocol = _setting(OTEL_EXPORTER_OTLP_TRACES_PROTOCOL) or _setting(OTEL_EXPORTER_OTLP_PROTOCOL)
    return "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"


def _setting(name: str) -> str:
    return os.environ.get(name, "").strip()
