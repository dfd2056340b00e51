"""Processes that parse: one text that kills its process harms no other."""

import logging
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from multiprocessing.spawn import set_executable

import psutil
import pytest

from verdex.errors import ParserUnavailable
from verdex.indexing.chunking import chunk
from verdex.indexing.pool import ChunkPool, ParserCrashed, Source
from verdex.storage.copying import encoded

GOOD = Source("def one():\n    return 1\n", "python")


class Deadly(str):
    """Ends any process that it is sent to."""

    __slots__ = ()

    def __reduce__(self):
        return signal.raise_signal, (signal.SIGKILL,)


@pytest.fixture
def own_pool() -> Iterator[ChunkPool]:
    """A pool that a test may break."""
    pool = ChunkPool(1)
    yield pool
    pool.close()


def children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


async def test_chunks_come_in_the_order_of_their_texts(pool: ChunkPool):
    sources = [Source(f"x{number} = {number}\n", "python") for number in range(20)] + [Source("plain\n", None)]
    assert await pool.chunk(sources) == [encoded(chunk(*source)) for source in sources]


async def test_a_text_that_kills_its_parser_is_told_from_the_others(own_pool: ChunkPool):
    first, deadly, last = await own_pool.chunk([GOOD, Source(Deadly("x"), "python"), GOOD])
    assert isinstance(deadly, ParserCrashed)
    assert first == last == encoded(chunk(*GOOD))


async def test_a_pool_whose_process_was_killed_goes_on_with_another(own_pool: ChunkPool):
    before = children()
    await own_pool.chunk([GOOD])
    for process in children() - before:
        process.kill()
        process.wait(10)
    assert await own_pool.chunk([GOOD]) == [encoded(chunk(*GOOD))]
    assert await own_pool.chunk([GOOD]) == [encoded(chunk(*GOOD))]


async def test_no_text_is_to_blame_where_no_process_can_be_started(own_pool: ChunkPool):
    set_executable("/bin/false")
    try:
        with pytest.raises(ParserUnavailable, match="the processes that parse cannot be started"):
            await own_pool.chunk([GOOD])
    finally:
        set_executable(sys.executable)
    assert await own_pool.chunk([GOOD]) == [encoded(chunk(*GOOD))]


async def test_a_closed_pool_leaves_no_process_behind():
    before = children()
    pool = ChunkPool(2)
    await pool.chunk([GOOD])
    pool.close()
    left = [process for process in children() - before if "resource_tracker" not in " ".join(process.cmdline())]
    assert left == []


class Talkative(str):
    """Makes the process that it is sent to log and warn."""

    __slots__ = ()

    def __reduce__(self):
        return _log, (str(self),)


def _log(text: str) -> str:
    log = logging.getLogger("parser")
    log.warning("odd text %s", text, extra={"size": len(text), "odd": threading.Lock() if text == "lock" else None})
    log.debug("not for this level")
    warnings.warn("a grammar is old", FutureWarning, stacklevel=1)
    return text


async def test_what_the_processes_log_is_logged_by_the_step_that_sent_the_text(caplog):
    with caplog.at_level(logging.INFO):  # which the processes take over when they start
        pool = ChunkPool(1)
        await pool.chunk([Source(Talkative("x = 1\n"), "python"), GOOD])
        await pool.chunk([Source(Talkative("lock"), "python")])
        pool.close()
    told = [(record.name, record.getMessage()) for record in caplog.records]
    assert told[0] == ("parser", "odd text x = 1\n")
    assert caplog.records[0].size == 6
    assert told[1][0] == "py.warnings"
    assert "a grammar is old" in told[1][1]
    assert told[2] == ("parser", "a line that cannot be sent")
    assert len([name for name, _ in told if name == "parser"]) == 2
