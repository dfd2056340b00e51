"""From the bytes of a file to the text that is indexed, or the reason why there is none."""

import codecs
from collections.abc import Iterator
from typing import Final, NamedTuple

from verdex.terms import LARGE, MAX_TEXT

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class Text(NamedTuple):
    """What can be indexed of a file; `note` says what was lost on the way, or is not searched."""

    content: str
    note: str | None = None


class NotText(NamedTuple):
    """Why there is nothing to index in a file."""

    reason: str


def decode(content: bytes) -> Text | NotText:
    """Read bytes as UTF-8, or as what their byte-order mark says.

    A NUL byte marks a binary file, as it does for git. Bytes that are not UTF-8 become U+FFFD, which leaves the rest
    of a file in an old encoding searchable.
    """
    if not content.strip():
        return NotText("empty")
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return _decode_marked(content[len(mark) :], encoding)
    if b"\0" in content:
        return NotText("binary")
    try:
        return _noted(content.decode())
    except UnicodeDecodeError as error:
        note = f"not valid UTF-8 (first at byte {error.start}): such bytes are indexed as U+FFFD"
        return _noted(content.decode(errors="replace"), note)


def _decode_marked(content: bytes, encoding: str) -> Text | NotText:
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        return NotText(f"undecodable: marked as {encoding}, but {error.reason} at byte {error.start}")
    if "\0" in text:
        return NotText("binary")
    return _noted(text) if text.strip() else NotText("empty")


def _noted(text: str, *notes: str) -> Text:
    return Text(text, "; ".join([*notes, *_not_searched(text)]) or None)


def _not_searched(text: str) -> Iterator[str]:
    """Only a line that is a chunk by itself can be longer than what is searched of one."""
    if len(text) <= MAX_TEXT:
        return
    if len(text) >= LARGE:
        yield f"large ({len(text):,} characters): found by whole words only, and not by numbers"
    if long := [number for number, line in enumerate(text.split("\n"), start=1) if len(line) > MAX_TEXT]:
        more = f" and {len(long) - 1:,} more" if len(long) > 1 else ""
        yield f"line {long[0]:,}{more} too long: only the first {MAX_TEXT:,} characters are searched"
