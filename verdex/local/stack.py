"""The local stack as a whole: brought up and down under a lock, each part only where it is needed."""

import asyncio
import fcntl
import hashlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg
from temporalio.service import RPCError

from verdex import __version__, temporal
from verdex.contracts import DEFAULT_TASK_QUEUE
from verdex.errors import StackDown, StackError, TransientError
from verdex.local.postgres import ROLE, Postgres
from verdex.local.process import BackgroundProcess
from verdex.local.temporal_server import TemporalServer
from verdex.temporal import search_attributes

WORKER_COMMAND: Final = (sys.executable, "-P", "-m", "worker")  # -P: not a worker.py of the current directory
WORKER_START_SECONDS: Final = 60
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
        self._taken_down = home / "down"
        self._task_queue = task_queue

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
        if not self.is_up() or (replace_worker and not self._worker_is_current()):
            with self._lock(say):
                self._taken_down.unlink(missing_ok=True)
                self._start(say, replace_worker=replace_worker)
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

    def _start(self, say: Say, *, replace_worker: bool) -> None:
        if not self.postgres.is_running():
            say("starting PostgreSQL")
            self.postgres.start()
        asyncio.run(_ensure_database(self.postgres))  # an earlier start may have been broken off before it
        if not self.temporal.is_running():
            say("starting Temporal")
            if not self.temporal.has_state():
                asyncio.run(_forget_namespace(self.postgres))
            self.temporal.start(without_temporal(os.environ))
        asyncio.run(self._register_search_attributes())
        if self.worker.running() is None or (replace_worker and not self._worker_is_current()):
            say("starting the worker" if self.worker.running() is None else "replacing the worker: other settings")
            self.worker.stop(WORKER_STOP_SECONDS)
            self._start_worker()

    async def _register_search_attributes(self) -> None:
        """Without them jobs run as well, so whatever prevents it is for `doctor` to tell."""
        with suppress(TransientError, RPCError):
            await search_attributes.register(await temporal.connect(environment=self.endpoints().environment()))

    def _worker_is_current(self) -> bool:
        record = self.worker.running()
        return record is not None and record.details == self._worker_details()

    def _worker_details(self) -> dict[str, str | int]:
        return {"version": __version__, "python": sys.executable, "settings": _digest_of_settings()}

    def _start_worker(self) -> None:
        environment = {**without_temporal(os.environ), **self.endpoints().environment(), "VERDEX_HOME": str(self.home)}
        process = self.worker.start(WORKER_COMMAND, environment, self._worker_details())
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
            why = "not a directory" if isinstance(error, FileExistsError) else error.strerror
            raise StackError(f"VERDEX_HOME ({self.home}) cannot be used: {why}") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("waiting for another verdex that changes the stack")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def _ensure_database(postgres: Postgres) -> None:
    async with _connected(postgres.url("postgres")) as connection:
        if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", ROLE):
            await connection.execute(f'CREATE DATABASE "{ROLE}"')


async def _forget_namespace(postgres: Postgres) -> None:
    """A Temporal that begins anew takes the place of one whose state is lost: what that ran is to end as lost."""
    async with _connected(postgres.url()) as connection:
        if await connection.fetchval("SELECT to_regclass('temporal_namespace')"):
            await connection.execute("DELETE FROM temporal_namespace")


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
