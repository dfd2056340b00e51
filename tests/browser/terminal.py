"""A command on a terminal, and a picture of what it showed."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Final

from playwright.async_api import Page
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

COLUMNS: Final = 100
ROWS: Final = 50

_THEME: Final = TerminalTheme(
    background=(24, 26, 31),
    foreground=(214, 217, 222),
    normal=[
        (24, 26, 31), (240, 113, 120), (126, 200, 126), (229, 192, 99),
        (104, 163, 245), (198, 134, 226), (86, 190, 196), (214, 217, 222),
    ],
    bright=[
        (110, 116, 128), (255, 135, 142), (148, 220, 148), (245, 211, 125),
        (132, 182, 255), (216, 158, 240), (110, 210, 216), (255, 255, 255),
    ],
)  # fmt: skip
_PAGE: Final = """
<body style="margin: 0; background: {background}">
<pre id="shown" style="display: inline-block; margin: 0; padding: 16px; color: {foreground}; background: {background};
    font: 13px/1.3 'DejaVu Sans Mono', monospace">{code}</pre>
</body>
"""


def shown(program: Path, *arguments: str, environment: Mapping[str, str]) -> str:
    """What a command writes on a terminal of 100 columns, with its escape sequences."""
    master, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**environment, "TERM": "xterm-256color"}
    with subprocess.Popen([program, *arguments], env=environment, stdin=end, stdout=end, stderr=end):
        os.close(end)
        written = b""
        with suppress(OSError):  # so Linux says that nobody writes any more
            while read := os.read(master, 65536):
                written += read
    os.close(master)
    return written.decode().replace("\r\n", "\n")


async def take(page: Page, command: str, output: str, file: Path) -> None:
    """A picture of a terminal after a command; `output` may have escape sequences."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.assemble(("$ ", "bright_black"), (command, "bold")))
    console.print(Text.from_ansi(re.sub(r"\x1b\]8;[^\x1b]*\x1b\\", "", output).rstrip()), end="")
    await page.set_content(console.export_html(theme=_THEME, code_format=_PAGE, inline_styles=True))
    await page.locator("#shown").screenshot(path=file)
