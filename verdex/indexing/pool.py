"""Processes that cut texts into chunks: parsing is bound by the processor, and threads do not help it."""

import asyncio
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context, parent_process
from typing import NamedTuple

from verdex.indexing.chunking import Chunk, chunk


class Source(NamedTuple):
    """A text and the language to read it in; None where there is no grammar."""

    content: str
    language: str | None


class ParserCrashed(Exception):
    """The process that parsed a text died of it."""


class ChunkPool:
    """A pool of processes that survives a text which kills its parser."""

    def __init__(self, processes: int) -> None:
        """Start up to `processes` processes, when they are first needed."""
        self._processes = processes
        self._executor = _start(processes)

    async def chunk(self, sources: Sequence[Source]) -> list[list[Chunk] | ParserCrashed]:
        """The chunks of each text, in order; `ParserCrashed` in place of those of a text that kills its parser."""
        executor = self._executor
        try:
            return list(await _run(executor, sources))
        except BrokenProcessPool:
            if self._executor is executor:  # else another caller has replaced it
                self._executor = _start(self._processes)
            return await _chunk_apart(sources)

    def close(self) -> None:
        """End the processes; work that has not begun is dropped."""
        self._executor.shutdown(wait=True, cancel_futures=True)


async def _chunk_apart(sources: Sequence[Source]) -> list[list[Chunk] | ParserCrashed]:
    """One text after the other in a process of their own, to find the one that kills it."""
    results: list[list[Chunk] | ParserCrashed] = []
    executor = _start(1)
    for source in sources:
        try:
            results += await _run(executor, [source])
        except BrokenProcessPool:
            results.append(ParserCrashed("the parser crashed on it"))
            executor = _start(1)
    executor.shutdown(wait=False)
    return results


async def _run(executor: ProcessPoolExecutor, sources: Sequence[Source]) -> list[list[Chunk]]:
    return await asyncio.get_running_loop().run_in_executor(executor, _chunk_all, sources)


def _chunk_all(sources: Sequence[Source]) -> list[list[Chunk]]:
    return [chunk(source.content, source.language) for source in sources]


def _start(processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(processes, get_context("spawn"), initializer=_follow_parent)


def _follow_parent() -> None:
    """End with the owner of the pool: if that is killed, nobody else would; and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None  # noqa: S101  (this runs in a child)
    threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()


def _exit_after(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
