"""What a piece of work takes: wall time, CPU time, and memory of whole families of processes. Linux only.

Memory is the sum of the proportional set sizes (PSS), sampled: what processes share counts once.
"""

import os
import resource
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Final

INTERVAL_SECONDS: Final = 0.2
"""Between samples of the memory, at least."""
SHARE: Final = 0.05
"""Of a core, that sampling may take: the kernel walks the page tables of each process."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")
PROC: Final = Path("/proc")


class Meter:
    """Measures families; each is known by its roots: processes which, with all below them, belong to it.

    The children of this process, such as commands that it runs, belong to the family `own`.
    """

    def __init__(self, roots: Mapping[str, Iterable[int]], own: str) -> None:
        """Nothing is measured before `measuring`."""
        self._roots = {name: list(pids) for name, pids in roots.items()}
        self._own = own
        self.wall = 0.0
        self.cpu: dict[str, float] = {}
        """Seconds, user and system, for each family."""
        self.peak: dict[str, int] = dict.fromkeys({*self._roots, own}, 0)
        """Bytes."""

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """What is done in the block, from its begin to its end."""
        ended = Event()
        sampler = Thread(target=self._sample, args=(ended,), daemon=True)
        before, began = self._cpu(), time.perf_counter()
        sampler.start()
        try:
            yield
        finally:
            self.wall = time.perf_counter() - began
            self.cpu = {name: seconds - before[name] for name, seconds in self._cpu().items()}
            ended.set()
            sampler.join()

    def _cpu(self) -> dict[str, float]:
        seconds = {name: cpu_seconds(pids) for name, pids in self._roots.items()}
        reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds[self._own] = seconds.get(self._own, 0.0) + reaped.ru_utime + reaped.ru_stime
        return seconds

    def _sample(self, ended: Event) -> None:
        pause = INTERVAL_SECONDS
        while not ended.wait(pause):
            began = time.thread_time()
            self._look()
            pause = max(INTERVAL_SECONDS, (time.thread_time() - began) / SHARE)

    def _look(self) -> None:
        families = {name: family(pids) for name, pids in self._roots.items()}
        families[self._own] = [*families.get(self._own, []), *descendants(os.getpid())]
        for name, pids in families.items():
            self.peak[name] = max(self.peak[name], sum(map(_pss, pids)))


def cpu_seconds(roots: Iterable[int]) -> float:
    """User and system, of the processes and of all below them, also of those that have ended and were waited for."""
    return sum(map(_cpu_seconds, family(roots)))


def family(roots: Iterable[int]) -> list[int]:
    """The processes, and all below them."""
    return [pid for root in roots for pid in (root, *descendants(root))]


def descendants(pid: int) -> list[int]:
    """The processes below a process. Cheaper than a look at all processes of the machine."""
    found: list[int] = []
    with suppress(OSError):
        for task in (PROC / str(pid) / "task").iterdir():
            with suppress(OSError):
                for child in map(int, (task / "children").read_text().split()):
                    found += [child, *descendants(child)]
    return found


def _cpu_seconds(pid: int) -> float:
    with suppress(OSError):
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / _TICKS
    return 0.0


def _pss(pid: int) -> int:
    with suppress(OSError):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
