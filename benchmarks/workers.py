"""How much sooner one job ends if more workers share its shards.

Each number of workers has a task queue of its own, on one stack; each of the workers parses in as many processes.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from temporalio.client import Client, WorkflowHistory

from benchmarks.metering import cpu_seconds
from benchmarks.report import machine
from benchmarks.trees import tree
from tests.chaos.stack import Running, Stack, polling, stack
from verdex import temporal

WARM_UP: Final = "small-2k"
DEADLINE_SECONDS: Final = 1800.0
STOP_SECONDS: Final = 30.0


class Measured(NamedTuple):
    """One job."""

    seconds: float
    """Of the job, as its row says."""
    cpu: float
    """CPU seconds of the workers, PostgreSQL and Temporal: divided by the cores, nothing is faster than that."""
    shards: Sequence[int]
    """That each worker did, the most first."""


class Crew:
    """So many workers on a task queue of their own."""

    def __init__(self, running: Stack, client: Client, url: str, workers: int) -> None:
        """None of them is started before `begin`; `url` is that of the registry."""
        self.workers = workers
        self._stack = running
        self._client = client
        self._environment = {**running.endpoints(url), "VERDEX_TASK_QUEUE": f"crew-{workers}"}
        self._processes: list[Running] = []
        self._projects = (f"crew_{workers}_{number}" for number in count())

    async def begin(self, processes: int) -> None:
        """Start the workers, each with so many processes that parse, and let them do a first job."""
        for number in range(self.workers):
            log = self._stack.directory / f"{self.workers}-{number}.log"
            environment = {**self._environment, "VERDEX_PROCESSES": str(processes)}
            self._processes.append(await self._stack.start("worker", err=log, environment=environment))
        await asyncio.gather(*map(polling, self._processes))
        await self.index(tree(WARM_UP).root)

    async def index(self, root: Path) -> Measured:
        """Index a tree into a new project."""
        project = next(self._projects)
        await self._run("project", "create", project)
        before = self._cpu()
        job = await self._run("index", root, "--project", project, "--json")
        taken = self._cpu() - before
        history = await self._client.get_workflow_handle(job["workflow_id"], run_id=job["job_id"]).fetch_history()
        await self._run("project", "drop", project, "--yes")
        return Measured(job["duration_seconds"], taken, shards(history))

    async def end(self) -> None:
        """Stop the workers."""
        for one in self._processes:
            one.process.terminate()
        await asyncio.gather(*(one.end(STOP_SECONDS) for one in self._processes))

    def _cpu(self) -> float:
        parts = [process.pid for part, process in self._stack.processes().items() if part != "worker"]
        return cpu_seconds([*parts, *(one.process.pid for one in self._processes)])

    async def _run(self, *arguments: object) -> dict[str, Any]:
        ended = await self._stack.run(*arguments, seconds=DEADLINE_SECONDS, environment=self._environment)
        if ended.code:
            raise RuntimeError(f"{arguments} ended with {ended.code}: {ended.err}{ended.out}")
        return dict(ended.json)


def shards(history: WorkflowHistory) -> list[int]:
    """How many shards each worker did, the most first, by who started them."""
    scheduled = {
        event.event_id
        for event in history.events
        if event.activity_task_scheduled_event_attributes.activity_type.name == "index_shard"
    }
    started = (event.activity_task_started_event_attributes for event in history.events)
    found = Counter(one.identity for one in started if one.scheduled_event_id in scheduled)
    return [number for _, number in found.most_common()]


async def measure(running: Stack, root: Path, numbers: Sequence[int], processes: int, repeat: int) -> list[str]:
    """Lines of a table. All take turns, so that what else the machine does hits all."""
    found: dict[int, list[Measured]] = {number: [] for number in numbers}
    async with _crews(running, numbers, processes) as crews:
        for _ in range(repeat):
            for crew in crews:
                found[crew.workers].append(await crew.index(root))
                print(f"{crew.workers} workers: {found[crew.workers][-1]}", file=sys.stderr, flush=True)
    first = median(one.seconds for one in found[numbers[0]])
    return [
        "| workers | s | times as fast | CPU s | shards of each |",
        "| ---: | ---: | ---: | ---: | --- |",
        *(_row(number, jobs, first) for number, jobs in found.items()),
    ]


def _row(number: int, jobs: Sequence[Measured], first: float) -> str:
    seconds, cpu = median(one.seconds for one in jobs), median(one.cpu for one in jobs)
    dealt = "; ".join(" + ".join(map(str, one.shards)) for one in jobs)
    return f"| {number} | {seconds:.2f} | {first / seconds:.2f} | {cpu:.2f} | {dealt} |"


@asynccontextmanager
async def _crews(running: Stack, numbers: Sequence[int], processes: int) -> AsyncIterator[list[Crew]]:
    url = (await running.run("up", "--json")).json["database_url"]
    client = await temporal.connect(environment=running.endpoints(url))
    crews = [Crew(running, client, url, number) for number in numbers]
    try:
        for crew in crews:
            await crew.begin(processes)
        yield crews
    finally:
        await asyncio.gather(*(crew.end() for crew in crews))


async def _main(root: Path, numbers: Sequence[int], processes: int, repeat: int) -> None:
    async with stack() as running:
        try:
            print(*await measure(running, root, numbers, processes, repeat), sep="\n")
        finally:
            await running.run("down")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__)
    parser.add_argument("workers", nargs="*", type=int, default=[1, 2], metavar="N", help="so many workers: 1 2")
    parser.add_argument("--tree", default="stdlib", help="as for `python -m benchmarks`")
    parser.add_argument("--processes", type=int, default=1, help="that parse, in each worker")
    parser.add_argument("--repeat", type=int, default=3, help="medians of so many runs")
    given = parser.parse_args()
    measured = tree(given.tree)
    print(
        machine("benchmarks.workers"),
        f"{measured.name}: {measured.files:,} files, {measured.size / 1e6:.1f} MB",
        sep="\n\n",
        end="\n\n",
    )
    asyncio.run(_main(measured.root, given.workers, given.processes, given.repeat))


if __name__ == "__main__":
    main()
