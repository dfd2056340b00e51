"""`python -m tests.chaos --seed N --jobs N [--faults a,b] [--only JOB]`: break everything under a stream of jobs."""

import argparse
import asyncio
import secrets
import sys
from collections.abc import Callable, Sequence
from statistics import median
from typing import Final

from tests.chaos.campaign import Outcome, begin
from tests.chaos.faults.base import Fault
from tests.chaos.faults.catalogue import FAULTS
from tests.chaos.oracle import Kind
from tests.chaos.stack import stack

WRONG: Final[dict[str, Kind]] = {"lies": "lie", "stuck": "stuck", "lost": "lost", "wrong counts": "count"}
SHOWN: Final = 10
"""Most findings of one job that are printed."""
HEADINGS: Final = ("fault", "given", "struck", "failed", *WRONG, "worst recovery", "median")


def main() -> int:
    """Run a campaign; 1 if anything is wrong."""
    options = _options()
    try:
        outcomes = asyncio.run(_campaign(options))
    except KeyboardInterrupt:
        return 130
    return int(any(outcome.findings for outcome in outcomes))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="by chance, if not given")
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--faults", type=_faults, default=list(FAULTS.values()), help=f"some of: {', '.join(FAULTS)}")
    parser.add_argument("--only", type=int, metavar="JOB", help="one job of the campaign, by its number, once more")
    return parser.parse_args()


def _faults(names: str) -> list[type[Fault]]:
    try:
        return [FAULTS[name.strip()] for name in names.split(",")]
    except KeyError as error:
        raise argparse.ArgumentTypeError(f"no such fault: {error}") from None


async def _campaign(options: argparse.Namespace) -> list[Outcome]:
    outcomes: list[Outcome] = []
    async with stack() as made:
        campaign = await begin(made, options.seed, options.faults)
        for name in campaign.impossible:
            _say(f"left out, because it cannot be brought about here: {name}")
        try:
            async for outcome in campaign.run(options.jobs, options.only):
                outcomes.append(outcome)
                _tell(options.seed, outcome)
        finally:
            _say(table(options.seed, outcomes))
    return outcomes


def _tell(seed: int, outcome: Outcome) -> None:
    _say(_line(outcome))
    for finding in outcome.findings[:SHOWN]:
        _say(f"      {finding}")
    if outcome.findings:
        again = f"--seed {seed} --only {outcome.number}, and the same --faults"
        _say(f"      {len(outcome.findings)} in all; again: {again}")


def _line(outcome: Outcome) -> str:
    row, name = outcome.told.case.row or {"status": "no row", "result_status": None}, outcome.fault.name
    status = "partial" if row["result_status"] == "partial" else row["status"]
    return f"{outcome.number:4} {name:21} {status:10} {outcome.told.recovery:5.1f} s  {outcome.story}"


def table(seed: int, outcomes: Sequence[Outcome]) -> str:
    """What became of the jobs, by fault and in all."""
    names = sorted({outcome.fault.name for outcome in outcomes})
    rows = [_row(name, [one for one in outcomes if one.fault.name == name]) for name in names]
    lines = [HEADINGS, *rows, _row("all", outcomes)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    text = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return "\n".join(["", *text, f"seed {seed}"])


def _row(name: str, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    count: Callable[[Kind], int] = lambda kind: sum(  # noqa: E731
        any(finding.kind == kind for finding in outcome.findings) for outcome in outcomes
    )
    struck = [outcome.told.recovery for outcome in outcomes if outcome.told.struck]
    failed = sum(
        outcome.told.case.row is not None and outcome.told.case.row["status"] == "failed" for outcome in outcomes
    )
    seconds = (f"{of(struck or [0.0]):.1f} s" for of in (max, median))
    return (
        name,
        str(len(outcomes)),
        str(len(struck)),
        str(failed),
        *(str(count(kind)) for kind in WRONG.values()),
        *seconds,
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
