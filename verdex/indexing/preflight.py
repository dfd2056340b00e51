"""Preflight: what must hold before any work is done."""

import os
from collections.abc import Sequence
from pathlib import Path

from verdex.errors import RepositoryError
from verdex.sources.errors import RootNotADirectory, RootNotFound, RootUnreadable


class OutsideAllowedRoots(RepositoryError):
    """The repository is not below any of `VERDEX_ALLOWED_ROOTS`."""

    def __init__(self, root: Path, allowed: Sequence[Path]) -> None:
        """Name what is allowed."""
        super().__init__(f"{root} is outside the allowed roots: {os.pathsep.join(map(str, allowed))}")


def check_root(root: Path, allowed_roots: Sequence[Path]) -> None:
    """Check that a repository is there, is a directory that can be listed, and may be indexed.

    Raises:
        RootNotFound, RootNotADirectory, RootUnreadable, OutsideAllowedRoots
    """
    try:
        resolved = root.resolve()
        with os.scandir(root):
            pass
    except FileNotFoundError:
        raise RootNotFound(root) from None
    except NotADirectoryError:
        raise RootNotADirectory(root) from None
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        raise RootUnreadable(root, getattr(error, "strerror", None) or str(error)) from None
    if allowed_roots and not any(resolved.is_relative_to(allowed) for allowed in allowed_roots):
        raise OutsideAllowedRoots(root, allowed_roots)
