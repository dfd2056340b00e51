"""A stack at night: one worker on a task queue of its own, that is no superuser anywhere, and nobody who looks.

It serves metrics, and its log is a file; jobs fail at once where they would wait.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import asyncpg

from tests.browser.holdups import held
from tests.browser.web_ui import Job
from tests.chaos import evidence
from tests.chaos.faults.apart import UNPRIVILEGED
from tests.chaos.stack import PROGRAMS, Running, Stack, polling
from tests.chaos.stack import stack as new_stack
from verdex.local.postgres import Postgres
from verdex.local.temporal_server import TemporalServer

PROJECT: Final = "night"
DATABASE: Final = f"cb_proj_{PROJECT}"
ROLE: Final = "watch"
LOCK: Final = "SELECT FROM repositories FOR UPDATE"
"""The scan waits for it; who only reads does not."""
SECONDS: Final = 60.0


class Night:
    """The stack, and the tree that its jobs index."""

    def __init__(self, stack: Stack, tree: Path) -> None:
        """Use `night`."""
        self.stack = stack
        self.tree = tree
        self.postgres = Postgres(stack.home)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.metrics_address = f"127.0.0.1:{free.getsockname()[1]}"
        self._log = stack.directory / "worker.log"
        self._environment = {
            **stack.endpoints(self.postgres.url()),
            "VERDEX_TASK_QUEUE": "night",
            "VERDEX_BLOCKED_LIMIT_SECONDS": "0",
        }

    async def begin(self) -> None:
        """Start the worker, and index the tree into a project."""
        assert (await self.command("project", "create", PROJECT)).code == 0
        await self.sql(f"CREATE ROLE {ROLE} LOGIN")
        for database in ("verdex", DATABASE):
            await self.sql(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}", database)
        self.start_postgres()
        await polling(await self._worker())
        assert (await self.index(self.tree))["status"] == "completed"

    def start_postgres(self) -> None:
        """So that the worker, who may not pass everywhere even if it is run by root, can reach it."""
        self.postgres.start()
        self.postgres.socket_directory.chmod(0o755)

    async def _worker(self) -> Running:
        program, *arguments = [*UNPRIVILEGED, PROGRAMS / "verdex", "worker"]
        url = self.postgres.url().replace("//verdex@", f"//{ROLE}@")
        settings = {
            "VERDEX_DATABASE_URL": url,
            "VERDEX_METRICS_ADDRESS": self.metrics_address,
            "VERDEX_MAX_FILE_BYTES": "100000",
            "VERDEX_ALLOWED_ROOTS": f"{self.stack.directory}:/srv",
        }
        return await self.stack.start(
            *arguments, program=Path(str(program)), err=self._log, environment={**self._environment, **settings}
        )

    async def command(self, *arguments: object, **environment: str) -> Any:
        """What is left of a command that ended."""
        return await self.stack.run(*arguments, environment={**self._environment, **environment})

    async def index(self, root: Path | str, *options: str, project: str = PROJECT, **environment: str) -> Job:
        """Start a job, and with `--no-wait` leave it; else wait for its end."""
        ended = await self.command("index", root, "--project", project, "--json", *options, **environment)
        return dict(ended.json)

    async def end(self, job: Job) -> Job:
        """Wait for the end of a job."""
        async with asyncio.timeout(SECONDS):
            while True:
                found = dict((await self.command("status", job["job_id"], "--json")).json)
                if found.get("status") in {"completed", "failed", "cancelled"}:
                    return found

    async def sql(self, statement: str, database: str = "postgres") -> None:
        """By a superuser."""
        async with self.connected(database) as connection:
            await connection.execute(statement)

    @contextlib.asynccontextmanager
    async def connected(self, database: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
        """As a superuser; whether it can be closed is not asked."""
        connection = await asyncpg.connect(self.postgres.url(database))
        try:
            yield connection
        finally:
            connection.terminate()

    @contextlib.asynccontextmanager
    async def held_up(self, root: Path | None = None, lock: str = LOCK, **environment: str) -> AsyncIterator[Job]:
        """A job that waits for a lock until the block ends."""
        async with held(self.postgres, PROJECT, lock):
            job = await self.index(root or self.tree, "--force", "--no-wait", **environment)
            await self.until_waiting()
            yield job

    async def until_waiting(self) -> None:
        """Until the worker waits for a lock."""
        waiting = "SELECT true FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock'"
        async with asyncio.timeout(SECONDS), self.connected("postgres") as connection:
            while not await connection.fetchval(waiting, ROLE):
                await asyncio.sleep(0.02)

    @property
    def ui_url(self) -> str:
        """Where the Web UI is."""
        return TemporalServer(self.stack.home).ui_url

    async def row(self, job: Job) -> Job:
        """What the registry says of a job."""
        async with self.connected("verdex") as connection:
            found = await evidence.row(connection, job["job_id"])
        assert found is not None
        return dict(found)

    async def events(self, job: Job, kind: str) -> int:
        """How many events of a kind are in the history of a job, by Temporal's own command."""
        shown = await self.stack.temporal("workflow", "show", "-w", job["workflow_id"], "-r", job["job_id"])
        return sum(event["eventType"] == f"EVENT_TYPE_{kind}" for event in shown.json["events"])

    def lines(self, job: Job) -> list[Mapping[str, Any]]:
        """What the worker has logged of a job."""
        found = (json.loads(line) for line in self._log.read_text().splitlines())
        return [line for line in found if line.get("job_id") == job["job_id"]]

    def metrics(self) -> dict[str, float]:
        """What the worker serves, by name and labels, as Prometheus reads it."""
        with urlopen(f"http://{self.metrics_address}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


@contextlib.asynccontextmanager
async def night() -> AsyncIterator[Night]:
    """All parts run."""
    async with new_stack() as stack:
        assert (await stack.run("up")).code == 0
        made = Night(stack, _tree(stack.directory / "tree"))
        await made.begin()
        yield made


def _tree(root: Path) -> Path:
    root.mkdir()
    for number in range(40):  # more than a batch
        (root / f"part_{number:02}.py").write_text(f"def part_{number}():\n    return {number}\n")
    return root
