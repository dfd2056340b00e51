"""Costs as tables in Markdown."""

import os
import platform
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks.product import FLOOR, LIBRARY, PRODUCT, Cost
from benchmarks.trees import Tree

HEADINGS = (
    "",
    "s",
    "command s",
    "files/s",
    "MB/s",
    "CPU s",
    "CPU s, PostgreSQL",
    "CPU s, Temporal",
    "peak memory MB",
    "PostgreSQL MB",
    "database MB",
)


def machine(module: str = "benchmarks") -> str:
    """What was measured on, and how: by which module."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    command = shlex.join(["python", "-m", module, *sys.argv[1:]])
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}: `{command}`"
    )


def table(tree: Tree, costs: Sequence[Cost]) -> str:
    """A row for each kind of run (medians of each column), and the ratios."""
    rows = [
        _row(tree, what, [cost for cost in costs if cost.what == what]) for what in dict.fromkeys(c.what for c in costs)
    ]
    title = f"**{tree.name}**: {tree.files:,} files, {tree.size / 1e6:.1f} MB"
    return "\n".join(
        [title, "", *_lines([HEADINGS, ["---", *["---:"] * (len(HEADINGS) - 1)], *rows]), "", _ratios(costs)]
    )


def _row(tree: Tree, what: str, costs: Sequence[Cost]) -> list[str]:
    def middle(name: str) -> float:
        return float(median(getattr(cost, name) for cost in costs))

    seconds = middle("seconds")
    speed = [f"{tree.files / seconds:,.0f}", f"{tree.size / seconds / 1e6:,.1f}"]
    cpu = [f"{middle(name):.2f}" for name in ("cpu", "postgres_cpu", "temporal_cpu")]
    sizes = [f"{middle(name) / 1e6:,.0f}" for name in ("peak", "postgres_peak", "database")]
    return [what, f"{seconds:.2f}", f"{middle('wall'):.2f}", *speed, *cpu, *sizes]


def _lines(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    return (f"| {' | '.join(row)} |" for row in rows)


def _ratios(costs: Sequence[Cost]) -> str:
    """Of the medians, of the time that each says itself, and of the product as its command sees it."""
    own = {what: median(cost.seconds for cost in costs if cost.what == what) for what in (FLOOR, LIBRARY, PRODUCT)}
    seen = median(cost.wall for cost in costs if cost.what == PRODUCT)
    return (
        f"library / floor {own[LIBRARY] / own[FLOOR]:.2f}, job / library {own[PRODUCT] / own[LIBRARY]:.2f}, "
        f"command / library {seen / own[LIBRARY]:.2f}, job / floor {own[PRODUCT] / own[FLOOR]:.2f}; "
        "CPU s and command s hold the start of the processes, s does not"
    )
