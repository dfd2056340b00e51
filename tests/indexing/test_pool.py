"""Processes that parse: one text that kills its process harms no other."""

import signal
from collections.abc import Iterator

import psutil
import pytest

from verdex.indexing.chunking import chunk
from verdex.indexing.pool import ChunkPool, ParserCrashed, Source

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
    assert await pool.chunk(sources) == [chunk(source.content, source.language) for source in sources]


async def test_a_text_that_kills_its_parser_is_told_from_the_others(own_pool: ChunkPool):
    first, deadly, last = await own_pool.chunk([GOOD, Source(Deadly("x"), "python"), GOOD])
    assert isinstance(deadly, ParserCrashed)
    assert first == last == chunk(*GOOD)


async def test_a_pool_whose_process_was_killed_goes_on_with_another(own_pool: ChunkPool):
    before = children()
    await own_pool.chunk([GOOD])
    for process in children() - before:
        process.kill()
        process.wait(10)
    assert await own_pool.chunk([GOOD]) == [chunk(*GOOD)]
    assert await own_pool.chunk([GOOD]) == [chunk(*GOOD)]


async def test_a_closed_pool_leaves_no_process_behind():
    before = children()
    pool = ChunkPool(2)
    await pool.chunk([GOOD])
    pool.close()
    left = [process for process in children() - before if "resource_tracker" not in " ".join(process.cmdline())]
    assert left == []
