"""A TCP proxy before one server, which can delay what it passes on, cut connections, and swallow everything."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Final, Self

HOST: Final = "127.0.0.1"
CHUNK_BYTES: Final = 64 * 1024
_RESET: Final = struct.pack("ii", 1, 0)
"""As SO_LINGER, it makes closing a socket a reset, for which the other side need not wait."""

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """Listens on a port of its own; passes on what comes until it is told to do worse."""

    def __init__(self, connect: Callable[[], Awaitable[Stream]]) -> None:
        """`connect` opens a connection to the server."""
        self._connect = connect
        self._delay: Callable[[], float] = lambda: 0.0
        self._passing = asyncio.Event()
        self._passing.set()
        self._links: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Break off all connections, and take no more."""
        self._server.close()
        self._passing.set()
        self.cut()
        await asyncio.gather(*filter(None, self._links.values()), return_exceptions=True)

    @property
    def address(self) -> str:
        """Where it listens, as `host:port`."""
        return f"{HOST}:{self._server.sockets[0].getsockname()[1]}"

    async def delay(self, random: Random, longest: float, seconds: float) -> None:
        """For `seconds`, each chunk comes up to `longest` seconds late."""
        self._delay = lambda: random.uniform(0, longest)
        await asyncio.sleep(seconds)
        self._delay = lambda: 0.0

    async def swallow(self, seconds: float) -> None:
        """For `seconds`, connections are taken and kept, and nothing comes through; then all that was held back."""
        self._passing.clear()
        await asyncio.sleep(seconds)
        self._passing.set()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in self._links:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._links[writer] = asyncio.current_task()
        try:
            await self._passing.wait()
            upstream, server = await self._connect()
            self._links[server] = None
            try:
                await asyncio.gather(self._pass(reader, server), self._pass(upstream, writer))
            finally:
                self._forget(server)
        except OSError:
            pass  # the server is away, or one side has reset the connection
        finally:
            self._forget(writer)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            await self._passing.wait()
            await asyncio.sleep(self._delay())
            writer.write(chunk)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()

    def _forget(self, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()
        self._links.pop(writer, None)
