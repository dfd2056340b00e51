"""Starting what does not run of the local stack. A stack that is up needs none of this, nor what it imports."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import asyncpg
from temporalio.service import RPCError

from verdex import temporal
from verdex.errors import StackError, TransientError
from verdex.local.postgres import ROLE, Postgres
from verdex.local.stack import WORKER_COMMAND, WORKER_STOP_SECONDS, LocalStack, Say, without_temporal
from verdex.temporal import search_attributes

if TYPE_CHECKING:
    from temporalio.client import Client

WORKER_START_SECONDS: Final = 60


def start(stack: LocalStack, say: Say, *, replace_worker: bool) -> None:
    """Start each part that does not run, and wait until it answers.

    Raises:
        StackError: a part does not start.
    """
    if not stack.postgres.is_running():
        say("starting PostgreSQL")
        stack.postgres.start()
    asyncio.run(_ensure_database(stack.postgres))  # an earlier start may have been broken off before it
    if not stack.temporal.is_running():
        say("starting Temporal")
        if not stack.temporal.has_state():
            asyncio.run(_forget_namespace(stack.postgres))
        stack.temporal.start(without_temporal(os.environ))
    asyncio.run(_register_search_attributes(stack))
    if stack.worker.running() is None or (replace_worker and not stack.worker_is_current()):
        say("starting the worker" if stack.worker.running() is None else "replacing the worker: other settings")
        _start_worker(stack)


async def _connect(stack: LocalStack) -> "Client":
    return await temporal.connect(for_worker=False, environment=stack.endpoints().environment())


async def _register_search_attributes(stack: LocalStack) -> None:
    """Without them jobs run as well, so whatever prevents it is for `doctor` to tell."""
    with suppress(TransientError, RPCError):
        await search_attributes.register(await _connect(stack))


def _start_worker(stack: LocalStack) -> None:
    stack.worker.stop(WORKER_STOP_SECONDS)
    environment = {**without_temporal(os.environ), **stack.endpoints().environment(), "VERDEX_HOME": str(stack.home)}
    process = stack.worker.start(WORKER_COMMAND, environment, stack.worker_details())
    deadline = time.monotonic() + WORKER_START_SECONDS
    began = time.time()
    while not asyncio.run(_is_polled_since(stack, began)):
        if process.poll() is not None or time.monotonic() > deadline:
            raise StackError(f"the worker does not start: {stack.worker.last_lines()} (see {stack.worker.log})")
        time.sleep(0.1)


async def _is_polled_since(stack: LocalStack, began: float) -> bool:
    try:
        return await temporal.has_poller(await _connect(stack), stack.task_queue, since=began)
    except TransientError:
        return False


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
