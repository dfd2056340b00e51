"""Ask git which paths of a directory it ignores.

The repository is not trusted: its configuration must not make git run or fetch anything, and its `.git` is named
outright, which also passes the check of who owns it.
"""

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A FIFO called .gitignore makes git wait for ever.
TIMEOUT_SECONDS = 120

_LIST_IGNORED = ("ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z")
_OF_THE_USER = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_EXEC_PATH")
_SETTINGS = {
    "LC_ALL": "C",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}


def list_ignored(git: Path, directory: Path) -> list[bytes] | None:
    """List what git ignores below `directory`, relative to it; directories end in "/" and stand for all in them.

    None where the program does not work. Raises OSError, TimeoutError among them.
    """
    for top in (directory, *directory.parents):
        if not os.path.lexists(top / ".git"):
            continue
        # Whoever names a directory that its repository ignores wants to see it: it is read as a tree of its own.
        if top != directory and _ignores(git, top, directory):
            break
        if (listed := _listed(git, top / ".git", top, directory)) is not None:
            return listed
    with _empty_repository() as git_directory:
        return _listed(git, git_directory, directory, directory)


def _ignores(git: Path, top: Path, directory: Path) -> bool:
    path = f"./{directory.relative_to(top)}"  # a name may begin with ":", which has a meaning to git
    return _run(git, top / ".git", top, top, "check-ignore", "--quiet", "--", path).returncode == 0


def _listed(git: Path, git_directory: Path, top: Path, directory: Path) -> list[bytes] | None:
    finished = _run(git, git_directory, top, directory, *_LIST_IGNORED)
    return None if finished.returncode else _without_collapsed(finished.stdout.split(b"\0")[:-1])


def _without_collapsed(listed: list[bytes]) -> list[bytes]:
    """Leave out directories that git lists only because all files in them are ignored; it lists those files too.

    There may be more in them than files that git knows of: directories that it cannot read, FIFOs.
    """
    parents = {path.rstrip(b"/").rpartition(b"/")[0] + b"/" for path in listed}
    return [path for path in listed if path not in parents and path != b"./"]


@contextmanager
def _empty_repository() -> Iterator[Path]:
    """Make the least that git takes for a repository, for a tree that is none."""
    with tempfile.TemporaryDirectory(prefix="verdex-git-") as name:
        git_directory = Path(name)
        (git_directory / "objects").mkdir()
        (git_directory / "refs").mkdir()
        (git_directory / "HEAD").write_text("ref: refs/heads/main\n")
        yield git_directory


def _run(
    git: Path, git_directory: Path, top: Path, directory: Path, *arguments: str
) -> subprocess.CompletedProcess[bytes]:
    command = [str(git), "--no-pager", f"--git-dir={git_directory}", f"--work-tree={top}", "-c", "core.fsmonitor=false"]
    try:
        return subprocess.run(
            [*command, *arguments],
            cwd=directory,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        message = f"git did not list its ignored files within {TIMEOUT_SECONDS} seconds"
        raise TimeoutError(errno.ETIMEDOUT, message) from None


def _environment() -> dict[str, str]:
    """Drop what says which repository is meant (GIT_DIR and its like), keep where the user's own rules are."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in _OF_THE_USER}
    return kept | _SETTINGS
