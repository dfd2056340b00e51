"""What `doctor` finds of a part."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from verdex.settings import MIB

CLOCK_SECONDS: Final = 2.0
_SHOWN: Final = 5


class Finding(NamedTuple):
    """What was found of one part. Advice says what to do; where the part is ok all the same, it is a warning."""

    part: str
    ok: bool
    found: str
    advice: str = ""


def well(part: str, found: str) -> Finding:
    """Nothing is to be done."""
    return Finding(part, True, found)


def worrying(part: str, found: str, advice: str) -> Finding:
    """It works, but somebody should look at it."""
    return Finding(part, True, found, advice)


def bad(part: str, found: str, advice: str) -> Finding:
    """It does not work, or is about not to."""
    return Finding(part, False, found, advice)


def size(count: int) -> str:
    """Bytes for people: `412 MiB`, `1.4 GiB`."""
    return f"{count / MIB:,.0f} MiB" if count < 1024 * MIB else f"{count / MIB / 1024:,.1f} GiB"


def clock(part: str, ahead: timedelta) -> Finding:
    """How far the clock of a part is ahead of that of this machine."""
    seconds = ahead.total_seconds()
    if abs(seconds) <= CLOCK_SECONDS:
        return well(f"clock of {part}", "as that of this machine")
    told = f"{abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} that of this machine"
    return worrying(f"clock of {part}", told, "synchronise the clocks (NTP): times and durations of jobs are wrong")


def some(texts: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = len(texts) - _SHOWN
    return ", ".join(texts[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
