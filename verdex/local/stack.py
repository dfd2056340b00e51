"""The local stack as a whole: brought up and down under a lock, each part only where it is needed."""

import asyncio
import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg

from verdex import __version__, temporal
from verdex.contracts import DEFAULT_TASK_QUEUE
from verdex.errors import StackError, TransientError
from verdex.local.postgres import ROLE, Postgres
from verdex.local.process import BackgroundProcess
from verdex.local.temporal_server import TemporalServer

WORKER_START_SECONDS: Final = 60
WORKER_STOP_SECONDS: Final = 15

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
        self._task_queue = task_queue

    def endpoints(self) -> Endpoints:
        """Where the parts are, by the last start."""
        return Endpoints(self.postgres.url(), self.temporal.address, self.temporal.ui_url, self.postgres.psql)

    def is_up(self) -> bool:
        """Whether all parts run, and the worker is of this version."""
        return self._worker_is_current() and self.postgres.is_running() and self.temporal.is_running()

    def up(self, say: Say) -> Endpoints:
        """Start what does not run and wait until it answers; `say` is told what takes time.

        Raises:
            StackError: a part does not start.
        """
        if not self.is_up():
            with self._lock(say):
                self._start(say)
        return self.endpoints()

    def down(self, say: Say) -> None:
        """Stop all parts; jobs that run go on after the next `up`.

        Raises:
            StackError: a part does not stop.
        """
        if not self.home.exists():
            return
        with self._lock(say):
            self.worker.stop(WORKER_STOP_SECONDS)
            self.temporal.stop()
            self.postgres.stop()

    def _start(self, say: Say) -> None:
        if not self.postgres.is_running():
            say("starting PostgreSQL")
            self.postgres.start()
            asyncio.run(_ensure_database(self.postgres))
        if not self.temporal.is_running():
            say("starting Temporal")
            self.temporal.start(_clean_environment())
        if not self._worker_is_current():
            say("starting the worker")
            self.worker.stop(WORKER_STOP_SECONDS)
            self._start_worker()

    def _worker_is_current(self) -> bool:
        record = self.worker.running()
        return record is not None and record.details == self._worker_details()

    def _worker_details(self) -> dict[str, str | int]:
        return {"version": __version__, "python": sys.executable, "task_queue": self._task_queue}

    def _start_worker(self) -> None:
        environment = {**_clean_environment(), **self.endpoints().environment(), "VERDEX_HOME": str(self.home)}
        command = [sys.executable, "-m", "worker"]
        process = self.worker.start(command, environment, self._worker_details())
        deadline = time.monotonic() + WORKER_START_SECONDS
        began = time.time()
        while not asyncio.run(self._is_polled_since(began)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise StackError(f"the worker does not start: {self.worker.last_lines()} (see {self.worker.log})")
            time.sleep(0.1)

    async def _is_polled_since(self, began: float) -> bool:
        try:
            client = await temporal.connect(environment=self.endpoints().environment())
            return await temporal.has_poller(client, self._task_queue, since=began)
        except TransientError:
            return False

    @contextmanager
    def _lock(self, say: Say) -> Iterator[None]:
        """One command at a time changes the stack."""
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            lock = (self.home / "lock").open("w")
        except OSError as error:
            raise StackError(f"VERDEX_HOME ({self.home}) cannot be used: {error.strerror}") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("waiting for another verdex that changes the stack")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


async def _ensure_database(postgres: Postgres) -> None:
    connection = await asyncpg.connect(postgres.url("postgres"))
    try:
        if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", ROLE):
            await connection.execute(f'CREATE DATABASE "{ROLE}"')
    finally:
        await connection.close()


def _clean_environment() -> Mapping[str, str]:
    """Without what would lead the parts to another Temporal service."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}
