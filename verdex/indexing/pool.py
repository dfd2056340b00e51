"""Processes that cut texts into chunks: parsing is bound by the processor, and threads do not help it.

What is logged there comes back with the chunks and is logged here, where it is known for which job.
"""

import asyncio
import logging
import os
import pickle
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from logging.handlers import QueueHandler
from multiprocessing import connection, get_context, parent_process
from queue import SimpleQueue
from typing import Final, NamedTuple

from verdex.errors import ParserUnavailable
from verdex.indexing.chunking import chunk
from verdex.storage.copying import EncodedChunk, encoded


class Source(NamedTuple):
    """A text and the language to read it in; None where there is no grammar."""

    content: str
    language: str | None


class ParserCrashed(Exception):
    """The process that parsed a text died of it."""


class _Chunked(NamedTuple):
    chunks: list[list[EncodedChunk]]
    logged: list[logging.LogRecord]


_QUIET: Final = "ignore:resource_tracker:UserWarning"
"""For the process that clears up after a worker which was killed: it would complain in the log, and not in JSON."""
_logged: SimpleQueue[logging.LogRecord] = SimpleQueue()
"""In a process of the pool: what it logged since its last answer."""


class _Keep(QueueHandler):
    """Keeps records in a form in which they can be sent; one that cannot must not hold back the chunks."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        try:
            prepared: logging.LogRecord = super().prepare(record)
            pickle.dumps(prepared)
        except Exception:  # noqa: BLE001  (whatever somebody put into it)
            told = {name: getattr(record, name) for name in ("name", "levelno", "levelname", "created", "msecs")}
            return logging.makeLogRecord({**told, "msg": "a line that cannot be sent"})
        return prepared


class ChunkPool:
    """A pool of processes that survives a text which kills its parser."""

    def __init__(self, processes: int) -> None:
        """Start up to `processes` processes, when they are first needed."""
        self._processes = processes
        self._executor = _start(processes)

    async def chunk(self, sources: Sequence[Source]) -> list[list[EncodedChunk] | ParserCrashed]:
        """The chunks of each text, in order; `ParserCrashed` in place of those of a text that kills its parser.

        Raises:
            ParserUnavailable: no process can be started, so no text is to blame.
        """
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


async def _chunk_apart(sources: Sequence[Source]) -> list[list[EncodedChunk] | ParserCrashed]:
    """One text after the other in a process of their own, to find the one that kills it."""
    results: list[list[EncodedChunk] | ParserCrashed] = []
    executor = await _proven()
    for source in sources:
        try:
            results += await _run(executor, [source])
        except BrokenProcessPool:
            results.append(ParserCrashed("the parser crashed on it"))
            executor = await _proven()
    executor.shutdown(wait=False)
    return results


async def _proven() -> ProcessPoolExecutor:
    """A process that has answered once."""
    executor = _start(1)
    try:
        await _run(executor, [])
    except BrokenProcessPool:
        raise ParserUnavailable("the processes that parse cannot be started: is memory short?") from None
    return executor


async def _run(executor: ProcessPoolExecutor, sources: Sequence[Source]) -> list[list[EncodedChunk]]:
    chunked = await asyncio.get_running_loop().run_in_executor(executor, _chunk_all, sources)
    for record in chunked.logged:
        logging.getLogger(record.name).handle(record)
    return chunked.chunks


def _chunk_all(sources: Sequence[Source]) -> _Chunked:
    chunks = [encoded(chunk(source.content, source.language), size=len(source.content)) for source in sources]
    return _Chunked(chunks, [_logged.get() for _ in range(_logged.qsize())])


def _start(processes: int) -> ProcessPoolExecutor:
    if _QUIET not in sys.warnoptions:
        sys.warnoptions.append(_QUIET)
    return ProcessPoolExecutor(
        processes, get_context("spawn"), initializer=_begin, initargs=(logging.getLogger().getEffectiveLevel(),)
    )


def _begin(level: int) -> None:
    """End with the owner of the pool: if that is killed, nobody else would; and leave Ctrl-C and logs to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=level, format="%(message)s", handlers=[_Keep(_logged)], force=True)
    logging.captureWarnings(capture=True)
    parent = parent_process()
    assert parent is not None  # noqa: S101  (this runs in a child)
    threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()


def _exit_after(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
