"""The proxy does what its faults stand on."""

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from random import Random

import pytest

from tests.chaos.proxy import HOST, Proxy


@pytest.fixture
async def proxy():
    """One before a server that gives every line back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionResetError):
            while line := await reader.readline():
                writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Proxy(lambda: asyncio.open_connection(HOST, port)) as made:
        yield made


@asynccontextmanager
async def _connected(proxy: Proxy):
    """Say a line, and hear what comes back."""
    host, port = proxy.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))

    async def say(text: bytes) -> bytes:
        writer.write(text + b"\n")
        return (await reader.readline()).strip()

    assert await say(b"hello") == b"hello"
    yield say
    writer.close()
    with suppress(ConnectionResetError):
        await writer.wait_closed()


async def test_what_is_said_comes_through(proxy):
    async with _connected(proxy) as say:
        assert await say(b"x" * 50_000) == b"x" * 50_000


async def test_a_cut_resets_connections_and_new_ones_can_be_made(proxy):
    async with _connected(proxy) as say:
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await say(b"anybody there?")
    async with _connected(proxy):
        pass


async def test_what_is_swallowed_comes_through_afterwards(proxy):
    async with _connected(proxy) as say, asyncio.TaskGroup() as beside:
        began = time.monotonic()
        beside.create_task(proxy.swallow(0.3))
        await asyncio.sleep(0)  # it begins
        assert await say(b"late") == b"late"
        assert time.monotonic() - began >= 0.3


async def test_every_chunk_can_be_late(proxy):
    async with _connected(proxy) as say, asyncio.TaskGroup() as beside:
        began = time.monotonic()
        beside.create_task(proxy.delay(Random(1), 0.2, 0.3))  # noqa: S311
        await asyncio.sleep(0)  # it begins
        assert await say(b"slow") == b"slow"
        assert time.monotonic() - began > 0.02
