"""`churn.py PATH TEXT WAY PAUSE`: change the file PATH without end, so that each state of it is known beforehand.

`grows`: to the content of TEXT, by each of the last LINES of it, and from the beginning again. `is replaced`: by files
that hold one of those lines each. PAUSE is in seconds, after each change.
"""

import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LINES: Final = 40


def grow(place: Path, fresh: Path, text: list[bytes]) -> Iterator[None]:
    """Whoever reads it meanwhile reads a prefix."""
    start = b"".join(text[:-LINES])
    fresh.write_bytes(start)
    fresh.replace(place)
    with place.open("ab", buffering=0) as file:
        while True:
            for line in text[-LINES:]:
                file.write(line)
                yield
            file.truncate(len(start))


def replace(place: Path, fresh: Path, text: list[bytes]) -> Iterator[None]:
    """Whoever reads it meanwhile reads one line."""
    for line in itertools.cycle(text[-LINES:]):
        fresh.write_bytes(line)
        fresh.replace(place)
        yield


def main() -> None:
    """Until it is killed."""
    _, path, text, way, pause = sys.argv
    change = {"grows": grow, "is replaced": replace}[way]
    for _ in change(Path(path), Path(text).with_name("fresh"), Path(text).read_bytes().splitlines(keepends=True)):
        if seconds := float(pause):
            time.sleep(seconds)


if __name__ == "__main__":
    main()
