"""File names are bytes, the database and JSON hold text: a reversible way from one to the other.

Ordinary UTF-8 names stay as they are. A backslash becomes two, a byte that is not part of valid UTF-8 becomes `\\xNN`.
"""

import os
import re
from pathlib import Path

_ESCAPE = re.compile(rb"\\(?:\\|x([0-9a-f]{2}))")


def to_text(path: bytes) -> str:
    """Give the path as text without surrogates; distinct paths give distinct texts."""
    return path.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def to_path(text: str) -> Path:
    """The path that `to_text` gave as `text`, for calls of the operating system."""
    return Path(os.fsdecode(to_bytes(text)))


def to_bytes(text: str) -> bytes:
    """Give back the path that `to_text` was given. UnicodeEncodeError where the text holds surrogates."""
    return _ESCAPE.sub(_unescaped, text.encode()) if "\\" in text else text.encode()


def _unescaped(escape: re.Match[bytes]) -> bytes:
    return bytes.fromhex(escape[1].decode()) if escape[1] else b"\\"
