"""The command `mcp`."""

import asyncio
import gc
import sys
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import click

from verdex.cli.session import Session, local_stack, telemetry
from verdex.ending import ended_by_ctrl_c
from verdex.settings import Settings

HOST: Final = "127.0.0.1"
PORT: Final = 8765


@click.command()
@click.option("--http", is_flag=True, help="Listen for streamable HTTP, instead of speaking on stdin and stdout.")
@click.option("--host", help=f"With --http: the address to listen on (by default {HOST}).")
@click.option(
    "--port", type=click.IntRange(0, 65535), help=f"With --http: the port (by default {PORT}; 0: a free one)."
)
def mcp(*, http: bool, host: str | None, port: int | None) -> None:
    """Serve coding agents by MCP, the Model Context Protocol.

    On stdin and stdout, for a client that starts this command; or with --http for any that connect. It ends with its
    client, by Ctrl-C or by SIGTERM; jobs go on. The local stack is brought up beside, and whenever it is needed.
    """
    if not http and (host, port) != (None, None):
        raise click.UsageError("--host and --port go with --http.")
    local_stack()  # what is wrong with the settings is told at once
    with ended_by_ctrl_c():
        from verdex.mcp_server import serving  # noqa: PLC0415  (slow to import)

    listener = serving.listen(host or HOST, PORT if port is None else port) if http else None
    gc.enable()
    with telemetry(Settings.load(), level="ERROR"):
        if listener is None:
            _tell_people()
            asyncio.run(serving.serve_stdio(_Stack().bring_up))
        else:
            asyncio.run(serving.serve_http(_Stack().bring_up, listener, _tell_url))


class _Stack:
    """The stack that the server works with, brought up when it is first needed."""

    def __init__(self) -> None:
        self._session: Session | None = None

    def bring_up(self) -> None:
        """Start what of the local stack does not run."""
        if self._session is None:
            self._session = Session(replace_worker=True)
        else:
            self._session.revive()


def _tell_people() -> None:
    if sys.stdin.isatty():
        click.echo(
            "verdex: this speaks MCP on stdin and stdout, to a coding agent that starts it; Ctrl-C ends it", err=True
        )


def _tell_url(url: str) -> None:
    click.echo(f"verdex: serving MCP at {url}", err=True)
    if not ip_address(urlsplit(url).hostname or "").is_loopback:
        click.echo(
            "verdex: there is no login: whoever reaches this address can index, and read what is indexed", err=True
        )
