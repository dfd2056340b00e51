"""A real OpenTelemetry collector: Rotel, whose binary its authors ship as the Python package `rotel`."""

import importlib.util
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import DEADLINE


@dataclass(frozen=True)
class Received:
    """A span as the collector has decoded it."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    kind: str
    status: str
    text: str
    """All that the collector tells of it, with its attributes and events."""


@dataclass(frozen=True)
class Collector:
    """A collector that listens at `endpoint`, and writes down what it receives."""

    endpoint: str
    output: Path

    def spans(self, trace_id: str) -> dict[str, Received]:
        """What it has received of a trace, by the ids of the spans."""
        parts = re.split(r"^Span #\d+$", self.output.read_text(), flags=re.MULTILINE)[1:]
        found = [_received(part) for part in parts if "Status message" in part]  # the last may not be whole yet
        return {span.span_id: span for span in found if span.trace_id == trace_id}


def program() -> Path:
    """Where the collector is; skips the test where it is not installed."""
    spec = importlib.util.find_spec("rotel")
    if spec is None or spec.origin is None:
        pytest.skip("needs the collector: pip install rotel==0.0.1a15 (Linux and macOS)")
    return Path(spec.origin).with_name("rotel-agent")


@contextmanager
def collecting(directory: Path) -> Iterator[Collector]:
    """Run a collector that keeps its files in `directory`."""
    http, grpc = _free_port(), _free_port()
    command = (
        *(program(), "start", "--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed"),
        *("--otlp-http-endpoint", f"127.0.0.1:{http}", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}"),
    )
    output = directory / "collector.log"
    with output.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file, cwd=directory) as process:
        try:
            _await_listener(http, process)
            yield Collector(f"http://127.0.0.1:{http}", output)
        finally:
            process.terminate()


def _received(part: str) -> Received:
    return Received(
        trace_id=_field(part, "Trace ID"),
        span_id=_field(part, "ID"),
        parent_span_id=_field(part, "Parent ID") or None,
        name=_field(part, "Name"),
        kind=_field(part, "Kind").removeprefix("SPAN_KIND_"),
        status=_field(part, "Status code").removeprefix("STATUS_CODE_").lower(),
        text=part,
    )


def _field(part: str, name: str) -> str:
    found = re.search(rf"^    {name} *: (.*)$", part, re.MULTILINE)
    assert found is not None, part
    return found[1]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _await_listener(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, "the collector has ended"
            assert time.monotonic() < deadline, "the collector does not listen"
            time.sleep(0.02)
        else:
            return
