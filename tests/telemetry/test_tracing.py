import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider

from tests.backends import Backend, nobody
from verdex import __version__
from verdex.telemetry import Tracing, current_trace_id
from verdex.telemetry.provider import Provider, build_provider
from verdex.telemetry.store import read

BAD_CREDENTIALS = "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER"


@pytest.fixture(autouse=True)
def no_otel_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@contextmanager
def tracing_into(directory: Path) -> Iterator[Provider]:
    provider = build_provider("verdex-tests", directory)
    try:
        yield provider
    finally:
        provider.shutdown()


def record_a_span(directory: Path) -> str:
    """Record and export one span; give its trace id."""
    with tracing_into(directory) as provider, provider.get_tracer("tests").start_as_current_span("step"):
        trace_id = current_trace_id()
    assert trace_id is not None
    return trace_id


@pytest.fixture
def silent_endpoint() -> Iterator[str]:
    """Accept connections, and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_without_settings_spans_go_to_the_store(tmp_path: Path) -> None:
    trace_id = record_a_span(tmp_path)
    (span,) = read(tmp_path, trace_id)
    assert span.name == "step"
    assert span.resource["service.name"] == "verdex-tests"


@pytest.mark.parametrize(
    ("setting", "path"),
    [("OTEL_EXPORTER_OTLP_ENDPOINT", ""), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "/v1/traces")],
)
def test_an_endpoint_alone_exports_over_otlp_and_keeps_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: Backend, setting: str, path: str
) -> None:
    monkeypatch.setenv(setting, backend.endpoint + path)
    trace_id = record_a_span(tmp_path)
    ((posted_to, body),) = backend.received
    (span,) = ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans
    assert (posted_to, span.name, span.trace_id.hex()) == ("/v1/traces", "step", trace_id)
    assert len(read(tmp_path, trace_id)) == 1


def test_an_exporter_is_found_by_the_name_of_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: Backend
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.endpoint)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp_proto_http")
    record_a_span(tmp_path)
    assert len(backend.received) == 1


def test_the_console_exporter_leaves_stdout_to_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    trace_id = record_a_span(tmp_path)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert json.loads(printed.err)["context"]["trace_id"] == f"0x{trace_id}"


def test_none_exports_nothing_but_jobs_keep_a_trace_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    assert len(record_a_span(tmp_path)) == 32
    assert list(tmp_path.iterdir()) == []


def test_a_disabled_sdk_records_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with (
        tracing_into(tmp_path) as provider,
        provider.get_tracer("tests").start_as_current_span("step") as span,
    ):
        assert not span.is_recording()
        assert current_trace_id() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"OTEL_TRACES_EXPORTER": "pigeon"}, "traces exporter pigeon is ignored"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "otlp_proto_grpc is not"),
        ({"OTEL_TRACES_EXPORTER": "otlp", BAD_CREDENTIALS: "pigeon"}, "cannot be set up"),
    ],
)
def test_an_exporter_that_cannot_be_had_is_told_and_left_out(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    settings: dict[str, str],
    complaint: str,
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    trace_id = record_a_span(tmp_path)
    assert complaint in caplog.text
    assert len(read(tmp_path, trace_id)) == 1


def test_a_queue_setting_that_cannot_work_is_told_and_not_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "0")
    record_a_span(tmp_path)
    assert "no spans for SpanStore: OTEL_BSP_*" in caplog.text


def test_the_standard_settings_name_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "search")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=staging")
    (span,) = read(tmp_path, record_a_span(tmp_path))
    assert span.resource["service.name"] == "search"
    assert span.resource["deployment.environment"] == "staging"


def test_the_store_is_written_while_the_process_lives(tmp_path: Path) -> None:
    with tracing_into(tmp_path) as provider:
        provider.get_tracer("tests").start_span("step").end()
        deadline = time.monotonic() + 10
        while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
            threading.Event().wait(0.02)
        assert len(list(tmp_path.iterdir())) == 1


def test_a_span_says_which_process_made_it(tmp_path: Path) -> None:
    (first,), (second,) = (read(tmp_path, record_a_span(tmp_path)) for _ in range(2))
    assert first.resource["service.version"] == __version__
    assert first.resource["process.pid"] == os.getpid()
    assert {"host.name", "process.runtime.name", "process.runtime.version"} < first.resource.keys()
    assert first.resource["service.instance.id"] != second.resource["service.instance.id"]
    assert not [name for name in first.resource if name.startswith("process.command")]


def test_a_backend_that_is_down_costs_nothing_but_its_spans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", nobody())
    monkeypatch.setattr("verdex.telemetry.provider.FLUSH_SECONDS", 0.2)
    assert len(read(tmp_path, record_a_span(tmp_path))) == 1


def test_a_backend_that_does_not_answer_neither_slows_spans_nor_holds_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent_endpoint: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", silent_endpoint)
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "600")
    monkeypatch.setattr("verdex.telemetry.provider.FLUSH_SECONDS", 0.2)
    started = time.monotonic()
    provider = build_provider("verdex-tests", tmp_path)
    tracer = provider.get_tracer("tests")
    for _ in range(2_000):
        tracer.start_span("step").end()
    Tracing(provider).flush()
    Tracing(provider).shutdown()
    assert time.monotonic() - started < 5


def test_flushing_exports_what_ended_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    with tracing_into(tmp_path) as provider:
        provider.get_tracer("tests").start_span("step").end()
        Tracing(provider).flush()
        assert len(list(tmp_path.iterdir())) == 1


def test_a_trace_id_is_known_only_inside_a_span() -> None:
    assert current_trace_id() is None
    with TracerProvider().get_tracer("tests").start_as_current_span("step") as span:
        assert current_trace_id() == trace.format_trace_id(span.get_span_context().trace_id)


PROGRAM = """
import sys
from pathlib import Path
from opentelemetry import trace
from temporalio.contrib.opentelemetry import ReplaySafeTracerProvider
from verdex.telemetry import current_trace_id, set_up_tracing

first = set_up_tracing("one", Path(sys.argv[1]))
assert set_up_tracing("two", Path("/nonexistent")) is first
assert isinstance(trace.get_tracer_provider(), ReplaySafeTracerProvider)
with trace.get_tracer("tests").start_as_current_span("step"):
    print(current_trace_id())
"""


WITHOUT_WORKFLOWS = """
import sys
from pathlib import Path
from opentelemetry import trace
from verdex.telemetry import current_trace_id, set_up_tracing

tracing = set_up_tracing("one", Path(sys.argv[1]), runs_workflows=False)
assert set_up_tracing("two", Path("/nonexistent"), runs_workflows=False) is tracing
tracing.flush()
assert "opentelemetry.sdk" not in sys.modules
with trace.get_tracer("tests").start_as_current_span("step"):
    print(current_trace_id())
assert "temporalio" not in sys.modules
"""


@pytest.mark.parametrize("text", [PROGRAM, WITHOUT_WORKFLOWS], ids=["with workflows", "without workflows"])
def test_a_process_is_set_up_once_and_exports_the_rest_when_it_exits(tmp_path: Path, text: str) -> None:
    program = subprocess.run(
        [sys.executable, "-W", "error", "-c", text, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (program.returncode, program.stderr) == (0, "")
    (span,) = read(tmp_path, program.stdout.strip())
    assert span.resource["service.name"] == "one"
