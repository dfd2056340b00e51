"""Small jobs, with the stack up: how long one of three files takes, and how many a second when many come at once.

Each repository is indexed for the first time. Latency through the Python API is that of one process which stays; the
command starts anew each time.
"""

import argparse
import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import Final

from benchmarks.trees import write_modules
from tests.chaos.stack import Stack, stack
from verdex.client import Verdex

FILES: Final = 3
SAMPLES: Final = 30
AT_ONCE: Final = 20


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
    async for job in verdex.follow(started.job_id):
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


async def throughput(verdex: Verdex, repositories: Repositories, jobs: int) -> float:
    """Jobs a second, from the start of the first to the end of the last; all are started at once."""
    roots = [next(repositories) for _ in range(jobs)]
    began = time.perf_counter()
    await asyncio.gather(*(index(verdex, root) for root in roots))
    return jobs / (time.perf_counter() - began)


async def measure(running: Stack, repeat: int) -> list[str]:
    """Lines of a table."""
    repositories = Repositories(running.directory / "small")
    async with connected(running) as verdex:
        for _ in range(3):
            await index(verdex, next(repositories))
        through_api = await latencies(lambda: index(verdex, next(repositories)), SAMPLES)
        through_command = await latencies(lambda: running.run("index", next(repositories)), SAMPLES // 3)
        speeds = [await throughput(verdex, repositories, AT_ONCE) for _ in range(repeat)]
    return [
        "| a job of three files | median | p95 |",
        "| --- | ---: | ---: |",
        _row("Python API", through_api),
        _row("`verdex index`", through_command),
        "",
        f"{AT_ONCE} such jobs at once: {median(speeds):.1f} jobs/s",
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
