"""Small jobs, with the stack up: how long one of three files takes, and how many a second when many come at once.

Each repository is indexed for the first time. Latency through the Python API is that of one process which stays; the
command starts anew each time. Beside them, on the same server, workflows of as many steps that do nothing.
"""

import argparse
import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import Final
from uuid import uuid4

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from benchmarks.trees import write_modules
from tests.chaos.stack import Stack, stack
from verdex.client import Verdex

FILES: Final = 3
SAMPLES: Final = 30
AT_ONCE: Final = 20
STEPS: Final = 5
"""Preflight, scan, one shard, publish, and the record of the end; the rest of the record is written in between."""
QUEUE: Final = "empty"


@activity.defn
async def nothing() -> None:
    """Do nothing."""


@workflow.defn
class Empty:
    """What Temporal does for a small job."""

    @workflow.run
    async def run(self) -> None:
        """Take as many steps."""
        for _ in range(STEPS):
            await workflow.execute_activity(nothing, start_to_close_timeout=timedelta(minutes=1))


class Repositories:
    """New repositories of three files each."""

    def __init__(self, directory: Path) -> None:
        """They are made below `directory`."""
        self._directory = directory
        self._numbers = count()

    def __next__(self) -> Path:
        """One that did not exist."""
        root = self._directory / f"repository_{next(self._numbers)}"
        write_modules(root, FILES)
        return root


async def index(verdex: Verdex, root: Path) -> None:
    """From the start of a job until it is completed, as its starter learns."""
    started = await verdex.index(root)
    async for job in verdex.follow(started):
        if job.is_terminal and job.status != "completed":
            raise RuntimeError(f"a job is {job.status}: {job.error_message}")


async def latencies(work: Callable[[], Awaitable[object]], samples: int) -> list[float]:
    """Seconds that `work` takes, again and again."""
    found = []
    for _ in range(samples):
        began = time.perf_counter()
        await work()
        found.append(time.perf_counter() - began)
    return found


async def throughput(work: Callable[[], Awaitable[object]]) -> float:
    """How many a second, from the start of the first to the end of the last; all are started at once."""
    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return AT_ONCE / (time.perf_counter() - began)


async def floor(client: Client, repeat: int) -> list[float]:
    """Throughputs of empty workflows."""

    async def one() -> None:
        await client.execute_workflow(Empty.run, id=str(uuid4()), task_queue=QUEUE)

    runner = UnsandboxedWorkflowRunner()
    async with Worker(client, task_queue=QUEUE, workflows=[Empty], activities=[nothing], workflow_runner=runner):
        await throughput(one)
        return [await throughput(one) for _ in range(repeat)]


async def measure(running: Stack, repeat: int) -> list[str]:
    """Lines of a table."""
    repositories = Repositories(running.directory / "small")
    async with connected(running) as verdex:
        for _ in range(3):
            await index(verdex, next(repositories))
        through_api = await latencies(lambda: index(verdex, next(repositories)), SAMPLES)
        through_command = await latencies(lambda: running.run("index", next(repositories)), SAMPLES // 3)
        speeds = [await throughput(lambda: index(verdex, next(repositories))) for _ in range(repeat)]
        empty = await floor(await Client.connect(os.environ["TEMPORAL_ADDRESS"]), repeat)
    return [
        "| a job of three files | median | p95 |",
        "| --- | ---: | ---: |",
        _row("Python API", through_api),
        _row("`verdex index`", through_command),
        "",
        f"{AT_ONCE} such jobs at once: {median(speeds):.1f} jobs/s",
        f"as many empty workflows of {STEPS} steps: {median(empty):.1f}/s",
    ]


def _row(name: str, seconds: Sequence[float]) -> str:
    p95 = quantiles(seconds, n=20, method="inclusive")[-1]
    return f"| {name} | {median(seconds) * 1000:.0f} ms | {p95 * 1000:.0f} ms |"


@asynccontextmanager
async def connected(running: Stack, **environment: str) -> AsyncIterator[Verdex]:
    """Bring the stack up, with these variables, and connect to it."""
    url = (await running.run("up", "--json", environment=environment)).json["database_url"]
    os.environ.update(running.endpoints(url))
    async with await Verdex.connect() as verdex:
        yield verdex


async def _main(repeat: int) -> None:
    async with stack() as running:
        try:
            print(*await measure(running, repeat), sep="\n")
        finally:
            await running.run("down")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.small", description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="so many times jobs at once")
    asyncio.run(_main(parser.parse_args().repeat))


if __name__ == "__main__":
    main()
