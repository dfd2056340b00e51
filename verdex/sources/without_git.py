"""List the ignored paths of a directory where there is no git program.

The same rules from the same files, but two things only git knows: which files are tracked (they are kept even where
a rule matches), and where the user's own rules are.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from verdex.sources.gitignore import Rule, parsed
from verdex.sources.opening import opened_directory, opened_file, opened_root

# As in git, which takes larger ones for a mistake.
MAX_RULES_BYTES = 100 * 1024 * 1024


class _Rules(NamedTuple):
    base: bytes
    """The directory that they are for, relative to the top of the repository, empty or ending in "/"."""
    rules: tuple[Rule, ...]

    def verdict(self, path: bytes, *, is_directory: bool) -> bool | None:
        """Whether the path is ignored; None where no rule matches."""
        below = path[len(self.base) :]
        for rule in reversed(self.rules):
            if rule.matches(below, is_directory=is_directory):
                return not rule.keeps
        return None


def list_ignored(directory: Path) -> list[bytes]:
    """List what is ignored below `directory`, in the form of `verdex.sources.git.list_ignored`. Raises OSError."""
    top = next((path for path in (directory, *directory.parents) if os.path.lexists(path / ".git")), directory)
    start = os.fsencode(directory.relative_to(top)) + b"/" if top != directory else b""
    with opened_root(top) as descriptor:
        tree = _Tree(descriptor)
        rules = tree.rules_at(start)
        if rules is not None:
            return [path[len(start) :] for path in tree.ignored(start, rules)]
    with opened_root(directory) as descriptor:
        tree = _Tree(descriptor)
        return list(tree.ignored(b"", tree.rules(b"")))


class _Tree:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def rules_at(self, start: bytes) -> list[_Rules] | None:
        """Collect what the directories above `start` say; None where they ignore it."""
        rules = self.rules(b"")
        for end in (index for index, byte in enumerate(start) if byte == ord("/")):
            if _is_ignored(rules, start[:end], is_directory=True):
                return None
            rules = rules + self.rules(start[: end + 1])
        return rules

    def rules(self, base: bytes) -> list[_Rules]:
        names = (b".git/info/exclude", b".gitignore") if not base else (base + b".gitignore",)
        found = (_Rules(base, parsed(self._text(name))) for name in names)
        return [rules for rules in found if rules.rules]

    def _text(self, path: bytes) -> bytes:
        try:
            with opened_file(self._descriptor, path) as descriptor:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_RULES_BYTES:
                    return b""
                with open(descriptor, "rb", closefd=False) as file:
                    return file.read(MAX_RULES_BYTES)
        except OSError:
            return b""

    def ignored(self, start: bytes, rules: list[_Rules]) -> Iterator[bytes]:
        pending = [(start, rules)]
        while pending:
            base, rules = pending.pop()
            for path, is_directory in self._entries(base):
                if _is_ignored(rules, path.removesuffix(b"/"), is_directory=is_directory):
                    yield path
                elif is_directory and not self._is_repository(path):
                    pending.append((path, rules + self.rules(path)))

    def _entries(self, base: bytes) -> list[tuple[bytes, bool]]:
        """List a directory; one that cannot be read is the scan's to report."""
        try:
            with opened_directory(self._descriptor, base[:-1]) as descriptor, os.scandir(descriptor) as listing:
                kinds = [(base + os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in listing]
        except OSError:
            return []
        return [(path + b"/" if is_directory else path, is_directory) for path, is_directory in kinds]

    def _is_repository(self, path: bytes) -> bool:
        try:
            os.stat(path + b".git", dir_fd=self._descriptor, follow_symlinks=False)
        except OSError:
            return False
        return True


def _is_ignored(rules: list[_Rules], path: bytes, *, is_directory: bool) -> bool:
    verdicts = (each.verdict(path, is_directory=is_directory) for each in reversed(rules))
    return next((verdict for verdict in verdicts if verdict is not None), False)
