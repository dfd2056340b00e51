"""Of any tree, and any rules, the scan lists what git itself lists. hypothesis makes the trees."""

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import bounded
from verdex.sources.paths import to_path, to_text
from verdex.sources.working_tree import SourceFile, scan

LIMIT: Final = 10
NAMES: Final = (
    b"a", b"b", b"ab", b"a.o", b"b.c", b"A.O", b".hidden", b"a b", b"end ", b"new\nline", b"\xc3\xa9", b"latin-\xe9",
    b"#a", b"!a", b"*", b"[a]", b"a]", b"back\\slash", b"-", b":a", b"\t",
)  # fmt: skip
PIECES: Final = (b"a", b"b", b"ab", b".o", b".c", b"*", b"?", b"/", b"**/", b"/**/", b"/**", b"/*")
ODD_PIECES: Final = (
    b"**", b"***", b"[ab]", b"[!a]", b"[^b]", b"[a-c]", b"[[:alpha:]]", b"[[:upper:]-]", b"[]a]", b"[a\\]]", b"[", b"]",
    b"\\", b"\\a", b"\\*", b"\\[", b"\\#", b"\\!", b" ", b"\\ ", b"end ", b"a b", b"\xc3\xa9", b"latin-\xe9",
    b"back\\\\slash", b"!", b"#", b"-", b"\t", b"\r", b":a",
)  # fmt: skip
WHOLE: Final = (
    b"*", b"*.o", b"*.c", b"!a.o", b"a/", b"!a/", b"/a.o", b"a/*.o", b"**/a", b"a/**/a", b"b/**", b"!*/", b"end\\ ",
    b"a b ",
    b"[[:upper:]]*", b"a*c", b"b?c",
)  # fmt: skip

names = st.sampled_from(NAMES)
pieces = st.one_of(st.sampled_from(PIECES), st.sampled_from(PIECES), st.sampled_from(ODD_PIECES))
built = st.builds(
    lambda negated, anchored, pieces, end: negated + anchored + b"".join(pieces) + end,
    st.sampled_from([b"", b"", b"!", b"#"]),
    st.sampled_from([b"", b"", b"/"]),
    st.lists(pieces, min_size=1, max_size=4),
    st.sampled_from([b"", b"", b"/", b" ", b"\r", b"\\ "]),
)
rules = st.lists(st.one_of(built, built, st.sampled_from(WHOLE)), min_size=1, max_size=5).map(b"\n".join)


@dataclass(frozen=True)
class Tree:
    """A directory: files by their content, other directories, and what is neither."""

    entries: Mapping[bytes, "bytes | Tree | Link | Fifo"]
    rules: bytes | None = None
    is_repository: bool = False


@dataclass(frozen=True)
class Link:
    target: bytes


@dataclass(frozen=True)
class Fifo:
    pass


contents = st.sampled_from([b"", b"text", b"x" * LIMIT, b"x" * (LIMIT + 1)])
others = st.one_of(st.builds(Link, st.sampled_from([b".", b"..", b"a", b"/", b"nowhere", b"b/a"])), st.just(Fifo()))
leaves = st.one_of(contents, contents, contents, others)


MANY: Final = dict.fromkeys((b"a.o", b"b.c", b"A.O", b"a b", b"end ", b"\xc3\xa9", b"latin-\xe9"), b"text")
ALWAYS: Final[dict[bytes, Any]] = {
    **MANY,
    b"a": Tree(MANY | {b"b": Tree({b"a": Tree(MANY), b"b.c": b""})}),
    b"b": Tree({b"a": Tree({b"a": b"", b"a.o": b""}), b"b": b""}),
}
"""What each tree has, so that most rules meet something."""


def trees(depth: int) -> st.SearchStrategy[Tree]:
    below = leaves if depth == 0 else st.one_of(leaves, trees(depth - 1), trees(depth - 1))
    return st.builds(
        Tree,
        st.dictionaries(names, below, max_size=6),
        st.one_of(st.none(), rules),
        st.sampled_from([False] * 7 + [True]),
    )


def write(directory: Path, tree: Tree) -> None:
    directory.mkdir()
    if tree.is_repository:
        make_repository(directory)
    if tree.rules is not None:
        (directory / ".gitignore").write_bytes(tree.rules)
    for name, entry in tree.entries.items():
        path = directory / os.fsdecode(name)
        match entry:
            case Tree():
                write(path, entry)
            case Link(target):
                path.symlink_to(os.fsdecode(target))
            case Fifo():
                os.mkfifo(path)
            case content:
                path.write_bytes(content)


def make_repository(directory: Path) -> None:
    """What `git init` makes, as far as git needs it, and much faster."""
    for part in ("objects", "refs", "info"):
        (directory / ".git" / part).mkdir(parents=True)
    (directory / ".git" / "HEAD").write_text("ref: refs/heads/main\n")


def git(directory: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=directory, check=True, capture_output=True).stdout


def kept_by_git(directory: Path) -> set[bytes]:
    """What git does not ignore; each repository within is asked in turn."""
    listed = git(directory, "ls-files", "--cached", "--others", "--exclude-standard", "-z").split(b"\0")[:-1]
    kept = {path for path in listed if not path.endswith(b"/")}
    for nested in set(listed) - kept:
        kept |= {nested + path for path in kept_by_git(directory / os.fsdecode(nested))}
    return kept


@contextmanager
def written(tree: Tree) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="verdex-tree-") as name:
        root = Path(name).resolve() / "tree"
        write(root, tree)
        yield root


@contextmanager
def without_git() -> Iterator[None]:
    path = os.environ["PATH"]
    os.environ["PATH"] = "/nowhere"
    try:
        yield
    finally:
        os.environ["PATH"] = path


def scanned(root: Path) -> list[SourceFile]:
    found = list(scan(root, max_file_bytes=LIMIT))
    assert found == list(scan(root, max_file_bytes=LIMIT)), "the same tree was listed in another way"
    assert len({file.path for file in found}) == len(found), "a file was listed twice"
    for file in found:
        _check_outcome(root, file)
    return found


def _check_outcome(root: Path, file: SourceFile) -> None:
    status = (root / to_path(file.path)).lstat()
    regular, small = stat.S_ISREG(status.st_mode), status.st_size <= LIMIT
    assert (file.skipped is None) == (regular and small), "a file has another outcome than it should have"
    assert (file.fingerprint is None) == (file.skipped is not None)
    assert (file.failed, file.size) == (None, status.st_size)


def kept(found: Sequence[SourceFile]) -> set[str]:
    """Without FIFOs and the like, of which git knows nothing."""
    return {file.path for file in found if file.skipped != "not a regular file"}


@pytest.mark.parametrize(
    "rule", [b"a**/a", b"/a**/a", b"a/b**", b"!a**/b", b"a?**/a", b"a\\***/a", b"nested/**a/**", b"a**"]
)
def test_stars_after_a_name_reach_as_far_as_git_lets_them(rule: bytes):
    with written(Tree(ALWAYS, rule)) as root, without_git():
        found = kept(scanned(root))
    with written(Tree(ALWAYS, rule, is_repository=True)) as root:
        assert found == {to_text(path) for path in kept_by_git(root)}


@given(
    entries=trees(1).map(lambda tree: tree.entries),
    rules_of_root=rules,
    nested=st.builds(Tree, st.just(MANY), st.one_of(st.none(), rules), st.booleans()),
    excluded=st.one_of(st.none(), rules),
    in_repository=st.booleans(),
)
@bounded(80)
def test_of_any_tree_the_scan_lists_what_git_lists_with_git_and_without(
    entries: Mapping[bytes, "bytes | Tree"],
    rules_of_root: bytes,
    nested: Tree,
    excluded: bytes | None,
    in_repository: bool,
):
    with written(Tree({**ALWAYS, b"nested": nested, **entries}, rules_of_root)) as root:
        make_repository(root)
        if in_repository and excluded is not None:
            (root / ".git" / "info" / "exclude").write_bytes(excluded)
        expected = {to_text(path) for path in kept_by_git(root)}
        if not in_repository:
            shutil.rmtree(root / ".git")
        assert kept(scanned(root)) == expected
        with without_git():
            assert kept(scanned(root)) == expected
