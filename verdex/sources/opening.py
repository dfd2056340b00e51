"""Open what is in a tree, and nothing outside it, while others may be changing the tree."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from verdex.sources.errors import RootNotADirectory, RootNotFound, RootUnreadable

_ANY_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_DIRECTORY = _ANY_DIRECTORY | os.O_NOFOLLOW
# Without O_NONBLOCK, opening a FIFO waits for a writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


def is_gone(error: OSError) -> bool:
    """Whether the path leads to nothing, or only through something that is no directory or a symlink."""
    return error.errno in _GONE


def reason(error: OSError) -> str:
    """Give what the operating system said, without the path."""
    return error.strerror or str(error)


@contextmanager
def opened_root(root: Path) -> Iterator[int]:
    """Open the directory that the tree starts at, as a descriptor. The root itself may be a symlink.

    Raises:
        RootNotFound, RootNotADirectory, RootUnreadable.

    """
    try:
        descriptor = os.open(root, _ANY_DIRECTORY)
    except FileNotFoundError:
        raise RootNotFound(root) from None
    except NotADirectoryError:
        raise RootNotADirectory(root) from None
    except OSError as error:
        raise RootUnreadable(root, reason(error)) from error
    with _closing(descriptor):
        yield descriptor


@contextmanager
def opened_directory(root: int, path: bytes) -> Iterator[int]:
    """Open a directory of the tree; `path` is relative to the descriptor `root`, empty for the root itself."""
    with _closing(os.open(path or b".", _DIRECTORY, dir_fd=root)) as descriptor:
        yield descriptor


@contextmanager
def opened_file(root: int, path: bytes) -> Iterator[int]:
    """Open whatever is at `path`, following no symlink, not even among the directories on the way.

    Raises OSError; ValueError where the path is not one that can be in a tree.
    """
    *parents, name = path.split(b"/")
    if not {b"", b".", b".."}.isdisjoint((*parents, name)):
        raise ValueError(f"not a path inside a tree: {path!r}")
    directory = os.dup(root)
    try:
        for parent in parents:
            below = os.open(parent, _DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = below
        descriptor = os.open(name, _FILE, dir_fd=directory)
    finally:
        os.close(directory)
    with _closing(descriptor):
        yield descriptor


@contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)
