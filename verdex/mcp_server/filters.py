"""The paths that agents give, as the Python API takes them."""

import re
from pathlib import PurePosixPath
from typing import Final

from verdex.errors import QueryInvalid, RepositoryError

_SPECIAL: Final = re.compile(r"[*?\[\\]|^[#!]")
"""What a glob would take for something else than a part of a name."""


def absolute(repo_path: str) -> str:
    """The path of a repository.

    Raises:
        RepositoryError: it is relative, and would mean another place to the server than to the agent.
    """
    if not repo_path.startswith("/") or "\0" in repo_path:
        raise RepositoryError(
            f"repo_path is {repo_path!r}: give the absolute path of the repository, because the server runs in "
            "another directory than you"
        )
    return repo_path


def path_glob(path: str | None, directory: str | None, file_type: str | None) -> str | None:
    """One glob for all that is said of paths; `directory` is the one that `path` is relative to.

    >>> path_glob(None, "src/", ".py")
    'src/**/*.py'
    >>> path_glob("api/*", "src", "py")
    'src/api/*.py'

    Raises:
        QueryInvalid: nothing can be in such a directory, or `path` and `file_type` cannot be combined.
    """
    folder = _folder(directory or "")
    glob = path or ("**" if folder or file_type else None)
    if glob is None:
        return None
    return _of_type(f"{folder}{glob}" + "**" * glob.endswith("/"), (file_type or "").lstrip("*."))


def _folder(directory: str) -> str:
    """As a glob, with a slash at its end; nothing for that of the repository itself."""
    folder = PurePosixPath(directory)
    if folder.is_absolute() or ".." in folder.parts:
        raise QueryInvalid(f"directory is {directory!r}: give a folder within the repository, relative to its root")
    return f"{_SPECIAL.sub(_escaped, str(folder))}/" if folder.parts else ""


def _escaped(found: re.Match[str]) -> str:
    return f"\\{found[0]}"


def _of_type(glob: str, file_type: str) -> str:
    suffix = f".{file_type}"
    if not file_type or glob.endswith(suffix):
        return glob
    if glob.endswith("**"):
        return f"{glob}/*{suffix}"
    if glob.endswith("*"):
        return f"{glob.removesuffix('.*')}{suffix}"
    raise QueryInvalid(f"path {glob!r} and file_type {file_type!r} exclude each other: give one of them")
