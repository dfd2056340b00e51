"""The files of a directory on disk, as they are now."""

import os
import stat
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from verdex.sources.errors import NOT_REGULAR, SYMLINK, RootEmptied, RootUnreadable, too_large
from verdex.sources.fingerprint import fingerprint
from verdex.sources.ignore import ignored_paths
from verdex.sources.opening import is_gone, opened_directory, opened_root, reason
from verdex.sources.paths import to_bytes, to_text
from verdex.sources.reading import FileContent, read

__all__ = ["FileContent", "SourceFile", "check_still_there", "read", "scan"]


class SourceFile(NamedTuple):
    """One entry of the tree. To be indexed where neither `skipped` nor `failed` gives a reason not to."""

    path: str
    """Relative to the root, "/" separated, as `to_text` gives it; a directory that failed ends in "/"."""
    size: int
    """In bytes."""
    fingerprint: str | None = None
    """The state of a file to be indexed at the moment of the scan, to be compared with what `read` gave earlier."""
    skipped: str | None = None
    failed: str | None = None


def scan(root: Path, *, max_file_bytes: int) -> Iterator[SourceFile]:
    """Give every entry below `root` that git's rules do not ignore and that is not a directory.

    The order is the same for the same tree. What vanishes meanwhile is left out; symlinks are never followed.

    Raises:
        RootNotFound, RootNotADirectory, RootUnreadable: at the first step, or at the last if the root vanished.

    """
    with opened_root(root) as descriptor:
        yield from _Walk(root, descriptor, max_file_bytes).files()
    # Below a root that was removed or unmounted everything vanishes, which is not the same as an empty tree.
    with opened_root(root):
        pass


def check_still_there(root: Path) -> None:
    """Check that a tree in which `scan` saw files is not gone as a whole: what is unmounted leaves an empty directory.

    Raises:
        RootNotFound, RootNotADirectory, RootUnreadable, RootEmptied

    """
    try:
        with opened_root(root) as descriptor, os.scandir(descriptor) as listing:
            if next(listing, None) is None:
                raise RootEmptied(root)
    except OSError as error:
        raise RootUnreadable(root, reason(error)) from error


class _Walk:
    def __init__(self, root: Path, descriptor: int, max_file_bytes: int) -> None:
        self._root = root
        self._descriptor = descriptor
        self._max_file_bytes = max_file_bytes
        self._ignored: set[str] = set()

    def files(self) -> Iterator[SourceFile]:
        pending = [""]
        while pending:
            path = pending.pop()
            try:
                files, directories = self._listed(path)
            except OSError as error:
                if not is_gone(error):
                    yield self._unreadable(path, error)
            else:
                yield from files
                pending.extend(reversed(directories))

    def _unreadable(self, path: str, error: OSError) -> SourceFile:
        if not path:
            raise RootUnreadable(self._root, reason(error)) from error
        return SourceFile(path, 0, failed=f"directory cannot be read: {reason(error)}")

    def _listed(self, path: str) -> tuple[list[SourceFile], list[str]]:
        """Give the files and the directories of a directory; `path` is empty or ends in "/"."""
        with opened_directory(self._descriptor, to_bytes(path[:-1])) as descriptor, os.scandir(descriptor) as listing:
            entries = sorted(listing, key=attrgetter("name"))
            if not path or any(entry.name == ".git" for entry in entries):
                self._read_rules(path)
            files, directories = [], []
            for entry in entries:
                name = path + to_text(os.fsencode(entry.name))
                if entry.name == ".git":
                    continue
                if entry.is_dir(follow_symlinks=False):
                    directories.append(name + "/")
                elif name not in self._ignored and (file := self._source_file(name, entry)):
                    files.append(file)
            return files, [directory for directory in directories if directory not in self._ignored]

    def _read_rules(self, path: str) -> None:
        directory = self._root / os.fsdecode(to_bytes(path))
        self._ignored.update(path + ignored for ignored in ignored_paths(directory))

    def _source_file(self, path: str, entry: os.DirEntry[str]) -> SourceFile | None:
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError as error:
            return None if is_gone(error) else SourceFile(path, 0, failed=f"cannot be examined: {reason(error)}")
        skipped = _reason_to_skip(status, self._max_file_bytes)
        return SourceFile(path, status.st_size, None if skipped else fingerprint(status), skipped)


def _reason_to_skip(status: os.stat_result, max_file_bytes: int) -> str | None:
    if stat.S_ISLNK(status.st_mode):
        return SYMLINK
    if not stat.S_ISREG(status.st_mode):
        return NOT_REGULAR
    return too_large(status.st_size, max_file_bytes) if status.st_size > max_file_bytes else None
