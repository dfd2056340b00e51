"""What the tracing of a process consists of, as the standard `OTEL_*` settings choose.

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
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast
from uuid import uuid4

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
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.util.types import AttributeValue

from verdex import __version__
from verdex.telemetry.exporting import Guarded, without_secrets
from verdex.telemetry.store import SpanStore

if TYPE_CHECKING:
    from temporalio.contrib.opentelemetry import ReplaySafeTracerProvider

Provider: TypeAlias = "TracerProvider | ReplaySafeTracerProvider"

FLUSH_SECONDS = 2.0
STORE_DELAY_MILLISECONDS = 500.0

_logger = logging.getLogger(__name__)


def build_provider(service_name: str, traces_directory: Path, *, runs_workflows: bool = True) -> Provider:
    """Make a provider with the exporters that the environment chooses, without making it the global one."""
    resource = _resource(service_name)
    provider = _replay_safe(resource) if runs_workflows else TracerProvider(resource=resource)
    for exporter in _exporters(traces_directory):
        if processor := _processor(exporter):
            provider.add_span_processor(processor)
    return provider


def _replay_safe(resource: Resource) -> "ReplaySafeTracerProvider":
    """One whose spans end once, however often a workflow is replayed."""
    from temporalio.contrib.opentelemetry import create_tracer_provider  # noqa: PLC0415  (slow to import)

    return create_tracer_provider(resource=resource)


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
