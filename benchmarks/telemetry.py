"""What all telemetry costs: the Python standard library indexed with all of it, and with none, in pairs (ABBA).

With: spans kept locally and sent to an OTLP sink, metrics scraped each second, and JSON logs at INFO. The sink and the
scraper are threads of this process. Each run is into a new project, by a new worker that has indexed a little before.

How fast a machine is changes from run to run by more than telemetry costs. But telemetry runs in the worker's main
process, and not in those that parse, whose work is the same in both: so they are the clock. The last line is how much
more the main process took, measured by it, as a part of what the whole worker took. Only a quiet machine gives a good
answer: where other things run, a job lasts longer, and so does what the worker does every second.
"""

import argparse
import asyncio
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median, quantiles
from typing import Final, NamedTuple
from urllib.request import urlopen

import psutil

from benchmarks.trees import copy_of_the_standard_library
from tests.chaos.stack import PARTS, Stack

WITHOUT: Final = {"OTEL_SDK_DISABLED": "true", "VERDEX_LOG_LEVEL": "ERROR"}
SCRAPE_SECONDS: Final = 1.0
SETTLE_SECONDS: Final = 6.0
"""After each job, also that of the beginning, and in both: spans are exported within 5 s, and that counts."""
DEADLINE_SECONDS: Final = 600.0
JOBS: Final = 3
"""In each run, one after the other."""
NAMES: Final = ("jobs, wall s", "worker's main process, CPU s", "whole worker, CPU s", "whole stack, CPU s")


class Cost(NamedTuple):
    """What the jobs of one run took, in seconds."""

    wall: float
    main_cpu: float
    worker_cpu: float
    stack_cpu: float

    @property
    def parsing_cpu(self) -> float:
        """What the other processes of the worker took."""
        return self.worker_cpu - self.main_cpu


class Watchers:
    """What telemetry is for: a sink for spans, and a scraper of metrics."""

    def __init__(self) -> None:
        """Nothing is asked or answered before `serving`."""
        self.span_bytes = 0
        self.scrapes = 0
        self.sink = f"http://127.0.0.1:{_free_port()}"
        self.metrics_address = f"127.0.0.1:{_free_port()}"
        self._ended = threading.Event()

    def environment(self) -> dict[str, str]:
        """Of a worker that tells them everything."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.sink,
            "VERDEX_METRICS_ADDRESS": self.metrics_address,
            "VERDEX_LOG_LEVEL": "INFO",
        }

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer and scrape during the block."""
        server = ThreadingHTTPServer(("127.0.0.1", int(self.sink.rpartition(":")[2])), self._handler())
        server.daemon_threads = True
        threads = [threading.Thread(target=server.serve_forever), threading.Thread(target=self._scrape)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            server.shutdown()
            for thread in threads:
                thread.join()
            server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        watchers = self

        class Sink(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                watchers.span_bytes += len(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Sink

    def _scrape(self) -> None:
        while not self._ended.wait(SCRAPE_SECONDS):
            with suppress(OSError), urlopen(f"http://{self.metrics_address}/metrics", timeout=5) as answer:
                answer.read()
                self.scrapes += 1


class Bench:
    """Runs of the same job on one stack."""

    def __init__(self, stack: Stack, tree: Path, watchers: Watchers) -> None:
        """`tree` is what is indexed; a package of it is what each new worker begins with."""
        self._stack = stack
        self._tree = tree
        self._watchers = watchers
        self._runs = 0

    async def pair(self, *, first: bool) -> tuple[Cost, Cost]:
        """Without, and with; `first` says whether the one with telemetry is run first."""
        costs = {told: await self.measure(told=told) for told in (first, not first)}
        return costs[False], costs[True]

    async def measure(self, *, told: bool) -> Cost:
        """Index the tree anew a few times, by a worker of its own."""
        self._runs += 1
        chosen = self._watchers.environment() if told else WITHOUT
        # Another attribute is another setting, and so even the same setting gets a new worker.
        environment = {**chosen, "OTEL_RESOURCE_ATTRIBUTES": f"run={self._runs}"}
        project = f"run_{self._runs}"
        await self._verdex("project", "create", project, environment=environment)
        await self._verdex("index", self._tree / "asyncio", "--project", project, environment=environment)
        await asyncio.sleep(SETTLE_SECONDS)
        before, cpu = (self._watchers.span_bytes, self._watchers.scrapes), self._cpu()
        index = ("index", self._tree, "--project", project, "--force", "--json")
        wall = sum([await self._verdex(*index, environment=environment) for _ in range(JOBS)])
        await asyncio.sleep(SETTLE_SECONDS)
        cost = Cost(wall, *(after - start for after, start in zip(self._cpu(), cpu, strict=True)))
        self._check(before, told=told)
        await self._verdex("project", "drop", project, environment=environment)
        return cost

    async def _verdex(self, *arguments: object, environment: Mapping[str, str]) -> float:
        done = await self._stack.run(*arguments, environment=environment, seconds=DEADLINE_SECONDS)
        if done.code:
            raise RuntimeError(f"verdex {arguments[0]} ended with {done.code}: {done.err}{done.out}")
        return float(done.json["duration_seconds"]) if "--json" in arguments else 0.0

    def _cpu(self) -> tuple[float, float, float]:
        seconds = {part: [_cpu_seconds(process) for process in self._stack.family(part)] for part in PARTS}
        return seconds["worker"][0], sum(seconds["worker"]), sum(map(sum, seconds.values()))

    def _check(self, before: tuple[int, int], *, told: bool) -> None:
        after = (self._watchers.span_bytes, self._watchers.scrapes)
        if [new > old for old, new in zip(before, after, strict=True)] != [told, told]:
            raise RuntimeError(f"telemetry is not as it should be: {before} became {after}, with telemetry: {told}")


def _cpu_seconds(process: psutil.Process) -> float:
    """With the children that have ended."""
    with suppress(psutil.NoSuchProcess):
        return sum(process.cpu_times()[:4])
    return 0.0


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def report(pairs: Sequence[tuple[Cost, Cost]]) -> Iterator[str]:
    """Lines of a table: medians, and what telemetry added in the pairs."""
    yield f"{'':30} {'without':>8} {'with':>8}  {'added':>6}  {'quartiles':>14}  {'extremes':>14}"
    for number, name in enumerate(NAMES):
        without, told = ([pair[which][number] for pair in pairs] for which in (0, 1))
        added = _spread([one / other - 1 for other, one in zip(without, told, strict=True)])
        yield f"{name:30} {median(without):8.2f} {median(told):8.2f}  {added}"
    added = _spread([_added(without, told) for without, told in pairs])
    yield f"{'worker, the parsing processes as clock':48}  {added}"


def _added(without: Cost, told: Cost) -> float:
    """How much telemetry adds to the CPU time of the worker, as a part of it, if parsing takes as long in both runs."""
    speed = without.parsing_cpu / told.parsing_cpu
    return (told.main_cpu * speed - without.main_cpu) / without.worker_cpu


def _spread(values: Sequence[float]) -> str:
    low, middle, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
    return f"{middle:+6.1%}  {low:+6.1%}…{high:+6.1%}  {min(values):+6.1%}…{max(values):+6.1%}"


async def _main(directory: Path, pairs: int) -> None:
    stack, watchers = Stack(directory), Watchers()
    bench, measured = Bench(stack, directory / "tree", watchers), list[tuple[Cost, Cost]]()
    try:
        with watchers.serving():
            await bench.pair(first=False)  # it finds everything cold
            for number in range(pairs):
                measured.append(await bench.pair(first=bool(number % 2)))
                without, told = (" ".join(f"{value:5.2f}" for value in cost) for cost in measured[-1])
                print(f"pair {number + 1:2}  without {without}  with {told}", flush=True)
    finally:
        await stack.run("down")
        await stack.discard()
    print(*report(measured), sep="\n")


def main() -> None:
    """Print a line for each pair, and a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry", description=__doc__)
    parser.add_argument("--pairs", type=int, default=6)
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory(prefix="vx-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # PostgreSQL may run as another user
        copy_of_the_standard_library(directory / "tree")
        asyncio.run(_main(directory, pairs))


if __name__ == "__main__":
    main()
