"""The trees that are measured: made once, and kept below VERDEX_BENCH_TREES (else the user's cache directory).

Each is a git repository with one commit, as most of what people index is, and older than a file has to be before its
state is believed.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from platformdirs import user_cache_path

LINUX_PACKAGE: Final = "linux-source-6.1"
"""Of Debian 12; its patch level decides a few files."""
SETTLE_SECONDS: Final = 4.0
FILES_PER_DIRECTORY: Final = 100
FUNCTIONS_PER_FILE: Final = 20


class Tree(NamedTuple):
    """A tree on disk. What symlinks point to is no part of it."""

    name: str
    root: Path
    files: int
    size: int  # bytes


def tree(name: str) -> Tree:
    """The tree of that name, made if it is not there; another name is that of a directory.

    Raises:
        SystemExit: there is no such tree, or what it is made of cannot be had.
    """
    if name not in MAKERS and not Path(name).is_dir():
        sys.exit(f"there is no tree {name}: use one of {', '.join(MAKERS)}, or a directory")
    root = _made(name) if name in MAKERS else Path(name).resolve()
    sizes = [path.lstat().st_size for path in files(root)]
    return Tree(Path(name).name, root, len(sizes), sum(sizes))


def files(root: Path) -> Iterator[Path]:
    """The regular files of a tree, but for those of git itself."""
    for directory, directories, names in os.walk(root):
        directories[:] = sorted(set(directories) - {".git"})
        for name in sorted(names):
            path = Path(directory, name)
            if path.is_file() and not path.is_symlink():
                yield path


def cache() -> Path:
    """Where the trees are kept."""
    given = os.environ.get("VERDEX_BENCH_TREES")
    return Path(given).resolve() if given else user_cache_path("verdex-benchmarks")


def copy_of_the_standard_library(to: Path) -> None:
    """Of the Python that runs this, without what was installed or compiled."""
    ignored = shutil.ignore_patterns("site-packages", "__pycache__", "*.so", "*.a")
    shutil.copytree(sysconfig.get_paths()["stdlib"], to, ignore=ignored)


def write_modules(root: Path, number_of_files: int) -> None:
    """Python files of about 2 kB each, all different, and the same each time."""
    random = Random(0)  # noqa: S311  (the same tree every time)
    for number in range(number_of_files):
        path = root / f"package_{number // FILES_PER_DIRECTORY}" / f"module_{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        functions = (
            f"def function_{line}(argument):\n    value = argument * {random.getrandbits(64)}\n    return value\n\n\n"
            for line in range(FUNCTIONS_PER_FILE)
        )
        path.write_text("".join(functions))


def _stdlib(to: Path) -> None:
    """The `*.py` of the standard library of the Python that runs this; of 3.11.7: 1,790 files, 31.5 MB."""
    copy_of_the_standard_library(to)
    for path in list(files(to)):
        if path.suffix != ".py":
            path.unlink()


def _linux(to: Path) -> None:
    """All of Linux 6.1: 78,579 files, 1.3 GB. The last of its rules, of those who packaged it, would ignore all."""
    _unpack_linux(to)
    rules = to / ".gitignore"
    rules.write_text(rules.read_text().partition("\n/*\n")[0] + "\n")


def _linux_10k(to: Path) -> None:
    """The first 10,000 of the `*.c` and `*.h` below `drivers/` of Linux 6.1, in the byte order of their paths.

    537 MB, of which 76 files of more than 1 MB, the register headers of a graphics driver, make 339 MB.
    """
    with tempfile.TemporaryDirectory(dir=to.parent) as name:
        _unpack_linux(Path(name), "drivers")
        sources = (path for path in files(Path(name)) if path.suffix in {".c", ".h"})
        for source in islice(sorted(sources, key=os.fsencode), 10_000):
            target = to / source.relative_to(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)


def _unpack_linux(to: Path, part: str = "") -> None:
    package = _linux_package()
    with tempfile.TemporaryDirectory(dir=to.parent) as name:
        _run("dpkg-deb", "-x", package, name)
        archive = Path(name, "usr", "src", f"{LINUX_PACKAGE}.tar.xz")
        to.mkdir(exist_ok=True)
        _run("tar", "-xf", archive, "-C", to, "--strip-components=1", *([f"{LINUX_PACKAGE}/{part}"] if part else []))


def _linux_package() -> Path:
    """The package, downloaded if it is not kept with the trees."""
    if not (found := sorted(cache().glob(f"{LINUX_PACKAGE}_*.deb"))):
        print(f"downloading {LINUX_PACKAGE}", file=sys.stderr, flush=True)
        _run("apt-get", "download", LINUX_PACKAGE, cwd=cache())
        found = sorted(cache().glob(f"{LINUX_PACKAGE}_*.deb"))
    return found[-1]


MAKERS: Final[Mapping[str, Callable[[Path], None]]] = {
    "stdlib": _stdlib,
    "linux-10k": _linux_10k,
    "linux": _linux,
    "small-100k": lambda to: write_modules(to, 100_000),
    "small-2k": lambda to: write_modules(to, 2_000),
}


def _made(name: str) -> Path:
    root = cache() / name
    if not root.exists():
        print(f"making the tree {name}", file=sys.stderr, flush=True)
        cache().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{name}.", dir=cache()) as unfinished:
            made = Path(unfinished, name)
            MAKERS[name](made)
            commit(made)
            made.rename(root)
        time.sleep(SETTLE_SECONDS)
    return root


def commit(root: Path) -> None:
    """Make a git repository of a tree, with all files in its index."""
    who = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@example.org")
    _run("git", "init", "--quiet", root)
    _run("git", "-C", root, "add", "--all", "--force")
    _run("git", "-C", root, *who, "-c", "gc.auto=0", "commit", "--quiet", "--message", "as it is")


def _run(program: str, *arguments: object, cwd: Path | None = None) -> None:
    found = shutil.which(program)
    if found is None:
        sys.exit(f"{program} is missing, and is needed to make this tree")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(
        [found, *map(str, arguments)], cwd=cwd, env=environment | {"GIT_CONFIG_GLOBAL": os.devnull}, check=True
    )
