"""`python -m tests.chaos --seed N --jobs N [--faults a,b]`: break everything under a stream of jobs."""

import argparse
import asyncio
import secrets
import sys
from collections.abc import Callable, Sequence
from typing import Final

from tests.chaos.campaign import Outcome, begin
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.oracle import Kind
from tests.chaos.stack import stack

WRONG: Final[dict[str, Kind]] = {"lies": "lie", "stuck": "stuck", "lost": "lost", "wrong counts": "count"}
SHOWN: Final = 10
"""Most findings of one job that are printed."""
HEADINGS: Final = ("fault", "jobs", "struck", *WRONG, "worst recovery")


def main() -> int:
    """Run a campaign; 1 if anything is wrong."""
    options = _options()
    try:
        outcomes = asyncio.run(_campaign(options.seed, options.jobs, options.faults))
    except KeyboardInterrupt:
        return 130
    return int(any(outcome.findings for outcome in outcomes))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="by chance, if not given")
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--faults", type=_faults, default=list(FAULTS.values()), help=f"some of: {', '.join(FAULTS)}")
    return parser.parse_args()


def _faults(names: str) -> list[type[Fault]]:
    try:
        return [FAULTS[name.strip()] for name in names.split(",")]
    except KeyError as error:
        raise argparse.ArgumentTypeError(f"no such fault: {error}") from None


async def _campaign(seed: int, jobs: int, faults: Sequence[type[Fault]]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    async with stack() as made:
        campaign = await begin(made, seed, faults)
        try:
            async for outcome in campaign.run(jobs):
                outcomes.append(outcome)
                _say(_line(outcome))
                for finding in outcome.findings[:SHOWN]:
                    _say(f"      {finding}")
                if outcome.findings:
                    again = f"--seed {seed} --jobs {outcome.number}, and the same --faults"
                    _say(f"      {len(outcome.findings)} in all; again: {again}")
        finally:
            _say(table(seed, outcomes))
    return outcomes


def _line(outcome: Outcome) -> str:
    case, name = outcome.told.case, outcome.fault.name
    status = case.row["status"] if case.row else "no row"
    return f"{outcome.number:4} {name:20} {status:10} {outcome.told.recovery:5.1f} s  {outcome.story}"


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
    worst = max((outcome.told.recovery for outcome in outcomes), default=0.0)
    struck = sum(outcome.told.struck for outcome in outcomes)
    return (name, str(len(outcomes)), str(struck), *(str(count(kind)) for kind in WRONG.values()), f"{worst:.1f} s")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
