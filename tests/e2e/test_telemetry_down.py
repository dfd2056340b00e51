"""A backend for traces that is away, slow or full, or a directory that cannot be written: jobs do not notice."""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.backends import answering, nobody
from verdex.local.stack import WORKER_STOP_SECONDS


class Silence:
    """A server that accepts connections, and never answers."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self.endpoint = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                self._connections.append(self._server.accept()[0])

    def waiting(self) -> int:
        """How many have connected and still wait for an answer."""
        return sum(not _is_closed(one) for one in self._connections)

    def close(self) -> None:
        self._server.close()
        for one in self._connections:
            one.close()


def _is_closed(connection: socket.socket) -> bool:
    """Whether the other end has gone: what it sent is followed by an end."""
    connection.setblocking(False)
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def outcome(home, tree: Path) -> tuple[object, ...]:
    ended = home("index", tree, "--json")
    assert ended.code == 0
    return tuple(ended.json[name] for name in ("status", "result_status", "files_indexed", "files_unchanged"))


def complaints(home) -> list[str]:
    """The lines of the worker about its spans."""
    lines = (home.home / "logs" / "worker.log").read_text().splitlines()
    return [json.loads(line)["message"] for line in lines if line.startswith("{") and "spans" in line]


@pytest.fixture
def silence() -> Iterator[Silence]:
    server = Silence()
    yield server
    server.close()


def test_a_job_ends_and_so_do_command_and_worker_while_the_backend_still_hangs(
    command, silence: Silence, tree: Path, eventually, runs
):
    home = command("silent", OTEL_EXPORTER_OTLP_ENDPOINT=silence.endpoint, OTEL_BSP_SCHEDULE_DELAY="50")
    assert home("up").code == 0
    assert outcome(home, tree) == ("completed", "success", 4, 0)
    # The command did not wait for the answer to its request, nor the job for that of the worker.
    eventually(lambda: silence.waiting() > 0)
    worker = home.processes()["worker"]
    worker.send_signal(signal.SIGTERM)
    eventually(lambda: not runs(worker), WORKER_STOP_SECONDS)
    eventually(lambda: silence.waiting() == 0)  # nothing is left behind that waits on


@pytest.mark.parametrize("backend", ["nobody", "refusing"])
def test_a_backend_that_takes_nothing_is_told_once_and_changes_nothing(command, backend, tree: Path, eventually):
    settings = {"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    with answering(503) as refusing:
        endpoint = nobody() if backend == "nobody" else refusing.endpoint
        home = command(backend, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, **settings)
        assert outcome(home, tree) == ("completed", "success", 4, 0)
        eventually(lambda: complaints(home))
        for _ in range(3):
            assert outcome(home, tree) == ("completed", "success", 4, 4)
        (told,) = complaints(home)
        assert told.startswith("spans are dropped by OTLPSpanExporter, until it works again: ")
        assert home("trace", home("jobs", "--json").json[0]["job_id"]).code == 0


@pytest.fixture
def full_disk(scratch: Path) -> Iterator[Path]:
    """A home whose directory for spans is a disk of its own, on which nothing is free."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    traces = scratch / "full" / "traces"
    traces.mkdir(parents=True)
    mount = ("mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", traces)
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is forbidden here")
    with suppress(OSError), (traces / "ballast").open("wb", buffering=0) as ballast:
        while ballast.write(bytes(4096)):
            pass
    yield traces
    subprocess.run(["umount", "--lazy", traces], check=True)


def test_a_full_disk_is_told_once_and_changes_nothing(command, full_disk: Path, tree: Path, eventually):
    home = command(full_disk.parent.name, OTEL_BSP_SCHEDULE_DELAY="50")
    for unchanged in (0, 4):
        assert outcome(home, tree) == ("completed", "success", 4, unchanged)
    eventually(lambda: complaints(home))
    (told,) = complaints(home)
    assert "No space left on device" in told
    assert str(full_disk) in told
    (full_disk / "ballast").unlink()
    assert outcome(home, tree)[0] == "completed"
    eventually(lambda: len(complaints(home)) == 2)
    assert "SpanStore works again" in complaints(home)[1]


def test_a_directory_that_cannot_be_written_is_told_once_and_changes_nothing(command, tree: Path, eventually):
    home = command("unwritable", OTEL_BSP_SCHEDULE_DELAY="50")
    home.home.mkdir()
    (home.home / "traces").write_text("in the way")
    for unchanged in (0, 4, 4):
        assert outcome(home, tree) == ("completed", "success", 4, unchanged)
    eventually(lambda: complaints(home))
    (told,) = complaints(home)
    assert told.startswith("spans are dropped by SpanStore, until it works again: FileExistsError")
    assert str(home.home / "traces") in told
