"""The real command with a home of its own, and the processes that it started, found by their records."""

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import psutil

PROGRAMS: Final = Path(sys.executable).parent
SECONDS: Final = 90.0
"""Longest that a command may take, and that a process may need to end."""

PARTS: Final = frozenset({"postgres", "temporal", "worker"})
_FOREIGN: Final = ("VERDEX_", "TEMPORAL_", "OTEL_", "GIT_")
"""Variables that would lead to another stack or tree."""


class Ended(NamedTuple):
    """What is left of a command; its code is None if it did not end in time."""

    code: int | None
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed; empty where that is no JSON."""
        with suppress(ValueError):
            return json.loads(self.out)
        return {}


class Stack:
    """`verdex` with one home."""

    def __init__(self, directory: Path) -> None:
        """Nothing is started before the first command; `directory` has a short path, for the sake of sockets."""
        self.directory = directory
        self.home = directory / "home"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)},
            "VERDEX_HOME": str(self.home),
        }
        self._beside: list[asyncio.subprocess.Process] = []

    async def start(
        self,
        *arguments: object,
        err: Path,
        program: Path = PROGRAMS / "verdex",
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> "Running":
        """Run a command beside the campaign; what it complains about goes to the file `err`.

        `environment` comes on top of what every command here has.
        """
        with err.open("wb") as complaints:
            process = await asyncio.create_subprocess_exec(
                program,
                *map(str, arguments),
                env={**self._environment, **environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=complaints,
            )
        self._beside.append(process)
        return Running(process, err)

    async def run(
        self,
        *arguments: object,
        program: Path = PROGRAMS / "verdex",
        seconds: float = SECONDS,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> Ended:
        """Run a command to its end."""
        with tempfile.NamedTemporaryFile(dir=self.directory, suffix=".err") as err:
            running = await self.start(*arguments, err=Path(err.name), program=program, environment=environment)
            return await running.end(seconds)

    async def temporal(self, *arguments: object) -> Ended:
        """Ask Temporal itself."""
        options = ("--address", self._temporal_address(), "--output", "json")
        return await self.run(*arguments, *options, program=PROGRAMS / "temporal")

    def endpoints(self, url: str) -> dict[str, str]:
        """The variables that lead to this stack as to any other, which then is nobody's to start or stop."""
        return {"VERDEX_DATABASE_URL": url, "TEMPORAL_ADDRESS": self._temporal_address()}

    def _temporal_address(self) -> str:
        return f"127.0.0.1:{self._record('temporal')['details']['port']}"

    def processes(self) -> dict[str, psutil.Process]:
        """The parts of the stack that run."""
        found = {}
        with suppress(OSError, psutil.Error):
            data = self.home / "postgres" / "data"
            postmaster = psutil.Process(int((data / "postmaster.pid").read_text().split("\n")[0]))
            if str(data) in postmaster.cmdline():
                found["postgres"] = postmaster
        for name in ("temporal", "worker"):
            with suppress(OSError, ValueError, psutil.Error):
                process = psutil.Process(self._record(name)["pid"])
                if abs(process.create_time() - self._record(name)["created"]) < 1:
                    found[name] = process
        return {name: process for name, process in found.items() if runs(process)}

    def family(self, part: str) -> list[psutil.Process]:
        """A part that runs, and its children; empty if it does not run."""
        with suppress(KeyError, psutil.Error):
            process = self.processes()[part]
            return [process, *process.children(recursive=True)]
        return []

    def _record(self, name: str) -> dict[str, Any]:
        return dict(json.loads((self.home / "run" / f"{name}.json").read_text()))

    async def discard(self) -> None:
        """End everything that was started, in no time."""
        for process in self._beside:
            with suppress(ProcessLookupError):
                process.kill()
        family = [one for part in self.processes() for one in self.family(part)]
        send(signal.SIGCONT, family)
        send(signal.SIGKILL, family)
        await ended(family)


class Running(NamedTuple):
    """A command that runs."""

    process: asyncio.subprocess.Process
    err: Path

    async def end(self, seconds: float = SECONDS) -> Ended:
        """Wait for its end; after `seconds` it is killed."""
        try:
            out, _ = await asyncio.wait_for(self.process.communicate(), seconds)
        except TimeoutError:
            self.process.kill()
            out, _ = await self.process.communicate()
            return Ended(None, out.decode(), self.complaints())
        return Ended(self.process.returncode, out.decode(), self.complaints())

    def complaints(self) -> str:
        """What it has written to stderr so far."""
        return self.err.read_text(errors="replace") if self.err.exists() else ""


async def polling(worker: Running) -> None:
    """Wait until a worker is at work.

    Raises:
        TimeoutError: it does not get so far.
    """
    async with asyncio.timeout(30):
        while "worker is polling" not in worker.complaints():
            await asyncio.sleep(0.05)


@asynccontextmanager
async def stack() -> AsyncIterator[Stack]:
    """A stack in a new directory, which is removed at the end; what runs in it is ended."""
    made = Stack(_directory())
    try:
        yield made
    finally:
        await made.discard()
        shutil.rmtree(made.directory, ignore_errors=True)


def _directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="vxc-")).resolve()
    directory.chmod(0o755)  # PostgreSQL may run as another user
    return directory


def runs(process: psutil.Process) -> bool:
    """Whether it runs; where nobody reaps, what has ended stays as a zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def send(number: signal.Signals, processes: Iterable[psutil.Process]) -> None:
    """Send a signal to each that still runs."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


async def ended(processes: list[psutil.Process]) -> None:
    """Wait until none of them runs.

    Raises:
        TimeoutError: one does not end.
    """
    async with asyncio.timeout(SECONDS):
        while any(map(runs, processes)):
            await asyncio.sleep(0.02)
