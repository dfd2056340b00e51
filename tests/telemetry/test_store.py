import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Span, SpanKind, Tracer
from opentelemetry.util.types import AnyValue

from verdex.telemetry.otlp import decode, encode
from verdex.telemetry.store import Limits, SpanStore, prune, read


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "home" / "traces"


def tracer_into(directory: Path, **limits: int) -> Tracer:
    provider = TracerProvider(resource=Resource({"service.name": "verdex"}))
    provider.add_span_processor(SimpleSpanProcessor(SpanStore(directory, Limits(**limits))))
    return provider.get_tracer("tests")


def trace_id_of(span: Span) -> str:
    return f"{span.get_span_context().trace_id:032x}"


def test_a_span_is_read_back_as_it_was_recorded(directory: Path) -> None:
    tracer = tracer_into(directory)
    attributes: dict[str, AnyValue] = {"shard": 3, "ratio": 0.5, "forced": True, "paths": ["a", "b"], "note": "ünïcode"}
    with (
        tracer.start_as_current_span("job", kind=SpanKind.SERVER, start_time=1_000) as job,
        tracer.start_as_current_span("step", attributes=attributes, start_time=2_000),
    ):
        pass
    root, step = read(directory, trace_id_of(job))
    assert (root.name, root.parent_span_id, root.kind, root.start_ns) == ("job", None, SpanKind.SERVER, 1_000)
    assert (step.parent_span_id, step.attributes, step.scope) == (root.span_id, attributes, "tests")
    assert step.end_ns > step.start_ns == 2_000
    assert step.resource == {"service.name": "verdex"}
    assert root.status == step.status == "unset"


def test_an_exception_is_kept_with_type_message_and_stacktrace(directory: Path) -> None:
    with (
        pytest.raises(ValueError, match="bad row"),
        tracer_into(directory).start_as_current_span("step") as span,
    ):
        raise ValueError("bad row")
    (stored,) = read(directory, trace_id_of(span))
    (event,) = stored.events
    assert (stored.status, stored.status_message) == ("error", "ValueError: bad row")
    assert (event.type, event.message) == ("ValueError", "bad row")
    assert event.stacktrace is not None
    assert 'raise ValueError("bad row")' in event.stacktrace


def test_the_message_of_a_path_that_is_not_utf8_survives(directory: Path) -> None:
    with pytest.raises(OSError), tracer_into(directory).start_as_current_span("read") as span:  # noqa: PT011
        raise OSError("cannot read caf\udce9.py")
    (stored,) = read(directory, trace_id_of(span))
    assert stored.events[0].message == "cannot read caf?.py"


def test_a_line_is_an_otlp_traces_data_message(directory: Path) -> None:
    with tracer_into(directory).start_as_current_span("step", kind=SpanKind.CLIENT, start_time=5) as span:
        pass
    (file,) = directory.iterdir()
    ((resource_spans,),) = json.loads(file.read_text()).values()
    assert resource_spans["resource"]["attributes"] == [{"key": "service.name", "value": {"stringValue": "verdex"}}]
    (stored,) = resource_spans["scopeSpans"][0]["spans"]
    assert stored["traceId"] == trace_id_of(span)
    assert (stored["kind"], stored["startTimeUnixNano"]) == (3, "5")


def test_encoding_groups_spans_by_resource_and_loses_nothing(directory: Path) -> None:
    tracer = tracer_into(directory)
    with tracer.start_as_current_span("job") as job, tracer.start_as_current_span("step"):
        pass
    spans = read(directory, trace_id_of(job))
    encoded = encode(spans)
    assert len(encoded["resourceSpans"]) == 1
    assert list(decode(encoded)) == spans


def test_only_the_owner_can_read_the_spans(directory: Path) -> None:
    with tracer_into(directory).start_as_current_span("step"):
        pass
    (file,) = directory.iterdir()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("trace_id", ["0" * 32, "", "../../etc/passwd", "A" * 32])
def test_a_trace_that_is_not_kept_has_no_spans(directory: Path, trace_id: str) -> None:
    assert read(directory, trace_id) == []


def test_a_torn_line_costs_only_itself(directory: Path) -> None:
    tracer = tracer_into(directory)
    with tracer.start_as_current_span("job") as job:
        with tracer.start_as_current_span("before"):
            pass
        (file,) = directory.iterdir()
        with file.open("ab") as torn:
            torn.write(b'{"resourceSpans":[{"resource":{"attri\xff')
        assert [span.name for span in read(directory, trace_id_of(job))] == ["before"]
        with tracer.start_as_current_span("after"):
            pass
    assert {span.name for span in read(directory, trace_id_of(job))} == {"job", "before", "after"}


@pytest.mark.parametrize("line", [b"[]", b"{}", b"1", b'{"resourceSpans":[{}]}', b'{"resourceSpans":[[]]}'])
def test_a_line_of_something_else_is_passed_over(directory: Path, line: bytes) -> None:
    directory.mkdir(parents=True)
    (directory / f"{'a' * 32}.jsonl").write_bytes(line)
    assert read(directory, "a" * 32) == []


def test_a_span_that_is_exported_again_is_read_once(directory: Path) -> None:
    with tracer_into(directory).start_as_current_span("step") as span:
        pass
    (file,) = directory.iterdir()
    file.write_bytes(file.read_bytes() * 2)
    assert len(read(directory, trace_id_of(span))) == 1


APPENDER = """
import sys
from pathlib import Path
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from verdex.telemetry.store import SpanStore

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(SpanStore(Path(sys.argv[1])), max_export_batch_size=7))
parent = trace.SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=trace.TraceFlags(1))
context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
for number in range(200):
    provider.get_tracer("tests").start_span("step", context, attributes={"text": "x" * number}).end()
provider.shutdown()
"""


def test_several_processes_append_to_one_trace(directory: Path) -> None:
    programs = [subprocess.Popen([sys.executable, "-c", APPENDER, str(directory)]) for _ in range(3)]
    assert [program.wait(timeout=60) for program in programs] == [0, 0, 0]
    assert len(read(directory, f"{0xABC:032x}")) == 600


def test_a_full_trace_drops_steps_but_keeps_errors_and_the_root(directory: Path) -> None:
    tracer = tracer_into(directory, trace_bytes=2_000)
    with tracer.start_as_current_span("job") as job:
        for _ in range(50):
            tracer.start_span("step").end()
        with pytest.raises(ValueError, match="bad row"), tracer.start_as_current_span("failing"):
            raise ValueError("bad row")
    names = [span.name for span in read(directory, trace_id_of(job))]
    assert 1 <= names.count("step") < 10
    assert {"job", "failing"} <= set(names)


def test_not_even_errors_fill_a_disk(directory: Path) -> None:
    tracer = tracer_into(directory, trace_bytes=0, error_bytes=2_000)
    for _ in range(3):
        tracer.start_span("job", attributes={"text": "x" * 3_000}).end()
    assert sum(file.stat().st_size for file in directory.iterdir()) == 0


def traces_of_age(directory: Path, *days: float) -> None:
    directory.mkdir(parents=True)
    for number, age in enumerate(days):
        file = directory / f"{number:032x}.jsonl"
        file.write_bytes(b"x" * 100)
        os.utime(file, times=(time.time() - age * 86_400,) * 2)


def kept(directory: Path) -> list[int]:
    return sorted(int(file.stem, 16) for file in directory.iterdir())


def test_the_oldest_traces_go_when_there_are_too_many(directory: Path) -> None:
    traces_of_age(directory, 3, 1, 2)
    prune(directory, Limits(traces=2))
    assert kept(directory) == [1, 2]


def test_traces_beyond_the_age_go(directory: Path) -> None:
    traces_of_age(directory, 1, 40)
    prune(directory, Limits(age_days=30))
    assert kept(directory) == [0]


def test_the_oldest_traces_go_when_all_are_too_large_together(directory: Path) -> None:
    traces_of_age(directory, 3, 1, 2)
    prune(directory, Limits(total_bytes=250))
    assert kept(directory) == [1, 2]


def test_files_that_are_no_traces_are_left_alone(directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / "notes.jsonl").touch()
    prune(directory, Limits(traces=0))
    assert [file.name for file in directory.iterdir()] == ["notes.jsonl"]


def test_the_first_export_of_a_process_prunes(directory: Path) -> None:
    traces_of_age(directory, 40)
    with tracer_into(directory).start_as_current_span("step") as span:
        pass
    assert [file.stem for file in directory.iterdir()] == [trace_id_of(span)]


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    spans = [TracerProvider().get_tracer("tests").start_span("step")]
    with pytest.raises(OSError, match=str(tmp_path / "file" / "traces")):
        SpanStore(tmp_path / "file" / "traces").export(spans)  # type: ignore[arg-type]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_said_to_be_full_and_where(directory: Path) -> None:
    span = TracerProvider().get_tracer("tests").start_span("step")
    directory.mkdir(parents=True)
    (directory / f"{trace_id_of(span)}.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match=f"No space left on device: '{directory}'"):
        SpanStore(directory).export([span])  # type: ignore[list-item]
