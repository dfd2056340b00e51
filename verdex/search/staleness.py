"""Whether files that a search shows have changed since they were indexed, where their repository is on this machine."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from verdex.contracts import SearchResult
from verdex.errors import RepositoryError
from verdex.indexing.text import NotText, decode
from verdex.sources.errors import FileChangedWhileRead, FileError, FileVanished, NotARegularFile
from verdex.sources.paths import to_path
from verdex.sources.working_tree import read

LARGEST: Final = 4 * 1024 * 1024
"""Bytes of a file that is read again; whether a larger one has changed is not looked at."""


def changed(results: Sequence[SearchResult]) -> dict[str, list[str]]:
    """The files of each repository that do not hold any more what is shown of them."""
    paths = defaultdict[str, list[str]](list)
    for result in results:
        known = paths.get(result.repo_path, ())
        root = to_path(result.repo_path)
        if result.file_path not in known and root.is_dir() and not _is_there(root, result):
            paths[result.repo_path].append(result.file_path)
    return paths


def _is_there(root: Path, result: SearchResult) -> bool:
    try:
        text = decode(read(root, result.file_path, max_file_bytes=LARGEST).content)
    except (FileVanished, NotARegularFile, FileChangedWhileRead):
        return False
    except (FileError, RepositoryError):  # nothing can be told of it
        return True
    if isinstance(text, NotText):
        return False
    lines = text.content.split("\n")[result.start_line - 1 : result.end_line]
    return "\n".join(lines).startswith(result.content)
