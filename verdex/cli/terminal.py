"""What can be written to where the output goes."""

import os
import sys
from typing import TextIO

import click


def on_terminal(stream: TextIO | None = None) -> bool:
    """Whether `stream` (stdout) is a terminal, on which lines can be drawn again."""
    return (stream or sys.stdout).isatty() and not is_dumb()


def is_dumb() -> bool:
    """Whether the terminal shows escape codes instead of doing what they say."""
    return os.environ.get("TERM", "").lower() in {"dumb", "unknown"}


def wants_styles() -> bool | None:
    """Whether there are escape codes in what is printed; None leaves it to whether that goes to a terminal."""
    if os.environ.get("FORCE_COLOR"):
        return True
    return False if is_dumb() else None


def styled(text: str, *, colour: str | None = None, bold: bool | None = None) -> str:
    """The text as a terminal shows it; NO_COLOR leaves what is no colour."""
    colour = None if os.environ.get("NO_COLOR") else colour
    return click.style(text, fg=colour, bold=bold) if colour or bold else text
