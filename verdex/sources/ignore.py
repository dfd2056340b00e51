"""Which paths git's rules ignore. Git itself says so; only where there is no git, its rules are read here."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from verdex.sources import git, without_git
from verdex.sources.paths import to_text


def ignored_paths(directory: Path) -> Iterator[str]:
    """Give the ignored paths below `directory`, relative to it; directories end in "/" and stand for all in them.

    Nested repositories are scopes of their own, and are not looked into. Raises OSError.
    """
    resolved = directory.resolve()
    program = shutil.which("git")
    # Absolute: git is started inside the tree, which may hold a program of that name.
    listed = git.list_ignored(Path(program).absolute(), resolved) if program else None
    return map(to_text, without_git.list_ignored(resolved) if listed is None else listed)
