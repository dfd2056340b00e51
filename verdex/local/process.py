"""Processes that outlive the command which starts them, found again by a record on disk."""

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import psutil

LOG_BYTES: Final = 10 * 1024 * 1024
KILL_SECONDS: Final = 5


class Record(NamedTuple):
    """What is kept of a process. The time of its creation tells it from a later one with the same id."""

    pid: int
    created: float
    details: Mapping[str, str | int]


class BackgroundProcess:
    """One process of the stack, by name."""

    def __init__(self, name: str, home: Path) -> None:
        """Records are kept in `home/run`, output in `home/logs`."""
        self.name = name
        self.log = home / "logs" / f"{name}.log"
        self._file = home / "run" / f"{name}.json"

    def record(self) -> Record | None:
        """What was kept of the last start, whether or not that process still runs."""
        try:
            return Record(**json.loads(self._file.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def running(self) -> Record | None:
        """The record, if that very process runs."""
        record = self.record()
        return record if record and _is_of(record) else None

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], details: Mapping[str, str | int]
    ) -> "subprocess.Popen[bytes]":
        """Start it in a session of its own, so that Ctrl-C in a terminal does not reach it."""
        for folder in (self.log.parent, self._file.parent):
            folder.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(environment),
                cwd=self._file.parent,
                start_new_session=True,
            )
        record = Record(process.pid, psutil.Process(process.pid).create_time(), details)
        temporary = self._file.with_suffix(".new")
        temporary.write_text(json.dumps(record._asdict()))
        temporary.replace(self._file)
        return process

    def stop(self, timeout: float) -> None:
        """End it: politely, and after `timeout` seconds by force, with its children."""
        record = self.running()
        if record:
            with suppress(psutil.NoSuchProcess):  # it ended by itself at the same moment
                _end(psutil.Process(record.pid), timeout)
        self._file.unlink(missing_ok=True)

    def last_lines(self, count: int = 3) -> str:
        """The end of its output, for a message about what went wrong."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, os.fstat(log.fileno()).st_size - 4096))
                lines = log.read().decode(errors="replace").strip().split("\n")
        except OSError:
            return ""
        return " | ".join(line.strip() for line in lines[-count:])


def _end(process: psutil.Process, timeout: float) -> None:
    family = [process, *process.children(recursive=True)]
    process.terminate()
    survivors = _wait(family, timeout)
    for survivor in survivors:
        with suppress(psutil.NoSuchProcess):
            survivor.kill()
    _wait(survivors, KILL_SECONDS)


def _wait(processes: Sequence[psutil.Process], timeout: float) -> Sequence[psutil.Process]:
    """Those that still run after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while (alive := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return alive


def _runs(process: psutil.Process) -> bool:
    """One that has ended, and that nobody has reaped yet, does not run: as in containers without an init."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _is_of(record: Record) -> bool:
    try:
        process = psutil.Process(record.pid)
        return abs(process.create_time() - record.created) < 1 and _runs(process)
    except psutil.NoSuchProcess:
        return False
