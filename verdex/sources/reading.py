"""Read one file of a tree, and know what was read."""

import errno
import os
import stat
import time
from pathlib import Path
from typing import NamedTuple

from verdex.sources.errors import (
    NOT_REGULAR,
    SYMLINK,
    FileChangedWhileRead,
    FileError,
    FileTooLarge,
    FileUnreadable,
    FileVanished,
    NotARegularFile,
)
from verdex.sources.fingerprint import fingerprint, has_settled
from verdex.sources.opening import is_gone, opened_file, opened_root, reason
from verdex.sources.paths import to_bytes

READ_ATTEMPTS = 3
_NOT_OPENABLE = {errno.ENXIO, errno.EOPNOTSUPP}
_SMALLEST_READ = 8192


class FileContent(NamedTuple):
    """What `read` found."""

    content: bytes
    fingerprint: str | None
    """None while the file is so young that it could change again and look the same: then it has to be read again."""


def read(root: Path, path: str, *, max_file_bytes: int) -> FileContent:
    """Read one file that `scan` gave; the content and the fingerprint belong together.

    Raises:
        FileVanished, FileUnreadable, FileChangedWhileRead, NotARegularFile, FileTooLarge: what became of the file.
        RootNotFound, RootNotADirectory, RootUnreadable: the whole tree is gone.

    """
    for _ in range(READ_ATTEMPTS):
        with opened_root(root) as descriptor:
            try:
                content = _read_once(descriptor, path, max_file_bytes)
            except OSError as error:
                raise _file_error(path, error) from error
        if content is not None:
            return content
    raise FileChangedWhileRead(path)


def _read_once(root: int, path: str, max_file_bytes: int) -> FileContent | None:
    """Give nothing where the file changed meanwhile."""
    started_ns = time.time_ns()
    with opened_file(root, to_bytes(path)) as descriptor:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise NotARegularFile(path, NOT_REGULAR)
        content = _content(descriptor, before.st_size, path, max_file_bytes)
        after = os.fstat(descriptor)
        state, is_settled = fingerprint(before), has_settled(before, started_ns)
        if state != fingerprint(after):
            return None
        # Between two writes within one step of the clock a read sees parts of both, and the state does not tell.
        if not is_settled and content != _content(descriptor, before.st_size, path, max_file_bytes):
            return None
    return FileContent(content, state if is_settled else None)


def _content(descriptor: int, size: int, path: str, max_file_bytes: int) -> bytes:
    """Read from the start to the end, whatever the size says: files of /proc say 0."""
    if size > max_file_bytes:
        raise FileTooLarge(path, size, max_file_bytes)
    os.lseek(descriptor, 0, os.SEEK_SET)
    pieces = []
    found = 0
    while piece := os.read(descriptor, max(size + 1, _SMALLEST_READ)):
        pieces.append(piece)
        found += len(piece)
        if found > max_file_bytes:
            raise FileTooLarge(path, found, max_file_bytes)
    return b"".join(pieces)


def _file_error(path: str, error: OSError) -> FileError:
    if error.errno == errno.ELOOP:
        return NotARegularFile(path, SYMLINK)
    if error.errno in _NOT_OPENABLE:
        return NotARegularFile(path, NOT_REGULAR)
    return FileVanished(path) if is_gone(error) else FileUnreadable(path, reason(error))
