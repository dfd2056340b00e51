"""How fast a registry with very many jobs answers: what people ask it, and what workers ask it again and again.

The jobs are written by SQL, so Temporal knows none of them. None runs, and the databases of their projects are empty.
Each command, and each call in its place, makes its connections anew; only the command also starts Python.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import timedelta
from itertools import cycle
from statistics import median, quantiles
from typing import Any, Final, TypeVar

from benchmarks.report import machine
from benchmarks.small import connected, latencies
from tests.chaos.stack import Stack, stack
from tests.storage.many_jobs import BUSY, BUSY_REPOSITORY, QUIET, USUAL, USUAL_REPOSITORY, fill
from verdex.client import Verdex
from verdex.settings import Settings
from verdex.storage.claims import claims, repositories
from verdex.storage.database import Server
from verdex.storage.migrations import migrate
from verdex.storage.observation import Observation
from verdex.storage.projects import Projects
from verdex.storage.registry import Registry
from verdex.storage.retention import remove_old_jobs

SAMPLES: Final = 30
KEPT: Final = timedelta(days=36_500)
FILTERS: Final[list[dict[str, Any]]] = [
    {},
    {"limit": 100},
    {"project_id": USUAL},
    {"project_id": QUIET},
    {"status": "completed"},
    {"status": "failed"},
    {"status": "running"},
    {"repo_path": USUAL_REPOSITORY},
    {"repo_path": BUSY_REPOSITORY},
    {"project_id": QUIET, "status": "failed"},
    {"repo_path": BUSY_REPOSITORY, "status": "failed"},
    {"project_id": BUSY, "repo_path": BUSY_REPOSITORY, "status": "cancelled"},
]
"""The last ones find what is long ago, or nothing."""
OPTIONS: Final = {"project_id": "--project", "status": "--status", "repo_path": "--repo", "limit": "--limit"}

Call = Callable[[], Awaitable[object]]
Answer = TypeVar("Answer")


def options(filters: Mapping[str, object]) -> list[str]:
    """As one writes them."""
    return [text for name, value in filters.items() for text in (OPTIONS[name], str(value))]


async def asked(ask: Callable[[Verdex], Awaitable[Answer]]) -> Answer:
    """Over connections of its own, as a command does."""
    async with await Verdex.connect() as verdex:
        return await ask(verdex)


async def _status(verdex: Verdex, part: str) -> None:
    for job_id in await verdex.job_ids(part):
        await verdex.job(job_id)


def _listing(filters: Mapping[str, Any]) -> Call:
    return lambda: asked(lambda verdex: verdex.jobs(**filters))


def through_api(ids: Iterator[str]) -> dict[str, Call]:
    """What the commands `status` and `jobs` do, without their own start."""
    return {
        "status JOB": lambda: asked(lambda verdex: verdex.job(next(ids))),
        "status, by 8 characters of the end": lambda: asked(lambda verdex: _status(verdex, next(ids)[-8:])),
        **{" ".join(["jobs", *options(filters)]): _listing(filters) for filters in FILTERS},
    }


def commands(running: Stack, ids: Iterator[str]) -> dict[str, Call]:
    """The commands themselves."""
    return {
        "`verdex status JOB`": lambda: running.run("status", next(ids)),
        "`verdex status`, by 8 characters of the end": lambda: running.run("status", next(ids)[-8:]),
        "`verdex jobs`": lambda: running.run("jobs"),
        f"`verdex jobs --project {QUIET} --status failed`": lambda: running.run(
            "jobs", "--project", QUIET, "--status", "failed"
        ),
    }


def of_workers(server: Server) -> dict[str, Call]:
    """What a worker asks every 10 s for the metrics, every 20 s to reconcile, and every hour to collect."""
    registry, observation = server.registry, Observation(server.registry)

    async def ended() -> None:
        await observation.ended(await observation.last_event() - 2_000)

    async def claimed() -> None:
        await claims(registry, await repositories(registry))

    return {
        "metrics: ends of jobs": ended,
        "metrics: jobs that have not ended": observation.unfinished,
        "metrics: kinds of errors, at the start": observation.kinds,
        "metrics: health of the projects": observation.projects,
        "reconcile: jobs that have not ended": Registry(registry).unfinished,
        "reconcile: claims of all repositories": claimed,
        "collect: nothing is old": lambda: remove_old_jobs(registry, KEPT),
    }


async def table(calls: Mapping[str, Call], samples: int) -> list[str]:
    """A row for each of the calls, which are made once before."""
    rows = ["| | median ms | p95 ms |", "| --- | ---: | ---: |"]
    for name, call in calls.items():
        await call()
        found = await latencies(call, samples)
        p95 = quantiles(found, n=20, method="inclusive")[-1]
        rows.append(f"| {name} | {median(found) * 1000:.1f} | {p95 * 1000:.1f} |")
    return [*rows, ""]


async def prepare(server: Server, jobs: int) -> list[str]:
    """Fill the registry, and make the databases of its projects; some ids."""
    await fill(server.registry, jobs)
    for project in await Projects(server).list():
        async with server.registry.connection() as connection:
            await connection.execute(f'CREATE DATABASE "{project.database_name}"')
        await migrate(server.database(project.database_name), "project")
    async with server.registry.connection() as connection:
        rows = await connection.fetch("SELECT id::text FROM indexing_jobs ORDER BY random() LIMIT 1000")
    return [row["id"] for row in rows]


async def measure(running: Stack, jobs: int, samples: int) -> list[str]:
    """Lines of tables."""
    environment = {"VERDEX_RETENTION_DAYS": str(KEPT.days)}
    async with connected(running, **environment), Server(Settings.load().database_dsn) as server:
        ids = cycle(await prepare(server, jobs))
        many = len(await repositories(server.registry))
        return [
            f"{jobs:,} jobs of {many:,} repositories",
            "",
            *await table(through_api(ids), samples),
            *await table(commands(running, ids), samples // 3),
            *await table(of_workers(server), samples),
        ]


async def _main(jobs: int) -> None:
    async with stack() as running:
        try:
            print(machine("benchmarks.registry"), "", *await measure(running, jobs, SAMPLES), sep="\n")
        finally:
            await running.run("down")


def main() -> None:
    """Print tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.registry", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000, help="so many (%(default)s)")
    asyncio.run(_main(parser.parse_args().jobs))


if __name__ == "__main__":
    main()
