"""The errors of a source tree: one tree for the repository as a whole, one for a single file.

RepositoryError
├── RootNotFound
├── RootNotADirectory
├── RootUnreadable
└── RootEmptied
FileError                     an outcome of that file; the job goes on
├── FileVanished
├── FileUnreadable
├── FileChangedWhileRead
├── NotARegularFile
└── FileTooLarge
"""

from pathlib import Path

from verdex.errors import RepositoryError, VerdexError

SYMLINK = "symlink"
NOT_REGULAR = "not a regular file"


def too_large(size: int, limit: int) -> str:
    """Say by how much a file of `size` bytes is over the limit."""
    return f"too large ({size:,} bytes, the limit is {limit:,})"


class RootNotFound(RepositoryError):
    """There is nothing at the path of the repository, or no longer."""

    def __init__(self, root: Path) -> None:
        """Name the path."""
        super().__init__(f"{root} does not exist")


class RootNotADirectory(RepositoryError):
    """The path of the repository leads to something other than a directory."""

    def __init__(self, root: Path) -> None:
        """Name the path."""
        super().__init__(f"{root} is not a directory")


class RootUnreadable(RepositoryError):
    """The directory of the repository cannot be listed."""

    def __init__(self, root: Path, reason: str) -> None:
        """`reason` is what the operating system said."""
        super().__init__(f"{root} cannot be read: {reason}")


class RootEmptied(RepositoryError):
    """The scan saw files below the directory of the repository, and now there is nothing in it."""

    def __init__(self, root: Path) -> None:
        """Name the path."""
        super().__init__(f"{root} is empty by now: it was emptied or unmounted while it was indexed")


class FileError(VerdexError):
    """One file cannot be read. `reason` is the message without the path."""

    def __init__(self, path: str, reason: str) -> None:
        """`path` is the text that `scan` gave."""
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class FileVanished(FileError):
    """The path leads to nothing any more, or would lead out of the tree."""

    def __init__(self, path: str) -> None:
        """Name the path."""
        super().__init__(path, "vanished after the scan")


class FileUnreadable(FileError):
    """The operating system refuses to open or to read the file."""

    def __init__(self, path: str, reason: str) -> None:
        """`reason` is what the operating system said."""
        super().__init__(path, f"cannot be read: {reason}")


class FileChangedWhileRead(FileError):
    """The file changed during every attempt to read it."""

    def __init__(self, path: str) -> None:
        """Name the path."""
        super().__init__(path, "kept changing while it was read")


class NotARegularFile(FileError):
    """The path now leads to a symlink, a directory, a FIFO, a socket or a device."""


class FileTooLarge(FileError):
    """The file is larger than the limit; it grew after the scan."""

    def __init__(self, path: str, size: int, limit: int) -> None:
        """Both sizes are in bytes; `size` is what was seen so far."""
        super().__init__(path, too_large(size, limit))
