"""Whether files that a search shows have changed since they were indexed, where their repository is on this machine."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import AnyStr, Final

from verdex.contracts import SearchResult
from verdex.errors import RepositoryError
from verdex.indexing.text import Text, decode
from verdex.sources.errors import FileChangedWhileRead, FileError, FileVanished, NotARegularFile
from verdex.sources.paths import to_path
from verdex.sources.working_tree import read
from verdex.terms import MAX_TEXT

LARGEST: Final = 4 * 1024 * 1024
"""Bytes of a file that is read again; whether a larger one has changed is not looked at."""


def changed(results: Sequence[SearchResult]) -> dict[str, list[str]]:
    """The files of each repository that do not hold any more what is shown of them."""
    shown = defaultdict[tuple[str, str], list[SearchResult]](list)
    for result in results:
        shown[result.repo_path, result.file_path].append(result)
    paths = defaultdict[str, list[str]](list)
    for (repo_path, file_path), of_file in shown.items():
        root = to_path(repo_path)
        if root.is_dir() and not _are_there(root, file_path, of_file):
            paths[repo_path].append(file_path)
    return paths


def _are_there(root: Path, file_path: str, shown: Sequence[SearchResult]) -> bool:
    try:
        content = read(root, file_path, max_file_bytes=LARGEST).content
    except (FileVanished, NotARegularFile, FileChangedWhileRead):
        return False
    except (FileError, RepositoryError):  # nothing can be told of it
        return True
    return all(_is_there(content, result) for result in shown)


def _is_there(content: bytes, result: SearchResult) -> bool:
    if _holds(content, result.content.encode(), b"\n", result.start_line):
        return True
    text = decode(content)
    return isinstance(text, Text) and _holds(text.content, result.content, "\n", result.start_line)


def _holds(text: AnyStr, shown: AnyStr, newline: AnyStr, start_line: int) -> bool:
    """Whether the lines from `start_line` on are what is shown; of a line that is cut, the rest may be another."""
    begin = _begin(text, shown, newline, start_line)
    if begin is None:
        return False
    end = begin + len(shown)
    return len(shown) >= MAX_TEXT or text[end : end + 1] in (newline, newline[:0])


def _begin(text: AnyStr, shown: AnyStr, newline: AnyStr, start_line: int) -> int | None:
    """Where `shown` is found at the begin of that line."""
    if start_line == 1:
        return 0 if text.startswith(shown) else None
    line, counted = 1, 0
    while line < start_line and (at := text.find(newline + shown, counted)) >= 0:
        line += text.count(newline, counted, at + 1)
        counted = at + 1
    return counted if line == start_line else None
