"""The floor: how soon anything could have the chunks of a tree in PostgreSQL on this machine.

It lists, reads, parses with tree-sitter in as many processes as there are cores, and copies the chunks into one plain
table, each process in one COPY that goes on while it parses. It shares no code with verdex, keeps no promise, and has
nothing to find afterwards: no hashes, names, outcomes, indexes or transactions, nothing that could go on after a crash.
It skips what verdex skips (binary, empty, over 32 MiB), and parses what verdex parses: neither minified files nor files
of a language with braces that hold none.
"""

import argparse
import asyncio
import gc
import json
import os
import struct
import subprocess
import sys
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from itertools import accumulate
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg
from tree_sitter import Language, Node, Parser

MAX_FILE_BYTES: Final = 32 * 1024 * 1024
MAX_LINES: Final = 60
MAX_CHUNK_BYTES: Final = 4_000
DEFINITION_LINES: Final = 5
"""From which on it begins a chunk."""
UNIT_BYTES: Final = 1024 * 1024
START_SECONDS: Final = 30.0
MINIFIED_LINE: Final = 1_000
BRACED: Final = frozenset({"c", "cpp", "c_sharp", "java"})
EXTENSIONS: Final = {
    extension: language
    for language, extensions in {
        "bash": "bash sh zsh",
        "c": "c h",
        "c_sharp": "cs",
        "cpp": "cc cpp cxx hh hpp",
        "css": "css",
        "elixir": "ex exs",
        "go": "go",
        "haskell": "hs",
        "java": "java",
        "javascript": "cjs js jsx mjs",
        "julia": "jl",
        "kotlin": "kt kts",
        "lua": "lua",
        "markdown": "md",
        "php": "php",
        "python": "py pyi pyw",
        "ruby": "rb",
        "rust": "rs",
        "scala": "scala",
        "swift": "swift",
        "typescript": "ts",
    }.items()
    for extension in extensions.split()
}
TABLE: Final = "CREATE TABLE floor (path text, start_line integer, end_line integer, content text)"


class File(NamedTuple):
    """A file to read."""

    path: str
    size: int  # bytes


def listed(root: Path) -> list[File]:
    """The files of a tree, the biggest first."""
    found = []
    for path in _paths(root):
        status = os.lstat(path)
        if status.st_mode & 0o170000 == 0o100000 and 0 < status.st_size <= MAX_FILE_BYTES:
            found.append(File(path, status.st_size))
    return sorted(found, key=lambda file: -file.size)


def _paths(root: Path) -> Iterator[str]:
    if (root / ".git").is_dir():
        names = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True)  # noqa: S607
        yield from (os.path.join(root, os.fsdecode(name)) for name in names.stdout.split(b"\0")[:-1])  # noqa: PTH118
        return
    for directory, _, of_directory in os.walk(root):
        yield from (os.path.join(directory, name) for name in of_directory)  # noqa: PTH118


def in_units(files: list[File]) -> Iterator[list[File]]:
    """Groups of files of about as many bytes."""
    unit, size = list[File](), 0
    for file in files:
        unit.append(file)
        size += file.size
        if size >= UNIT_BYTES:
            yield unit
            unit, size = [], 0
    if unit:
        yield unit


def rows(content: bytes, path: str, parser: Parser | None) -> Iterator[bytes]:
    """The chunks of a file as rows of a binary COPY."""
    before = list(accumulate(map(len, content.split(b"\n")), initial=0))  # bytes before each line, without line ends
    starts = set(_starts(parser.parse(content).root_node)) if parser else set[int]()
    name, first = path.encode(), 0
    for start in sorted({*starts, len(before) - 1}):
        while first < start:
            fitting = bisect_right(before, before[first] + MAX_CHUNK_BYTES) - 1
            end = min(start, first + MAX_LINES, max(fitting, first + 1))
            yield _row(name, first, end, content[before[first] + first : before[end] + end - 1])
            first = end


def _starts(node: Node) -> Iterator[int]:
    """The first lines of what looks like a definition, and of those inside of one that is no chunk."""
    opened = [node]
    while opened:
        for child in opened.pop().children:
            first, last = child.start_point[0], child.end_point[0]
            if last - first >= DEFINITION_LINES:
                yield first
                if last - first >= MAX_LINES:
                    opened.append(child)


_HEAD: Final = struct.Struct("!hi")
_LINES: Final = struct.Struct("!iiiii")


def _row(name: bytes, first: int, end: int, text: bytes) -> bytes:
    return b"".join((_HEAD.pack(4, len(name)), name, _LINES.pack(4, first + 1, 4, end, len(text)), text))


class Copier:
    """What one process does."""

    def __init__(self, units: "SimpleQueue[list[File] | None]") -> None:
        """Take units until there is None."""
        self._units = units
        self._parsers: dict[str, Parser] = {}
        self.files = 0

    async def copied(self) -> AsyncIterator[bytes]:
        """The input of a binary COPY."""
        yield b"PGCOPY\n\xff\r\n\0" + bytes(8)
        while unit := self._units.get():
            for file in unit:
                yield b"".join(self._rows(file.path))
        yield b"\xff\xff"

    def _rows(self, path: str) -> Iterator[bytes]:
        with open(path, "rb") as opened:  # noqa: PTH123  (faster than a Path)
            content = opened.read()
        if b"\0" in content or not content.strip():
            return
        try:
            content.decode()
        except UnicodeDecodeError:
            content = content.decode(errors="replace").encode()
        self.files += 1
        yield from rows(content, path, self._parser(path, content))

    def _parser(self, path: str, content: bytes) -> Parser | None:
        language = EXTENSIONS.get(path.rpartition(".")[2])
        is_plain = language in BRACED and b"{" not in content
        if language is None or is_plain or len(content) > MINIFIED_LINE * (content.count(b"\n") + 1):
            return None
        if language not in self._parsers:
            module = import_module(f"tree_sitter_{language}")
            function = getattr(module, "language", None) or getattr(module, f"language_{language}")
            self._parsers[language] = Parser(Language(function()))
        return self._parsers[language]


def _copy(url: str, units: "SimpleQueue[list[File] | None]", ready: "Barrier", counts: "SimpleQueue[int]") -> None:
    async def copy() -> None:
        connection = await asyncpg.connect(url)
        copier = Copier(units)
        ready.wait()
        await connection.copy_to_table("floor", source=copier.copied(), format="binary")
        await connection.close()
        counts.put(copier.files)

    gc.disable()
    asyncio.run(copy())


def index(root: Path, url: str) -> tuple[int, float]:
    """The number of files that were copied, and the seconds that it took once the processes were there."""
    cores, context = os.cpu_count() or 1, get_context("fork")
    units: SimpleQueue[list[File] | None] = context.SimpleQueue()
    counts: SimpleQueue[int] = context.SimpleQueue()
    ready = context.Barrier(cores + 1, timeout=START_SECONDS)
    processes = [context.Process(target=_copy, args=(url, units, ready, counts)) for _ in range(cores)]
    for process in processes:
        process.start()
    ready.wait()
    began = time.perf_counter()
    for unit in (*in_units(listed(root)), *(None for _ in processes)):
        units.put(unit)
    for process in processes:
        process.join()
    seconds = time.perf_counter() - began
    if any(process.exitcode for process in processes):
        sys.exit("a process of the floor failed")
    return sum(counts.get() for _ in processes), seconds


async def _create_table(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(TABLE)
    await connection.close()


def main() -> None:
    """Print what was done as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor", description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("url", help="of a database without a table `floor`")
    given = parser.parse_args()
    asyncio.run(_create_table(given.url))
    files, seconds = index(given.root, given.url)
    print(json.dumps({"files": files, "seconds": seconds}))


if __name__ == "__main__":
    main()
