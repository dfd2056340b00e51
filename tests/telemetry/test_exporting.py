"""What every exporter is given, and what is heard of one that fails."""

import logging
import threading
from collections.abc import Sequence
from contextlib import suppress

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode, Tracer

from tests.backends import Backend, nobody
from verdex.telemetry.exporting import Guarded

URL = "postgresql://ann:s3cret-word@db/registry"
HIDDEN = "postgresql://ann:***@db/registry"
NOT_UTF8 = "cannot read caf\udce9.py"


@pytest.fixture
def exported() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exported: InMemorySpanExporter) -> Tracer:
    provider = TracerProvider(resource=Resource({}))
    provider.add_span_processor(SimpleSpanProcessor(Guarded(exported)))
    return provider.get_tracer("tests")


def only(exported: InMemorySpanExporter) -> ReadableSpan:
    (span,) = exported.get_finished_spans()
    return span


def test_no_exporter_is_given_a_password(tracer: Tracer, exported: InMemorySpanExporter) -> None:
    with (
        pytest.raises(ConnectionError),
        tracer.start_as_current_span(f"read {URL}", attributes={"one": URL, "more": [URL]}),
    ):
        raise ConnectionError(URL)
    span = only(exported)
    assert "s3cret" not in str(encode_spans([span]))
    assert span.attributes is not None
    assert (span.name, span.attributes["one"], span.attributes["more"]) == (f"read {HIDDEN}", HIDDEN, [HIDDEN])
    assert span.status.description == f"ConnectionError: {HIDDEN}"


def test_a_span_that_failed_has_the_type_of_its_last_exception(tracer: Tracer, exported: InMemorySpanExporter) -> None:
    with suppress(LookupError), tracer.start_as_current_span("step") as span:
        span.record_exception(ValueError("first"))
        raise KeyError("last")
    assert (only(exported).attributes or {})["error.type"] == "KeyError"


def test_an_error_type_that_was_given_stays(tracer: Tracer, exported: InMemorySpanExporter) -> None:
    with suppress(LookupError), tracer.start_as_current_span("step", attributes={"error.type": "23514"}):
        raise KeyError("last")
    assert (only(exported).attributes or {})["error.type"] == "23514"


def test_one_that_failed_without_an_exception_has_the_type_that_stands_for_any_other(
    tracer: Tracer, exported: InMemorySpanExporter
) -> None:
    with tracer.start_as_current_span("step") as span:
        span.set_status(Status(StatusCode.ERROR, "cancelled"))
    assert (only(exported).attributes or {})["error.type"] == "_OTHER"


def test_one_that_did_well_has_no_error_type(tracer: Tracer, exported: InMemorySpanExporter) -> None:
    with tracer.start_as_current_span("step") as span:
        span.record_exception(ValueError("overcome"))
    assert "error.type" not in (only(exported).attributes or {})


def test_a_name_that_is_not_utf8_costs_neither_its_span_nor_the_others(
    tracer: Tracer, exported: InMemorySpanExporter
) -> None:
    with pytest.raises(OSError), tracer.start_as_current_span(NOT_UTF8, attributes={"path": NOT_UTF8}):  # noqa: PT011
        raise OSError(NOT_UTF8)
    (span,) = encode_spans([only(exported)]).resource_spans[0].scope_spans[0].spans
    assert (span.name, span.status.message) == ("cannot read caf?.py", "OSError: cannot read caf?.py")
    told = {attribute.key: attribute.value.string_value for attribute in span.events[0].attributes}
    assert told["exception.message"] == span.name
    assert "cannot read caf?.py" in told["exception.stacktrace"]


def export(guarded: Guarded, times: int = 1) -> list[SpanExportResult]:
    span = TracerProvider().get_tracer("tests").start_span("step")
    assert isinstance(span, ReadableSpan)
    return [guarded.export([span]) for _ in range(times)]


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What a log gets; pytest captures also the loggers that are cut off."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("verdex")]


def test_what_an_exporter_logs_of_itself_stays_out_of_the_log() -> None:
    Guarded(Broken())
    assert not logging.getLogger("opentelemetry.exporter").propagate


def test_a_backend_that_fails_is_told_once_with_the_reason_and_so_is_that_it_works_again(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    guarded = Guarded(OTLPSpanExporter(backend.endpoint, timeout=0.1))
    backend.status = 503
    with caplog.at_level(logging.DEBUG):
        assert export(guarded, 3) == [SpanExportResult.FAILURE] * 3
        backend.status = 404
        assert export(guarded) == [SpanExportResult.FAILURE]
        backend.status = 200
        assert export(guarded, 2) == [SpanExportResult.SUCCESS] * 2
        backend.status = 404
        export(guarded)
    told = lines(caplog)
    assert told[0].startswith("spans are dropped by OTLPSpanExporter, until it works again: Failed to export")
    assert told[1] == "OTLPSpanExporter works again; 4 spans were dropped"
    assert "Not Found" in told[2]
    assert len(told) == 3


def test_nobody_listening_is_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    export(Guarded(OTLPSpanExporter(nobody(), timeout=1.5)), 2)
    (line,) = lines(caplog)
    assert "Connection refused" in line


class Broken(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        raise RuntimeError("bug in it")


def test_an_exporter_that_raises_is_told_once_and_never_raises_further(caplog: pytest.LogCaptureFixture) -> None:
    assert export(Guarded(Broken()), 3) == [SpanExportResult.FAILURE] * 3
    (line,) = lines(caplog)
    assert line.endswith("until it works again: RuntimeError: bug in it")


def test_a_queue_that_is_full_drops_spans_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    going_on = threading.Event()

    class Slow(InMemorySpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            going_on.wait()
            return super().export(spans)

    exported = Slow()
    processor = BatchSpanProcessor(Guarded(exported), max_queue_size=20, max_export_batch_size=10)
    provider = TracerProvider()
    provider.add_span_processor(processor)
    for _ in range(500):
        provider.get_tracer("tests").start_span("step").end()
    going_on.set()
    provider.shutdown()
    assert 20 <= len(exported.get_finished_spans()) <= 30
    full = [record for record in caplog.records if "Queue full" in record.getMessage()]
    assert len(full) <= 1  # of all the tests of this process, the first hears it
