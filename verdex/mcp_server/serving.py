"""How agents reach the server: on stdin and stdout, or by streamable HTTP."""

import asyncio
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import uvicorn
from mcp.server.mcpserver import MCPServer

from verdex.ending import leave
from verdex.errors import SettingsError
from verdex.mcp_server.connection import Connection
from verdex.mcp_server.server import build

PATH: Final = "/mcp"
DRAIN_SECONDS: Final = 5
"""That questions under way have left when the server is ended."""


async def serve_stdio(bring_up: Callable[[], None]) -> None:
    """Serve who started this process, until stdin is closed, SIGTERM or Ctrl-C."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave, 0)  # who waits for a line of stdin cannot be woken
    async with Connection(bring_up) as connection:
        await build(connection).run_stdio_async()


def listen(host: str, port: int) -> socket.socket:
    """A socket at which nobody is answered yet.

    Raises:
        SettingsError: the port is in use, or this machine has no such address.
    """
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (while")[0]
        raise SettingsError(f"cannot listen on {host}, port {port}: {why} (choose with --host and --port)") from None
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio does so only where it makes the socket
    return listener


async def serve_http(bring_up: Callable[[], None], listener: socket.socket, started: Callable[[str], None]) -> None:
    """Serve at `listener`, until SIGTERM or Ctrl-C; `started` is told the URL when somebody can connect."""
    async with Connection(bring_up) as connection:
        await _HttpServer(build(connection), listener, started).serve([listener])


class _HttpServer(uvicorn.Server):
    """Keeps no sessions, so that a server that was started again is the same to its clients."""

    def __init__(self, server: MCPServer[Any], listener: socket.socket, started: Callable[[str], None]) -> None:
        self._host, self._port = listener.getsockname()[:2]
        self._announce = started
        app = server.streamable_http_app(
            streamable_http_path=PATH, json_response=True, stateless_http=True, host=self._host
        )
        super().__init__(
            uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=DRAIN_SECONDS)
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._announce(f"http://{host}:{self._port}{PATH}")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Unlike that of uvicorn, this does not raise the signal again at the end, which was asked for."""
        self.force_exit, self.should_exit = self.should_exit, True
