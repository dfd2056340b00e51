"""Random repositories: every byte is known here, so that nobody has to be asked what an index of them must hold."""

import itertools
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Final, Literal, NamedTuple

from tests.chaos.churn import LINES

FEWEST: Final = 30
MOST: Final = 300
EDITS: Final = 8
"""Most edits between two jobs."""

FOLDERS: Final = ("", "src/", "src/deep/er/", "lib/", "lib/with space/", "docs/", "build/", "src/build/", "ünïcode/")
NAMES: Final = ("parser", "Reader", "node list", "weiß", "back\\slash", "it's", 'quote"d', "π")
ENDINGS: Final = (".py", ".js", ".c", ".md", ".txt", ".log", ".tmp", ".bin", "")
RULES: Final = (("", "*.log"), ("", "!kept.log"), ("", "build/"), ("", "/private.txt"), ("src/", "*.tmp"))
"""Every rule that a tree may have, in the order in which git reads them: the directory, and the pattern in it."""
WORDS: Final = ("tree", "node", "blob", "shard", "naïve", "index", "left", "right", "parse", "Größe", "total", "日本")


class Expected(NamedTuple):
    """What must become of one path."""

    outcome: Literal["indexed", "skipped", "failed"]
    content: bytes
    reason: str = ""
    """A pattern that the reason of a failed one must match."""


World = Mapping[str, tuple[Expected, ...]]
"""The paths of an index, and what each of them may be, where a tree changes while it is read."""

UNREADABLE: Final = Expected("failed", b"", "Permission denied")
RESTLESS: Final = Expected("failed", b"", "kept changing while it was read")


class Tree:
    """A repository on disk, and what is known of it. The same random numbers give the same tree."""

    def __init__(self, root: Path, random: Random) -> None:
        """Write it below `root`."""
        self.root = root
        self.unreadable: str | None = None
        """A path that cannot be read for now; a directory ends in "/"."""
        self.closed: str | None = None
        """A directory that became unreadable at some instant; it ends in "/"."""
        self._restless: tuple[str, tuple[Expected, ...]] | None = None
        self._files: dict[str, bytes] = {}
        self._links: list[str] = []
        self._rules = [rule for rule in RULES if random.random() < 0.7]
        self._made = 0
        for _ in range(random.randint(FEWEST, MOST)):
            self._write(self._new_path(random), content(random))
        for path in ("kept.log", "lost.log", "private.txt", "src/keep.tmp"):
            self._write(path, content(random))
        self._write_rules()
        for path, target in (("link.py", "private.txt"), ("src/folder", "../lib"), ("dangling", "nowhere")):
            self._link(path, target)

    def expected(self) -> dict[str, Expected]:
        """What a job must say of each path, by the path as the database writes it; ignored ones are left out."""
        found = {path: Expected(_outcome(content), content) for path, content in self._files.items()}
        found |= dict.fromkeys(self._links, Expected("skipped", b""))
        seen = {path: one for path, one in found.items() if not self._is_ignored(path)}
        if self.unreadable is not None:
            seen = _without(seen, self.unreadable)
        return {path.replace("\\", "\\\\"): one for path, one in seen.items()}

    def worlds(self) -> list[World]:
        """What a job may have seen instead, where something changed all the time or at an instant; otherwise empty."""
        seen = self.expected()
        if self._restless is not None:
            path, every = self._restless
            return [{**{name: (one,) for name, one in seen.items()}, path: every}]
        if self.closed is not None:
            early = {path: (one,) for path, one in _without(seen, self.closed).items()}
            late = {path: (one, UNREADABLE) if path.startswith(self.closed) else (one,) for path, one in seen.items()}
            return [late, early]
        return []

    def leaves(self) -> list[str]:
        """Directories with files and without other directories, whose loss leaves most of the tree."""
        return [folder for folder in ("src/deep/er/", "lib/with space/", "docs/") if (self.root / folder).is_dir()]

    def let_change(self, random: Random, text: Path, way: str) -> str:
        """Give the path of a file that will change all the time, as `churn.py` does to it with this text and way."""
        path = random.choice([path for path in self.candidates() if not path.endswith("/")])
        lines = [f"{number}: {_phrase(random)}\n".encode() for number in range(30 * LINES)]
        text.write_bytes(b"".join(lines))
        states = _prefixes(lines) if way == "grows" else lines[-LINES:]
        every = (Expected(_outcome(state), state) for state in (self._files[path], *states))
        self._restless = path.replace("\\", "\\\\"), (RESTLESS, *every)
        return path

    def let_rest(self) -> None:
        """After `let_change`, what it was before; it has been changed by others, so write it anew."""
        if self._restless is not None:
            path = self._restless[0].replace("\\\\", "\\")
            self._restless = None
            self._write(path, self._files[path])

    def candidates(self) -> list[str]:
        """Paths and directories that can be made unreadable, and whose loss leaves most of the tree."""
        paths = [path for path in self._files if not self._is_ignored(path) and not path.endswith(".gitignore")]
        return sorted({*paths, *(folder for folder in FOLDERS[3:6] if any(path.startswith(folder) for path in paths))})

    def edit(self, random: Random) -> list[str]:
        """Change the tree a little, or not at all; what was done."""
        ways = (self._change, self._add, self._delete, self._rename, self._touch, self._change_in_secret, self._rule)
        return [random.choice(ways)(random) for _ in range(random.randint(0, EDITS))]

    def _change(self, random: Random) -> str:
        path = self._any(random)
        self._write(path, content(random))
        return f"change {path}"

    def _add(self, random: Random) -> str:
        path = self._new_path(random)
        copied = random.random() < 0.3
        self._write(path, self._files[self._any(random)] if copied else content(random))
        return f"add {path}"

    def _delete(self, random: Random) -> str:
        if len(self._files) < FEWEST:
            return self._add(random)
        path = self._any(random)
        del self._files[path]
        (self.root / path).unlink()
        return f"delete {path}"

    def _rename(self, random: Random) -> str:
        old, new = self._any(random), self._new_path(random)
        self._files[new] = self._files.pop(old)
        (self.root / new).parent.mkdir(parents=True, exist_ok=True)
        (self.root / old).rename(self.root / new)
        return f"rename {old} to {new}"

    def _touch(self, random: Random) -> str:
        path = self._any(random)
        os.utime(self.root / path, (1_000_000_000, random.randint(1, 2_000_000_000)))
        return f"touch {path}"

    def _change_in_secret(self, random: Random) -> str:
        """Other bytes of the same number, and the time of modification is put back."""
        path = self._any(random)
        before = (self.root / path).stat()
        self._write(path, self._files[path].swapcase())
        os.utime(self.root / path, ns=(before.st_atime_ns, before.st_mtime_ns))
        return f"change {path} and set its time back"

    def _rule(self, random: Random) -> str:
        rule = random.choice(RULES)
        self._rules = [one for one in RULES if (one in self._rules) != (one == rule)]
        self._write_rules()
        return f"toggle rule {rule}"

    def _any(self, random: Random) -> str:
        return random.choice([path for path in self._files if not path.endswith(".gitignore")])

    def _new_path(self, random: Random) -> str:
        self._made += 1
        name = f"{random.choice(NAMES)} {self._made}" if random.random() < 0.2 else f"file{self._made}"
        return random.choice(FOLDERS) + name + random.choice(ENDINGS)

    def _write(self, path: str, content: bytes) -> None:
        self._files[path] = content
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    def _link(self, path: str, target: str) -> None:
        self._links.append(path)
        (self.root / path).symlink_to(target)

    def _write_rules(self) -> None:
        for folder in {folder for folder, _ in RULES}:
            patterns = [pattern for place, pattern in self._rules if place == folder]
            self._write(f"{folder}.gitignore", "\n".join(["# what git ignores", *patterns, ""]).encode())

    def _is_ignored(self, path: str) -> bool:
        """As git reads the few forms of patterns that RULES has."""
        name = path.rpartition("/")[2]
        ignored = False
        for folder, pattern in self._rules:
            if not path.startswith(folder):
                continue
            if pattern.endswith("/"):
                if f"/{pattern}" in f"/{path}":
                    return True  # nothing below it can be brought back
            elif pattern.startswith("!"):
                ignored = ignored and name != pattern[1:]
            elif pattern.startswith("/"):
                ignored = ignored or path == folder + pattern[1:]
            else:
                ignored = ignored or name.endswith(pattern[1:])
        return ignored

    def hide(self, place: Path) -> None:
        """Take the whole tree away at once."""
        self.root.rename(place)

    def put_back(self, place: Path) -> None:
        """Undo `hide`."""
        shutil.rmtree(self.root, ignore_errors=True)
        place.rename(self.root)


def content(random: Random) -> bytes:
    """The bytes of a small file: mostly text that can be indexed."""
    kind = random.random()
    if kind < 0.04:
        return random.choice([b"", b" \n\t\n"])
    if kind < 0.10:
        return b"\x7fELF\0" + random.randbytes(200)
    if kind < 0.14:
        return "\n".join(_lines(random)).encode("latin-1", "replace")
    return random.choice(["\n", "\n", "\n", "\r\n"]).join(_lines(random)).encode()


def _without(seen: Mapping[str, Expected], unreadable: str) -> dict[str, Expected]:
    """As it is seen where a file or a directory cannot be read."""
    above = unreadable.rstrip("/") + "/"
    return {**{path: one for path, one in seen.items() if not f"{path}/".startswith(above)}, unreadable: UNREADABLE}


def _prefixes(lines: list[bytes]) -> list[bytes]:
    """Every content that a file has while it grows by the last lines; the kernel grows it page by page."""
    ends = [*itertools.accumulate(map(len, lines))][-LINES - 1 :]
    pages = {page for end in ends if (page := end - end % 4096) > ends[0]}
    whole = b"".join(lines)
    return [whole[:end] for end in sorted({*ends, *pages})]


def _lines(random: Random) -> Iterator[str]:
    for number in range(random.choice([1, 1, 5, 5, 12, 12, 30, 30, 300])):
        yield from random.choice([_python, _javascript, _c, _prose])(random, number)


def _python(random: Random, number: int) -> list[str]:
    return [f"def {random.choice('abcdef')}_{number}(x):", f"    # {_phrase(random)}", "", f"    return {number}", ""]


def _javascript(random: Random, number: int) -> list[str]:
    return [f"function f{number}() {{", f'  return "{_phrase(random)}";', "}", "", ""]


def _c(random: Random, number: int) -> list[str]:
    return [f"/* {_phrase(random)} */", f"static int f{number}(void)", "{", f"\treturn {number};", "}"]


def _prose(random: Random, number: int) -> list[str]:
    return [f"# {_phrase(random)}", "", *(_phrase(random) for _ in range(random.randint(1, 6))), "   "]


def _phrase(random: Random) -> str:
    return " ".join(random.choices(WORDS, k=random.randint(1, 12)))


def _outcome(content: bytes) -> Literal["indexed", "skipped"]:
    return "skipped" if b"\0" in content or not content.strip() else "indexed"
