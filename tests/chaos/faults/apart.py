"""A worker for one job alone, which can be cut off, robbed of its rights and held to limits, and nobody else is.

It reaches PostgreSQL and Temporal through proxies, as a role that is no superuser; where the campaign runs as root, it
is a root that cannot read everything. The commands about the job reach the servers directly, and put the job on the
task queue of this worker; the worker of the stack goes on for the other queue.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.chaos import evidence
from tests.chaos.faults.base import Fault, Scene, drain
from tests.chaos.proxy import Proxy, Stream
from tests.chaos.stack import PROGRAMS, polling

QUEUE: Final = "apart"
ROLE: Final = "apart"
GRANT: Final = f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}"
REVOKE: Final = f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {ROLE}"
SETPRIV: Final = shutil.which("setpriv")
IS_ROOT: Final = os.geteuid() == 0
UNPRIVILEGED: Final = [SETPRIV, "--bounding-set=-dac_override,-dac_read_search", "--"] if IS_ROOT and SETPRIV else []

_CREATE_ROLE: Final = f"""
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') THEN CREATE ROLE {ROLE} LOGIN; END IF;
END $$
"""


class Servers(NamedTuple):
    """What stands between the worker and its servers."""

    postgres: Proxy
    temporal: Proxy


class FaultApart(Fault):
    """A fault that only a worker of its own suffers."""

    servers: Servers

    async def prepare(self, scene: Scene) -> None:
        for database in (None, *scene.databases.values()):
            async with evidence.connected(scene.url, database) as connection:
                await connection.execute(f"{_CREATE_ROLE}; {GRANT}")
        self.servers = await scene.beside.enter_async_context(_servers(scene))
        there = scene.stack.endpoints(scene.url)
        scene.environment |= {**there, "VERDEX_TASK_QUEUE": QUEUE}
        await self._start(scene)

    async def _start(self, scene: Scene) -> None:
        program, *arguments = [*UNPRIVILEGED, PROGRAMS / "verdex", "worker"]
        running = await scene.stack.start(
            *arguments,
            program=Path(str(program)),
            err=scene.stack.directory / "apart.err",
            environment={
                "VERDEX_DATABASE_URL": f"postgresql://{ROLE}@{self.servers.postgres.address}{urlsplit(scene.url).path}",
                "TEMPORAL_ADDRESS": self.servers.temporal.address,
                "VERDEX_TASK_QUEUE": QUEUE,
            },
        )
        scene.beside.push_async_callback(drain, running)
        await polling(running)


@asynccontextmanager
async def _servers(scene: Scene) -> AsyncIterator[Servers]:
    directory = parse_qs(urlsplit(scene.url).query)["host"][0]
    host, port = scene.stack.endpoints(scene.url)["TEMPORAL_ADDRESS"].split(":")

    async def postgres() -> Stream:
        return await asyncio.open_unix_connection(f"{directory}/.s.PGSQL.5432")

    async def temporal() -> Stream:
        return await asyncio.open_connection(host, port)

    async with Proxy(postgres) as first, Proxy(temporal) as second:
        yield Servers(first, second)


async def execute(scene: Scene, database: str | None, statements: Iterable[str]) -> None:
    """By a role that may do everything; `None` is the registry."""
    async with evidence.connected(scene.url, database) as connection:
        for statement in statements:
            await connection.execute(statement)


TERMINATE: Final = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'"
"""End all connections of the worker, so that it has to make new ones."""
