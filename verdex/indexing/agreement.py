"""Whether the index holds of a file what the source holds of it now. Every byte is read again."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from verdex.errors import RepositoryError
from verdex.indexing.text import NotText, decode
from verdex.sources.errors import FileError, FileTooLarge, FileVanished, NotARegularFile
from verdex.sources.working_tree import SourceFile, read
from verdex.storage.published import PublishedFile, StoredChunk
from verdex.terms import LARGE, lexemes


class Source(NamedTuple):
    """What the source holds of a path; `reason` says why there is no text."""

    state: Literal["text", "skipped", "unreadable", "gone", "ignored"]
    reason: str = ""
    content_hash: bytes = b""  # SHA-256
    text: str = ""


def examine(root: Path, path: str, scanned: SourceFile | None, *, max_file_bytes: int) -> Source:
    """Read a file again; `scanned` is what the scan said of it, None where it did not list it."""
    if scanned is not None and scanned.failed is not None:
        return Source("unreadable", scanned.failed)
    if scanned is not None and scanned.skipped is not None:
        return Source("skipped", scanned.skipped)
    found = _read(root, path, max_file_bytes)
    return found if scanned is not None or found.state in {"gone", "unreadable"} else Source("ignored")


def _read(root: Path, path: str, max_file_bytes: int) -> Source:
    try:
        content = read(root, path, max_file_bytes=max_file_bytes).content
    except (FileVanished, ValueError):  # ValueError: no file can have such a path; that of a directory ends in "/"
        return Source("gone")
    except (NotARegularFile, FileTooLarge) as error:
        return Source("skipped", error.reason)
    except FileError as error:
        return Source("unreadable", error.reason)
    except RepositoryError as error:
        return Source("unreadable", str(error))
    text = decode(content)
    if isinstance(text, NotText):
        return Source("skipped", text.reason)
    return Source("text", "", hashlib.sha256(content).digest(), text.content)


def difference(source: Source, held: PublishedFile | None, chunks: Sequence[StoredChunk]) -> str | None:
    """The first thing in which the index is wrong about a file; None where it is right.

    A file of which the job itself says that it failed is not held against the index.
    """
    if held is not None and held.outcome == "indexed":
        return _of_indexed(source, held, chunks)
    if held is not None and held.outcome == "failed":
        return None
    if source.state == "unreadable":
        return f"cannot be compared: {source.reason}"
    return "not in the index" if source.state == "text" else None


def _of_indexed(source: Source, held: PublishedFile, chunks: Sequence[StoredChunk]) -> str | None:
    match source.state:
        case "text" if source.content_hash != held.content_hash:
            return "the index holds another content"
        case "text":
            return chunk_difference(source.text, chunks)
        case "unreadable":
            return f"cannot be compared: {source.reason}"
        case "skipped":
            return f"in the index, but to be skipped: {source.reason}"
        case "ignored":
            return "in the index, but ignored by the source"
        case "gone":
            return "in the index, but not in the source"


def chunk_difference(text: str, chunks: Sequence[StoredChunk]) -> str | None:
    """The first thing in which chunks are not runs of lines of `text`, in order, that hold all but blank ones.

    Where their lexemes are known, these have to be those of what they hold.
    """
    lines, is_large = text.split("\n"), len(text) >= LARGE
    covered = 0
    for chunk in chunks:
        name = f"the chunk of lines {chunk.start_line}-{chunk.end_line}"
        if not covered < chunk.start_line <= chunk.end_line <= len(lines):
            return f"{name} is out of place"
        if lost := _first_text(lines, covered, chunk.start_line - 1):
            return f"line {lost} is in no chunk"
        if chunk.content != "\n".join(lines[chunk.start_line - 1 : chunk.end_line]):
            return f"{name} holds another text"
        found = None if chunk.lexemes is None else lexemes(chunk.content, chunk.symbol, is_part_of_large=is_large)
        if found != chunk.lexemes:
            return f"{name} is not found by its words"
        covered = chunk.end_line
    lost = _first_text(lines, covered, len(lines))
    return f"line {lost} is in no chunk" if lost else None


def _first_text(lines: Sequence[str], start: int, end: int) -> int | None:
    """The number, from 1, of the first line that is not blank."""
    return next((number + 1 for number in range(start, end) if lines[number].strip()), None)
