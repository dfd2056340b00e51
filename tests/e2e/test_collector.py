"""With an OTLP endpoint set, a collector gets the same spans as the local store, from the command and the worker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.collector import Collector, Received, collecting
from verdex.telemetry.otlp import decode

SECRET = "s3cret-word"


@pytest.fixture(scope="session")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    with collecting(tmp_path_factory.mktemp("collector")) as running:
        yield running


@pytest.fixture(scope="session")
def home(command, collector: Collector):
    return command("collected", OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, OTEL_BSP_SCHEDULE_DELAY="200")


def told(home, job_id: str) -> dict[str, tuple[object, ...]]:
    """The spans of a job as the command tells them."""
    spans = decode(home("trace", job_id, "--json").json)
    return {span.span_id: (span.parent_span_id, span.name, span.kind.name, span.status) for span in spans}


def collected(collector: Collector, trace_id: str) -> dict[str, tuple[object, ...]]:
    spans = collector.spans(trace_id)
    return {span_id: (span.parent_span_id, span.name, span.kind, span.status) for span_id, span in spans.items()}


def test_the_spans_of_a_job_arrive_as_the_command_tells_them(home, collector: Collector, tree: Path, eventually):
    job = home("index", tree, "--json").json
    eventually(lambda: {"start job", "IndexRepository"} <= {name for _, name, *_ in told(home, job["job_id"]).values()})
    eventually(lambda: collected(collector, job["trace_id"]) == told(home, job["job_id"]))
    kinds = {name: kind for _, name, kind, _ in collected(collector, job["trace_id"]).values()}
    assert (kinds["COPY chunks"], kinds["start job"]) == ("CLIENT", "PRODUCER")


def with_exceptions(collector: Collector, trace_id: str, *names: str) -> dict[str, Received]:
    """The spans of a trace that failed, if these are all of them and have arrived whole."""
    failed = {span.name: span for span in collector.spans(trace_id).values() if span.status == "error"}
    whole = all("exception.escaped" in span.text for span in failed.values())
    return failed if whole and failed.keys() == set(names) else {}


def test_the_error_of_a_failed_job_arrives_with_its_traceback_and_without_secrets(
    home, collector: Collector, scratch: Path, eventually
):
    job = home("index", f"{scratch}/password={SECRET}", "--json").json
    assert job["status"] == "failed"
    failed = eventually(lambda: with_exceptions(collector, job["trace_id"], "preflight", "IndexRepository"))
    for span in failed.values():
        assert f"error.type: Str({job['error_type']})" in span.text
        assert "exception.stacktrace: Str(Traceback (most recent call last):" in span.text
    assert "in check_root" in failed["preflight"].text
    assert "/password=***" in failed["preflight"].text
    assert SECRET not in collector.output.read_text()
