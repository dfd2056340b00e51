"""The local stack as a whole: brought up and down under a lock, each part only where it is needed."""

import fcntl
import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from verdex import __version__
from verdex.contracts import DEFAULT_TASK_QUEUE
from verdex.ending import ended_by_ctrl_c
from verdex.errors import StackDown, StackError
from verdex.local.postgres import Postgres
from verdex.local.process import BackgroundProcess
from verdex.local.temporal_server import TemporalServer

WORKER_COMMAND: Final = (sys.executable, "-P", "-m", "worker")  # -P: not a worker.py of the current directory
WORKER_STOP_SECONDS: Final = 15

_OF_COMMANDS: Final = ("VERDEX_HOME", "VERDEX_DATABASE_URL", "VERDEX_UI_URL", "VERDEX_TRACE_URL")
"""Variables that change nothing in a worker of the local stack."""

Say = Callable[[str], None]


class Endpoints(NamedTuple):
    """Where the parts of a stack are."""

    database_url: str
    temporal_address: str
    ui_url: str
    psql: str

    def environment(self) -> dict[str, str]:
        """The variables that lead any part of verdex to this stack."""
        return {
            "VERDEX_DATABASE_URL": self.database_url,
            "TEMPORAL_ADDRESS": self.temporal_address,
            "TEMPORAL_NAMESPACE": "default",
            "TEMPORAL_CONFIG_FILE": os.devnull,
        }


class LocalStack:
    """PostgreSQL, Temporal and a worker, with their state in `home`."""

    def __init__(self, home: Path, task_queue: str = DEFAULT_TASK_QUEUE) -> None:
        """Nothing is touched before `up`."""
        self.home = home
        self.postgres = Postgres(home)
        self.temporal = TemporalServer(home)
        self.worker = BackgroundProcess("worker", home)
        self.task_queue = task_queue
        self._taken_down = home / "down"

    def endpoints(self) -> Endpoints:
        """Where the parts are, by the last start."""
        return Endpoints(self.postgres.url(), self.temporal.address, self.temporal.ui_url, self.postgres.psql)

    def is_up(self) -> bool:
        """Whether all parts run."""
        return self.worker.running() is not None and self.postgres.is_running() and self.temporal.is_running()

    def up(self, say: Say, *, replace_worker: bool = False) -> Endpoints:
        """Start what does not run and wait until it answers; `say` is told what takes time.

        With `replace_worker`, a worker of another version or with other settings is replaced.

        Raises:
            StackError: a part does not start.
        """
        if not self.is_up() or (replace_worker and not self.worker_is_current()):
            with ended_by_ctrl_c():
                from verdex.local.starting import start  # noqa: PLC0415  (slow to import)

            with self._lock(say):
                self._taken_down.unlink(missing_ok=True)
                start(self, say, replace_worker=replace_worker)
        return self.endpoints()

    def revive(self, say: Say) -> Endpoints:
        """As `up`, for a command that waits.

        Raises:
            StackDown: the stack was taken down on purpose.
            StackError: a part does not start.
        """
        if self._taken_down.exists():
            raise StackDown
        return self.up(say)

    def down(self, say: Say) -> None:
        """Stop all parts; jobs that run go on after the next `up`.

        Raises:
            StackError: a part does not stop.
        """
        if not self.home.exists():
            return
        with self._lock(say):
            say("stopping the local stack")
            self._taken_down.touch()
            self.worker.stop(WORKER_STOP_SECONDS)
            self.temporal.stop()
            self.postgres.stop()

    def worker_is_current(self) -> bool:
        """Whether the worker runs, with this version and with these settings."""
        record = self.worker.running()
        return record is not None and record.details == self.worker_details()

    def worker_details(self) -> dict[str, str | int]:
        """By which a worker is known as one of this version with these settings."""
        return {"version": __version__, "python": sys.executable, "settings": _digest_of_settings()}

    @contextmanager
    def _lock(self, say: Say) -> Iterator[None]:
        """One command at a time changes the stack."""
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            lock = (self.home / "lock").open("w")
        except OSError as error:
            why = "not a directory" if isinstance(error, FileExistsError) else error.strerror
            raise StackError(f"VERDEX_HOME ({self.home}) cannot be used: {why}") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("waiting for another verdex that changes the stack")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _digest_of_settings() -> str:
    """Changes with any variable that a worker reads."""
    settings = sorted(
        (name, value)
        for name, value in os.environ.items()
        if name.startswith(("VERDEX_", "OTEL_")) and name not in _OF_COMMANDS
    )
    return hashlib.sha256(repr(settings).encode()).hexdigest()[:16]


def without_temporal(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what would lead to another Temporal service, or to this one with the credentials of another."""
    return {name: value for name, value in environment.items() if not name.startswith("TEMPORAL_")}
