import errno
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from verdex.sources.errors import RootNotADirectory, RootNotFound, RootUnreadable
from verdex.sources.fingerprint import fingerprint
from verdex.sources.working_tree import SourceFile, scan

LIMIT = 1_000_000


def by_path(root: Path) -> dict[str, SourceFile]:
    return {file.path: file for file in scan(root, max_file_bytes=LIMIT)}


def test_an_empty_directory_gives_nothing(root):
    assert by_path(root) == {}


def test_files_of_all_levels_are_given_in_the_same_order_each_time(root, fill):
    fill({"b.py": "b", "a/z/deep.py": "", "a/a.py": "a", "c": ""})
    assert [file.path for file in scan(root, max_file_bytes=LIMIT)] == ["b.py", "c", "a/a.py", "a/z/deep.py"]


def test_a_file_to_be_indexed_has_size_and_fingerprint(root, fill):
    fill({"a.py": "four"})
    state = fingerprint((root / "a.py").stat())
    assert by_path(root)["a.py"] == SourceFile("a.py", 4, state, None, None)


def test_an_empty_file_is_to_be_indexed(root, fill):
    fill({"empty": ""})
    assert by_path(root)["empty"].skipped is None


def test_a_file_as_large_as_the_limit_is_to_be_indexed_and_a_larger_one_is_not(root):
    for name, size in {"just": LIMIT, "over": LIMIT + 1, "sparse": 100_000_000}.items():
        with (root / name).open("wb") as file:
            file.truncate(size)
    found = by_path(root)
    assert found["just"].skipped is None
    assert found["over"].skipped == "too large (1,000,001 bytes, the limit is 1,000,000)"
    assert found["sparse"] == SourceFile(
        "sparse", 100_000_000, None, "too large (100,000,000 bytes, the limit is 1,000,000)", None
    )


def test_symlinks_are_reported_and_never_followed(root, fill):
    fill({"real/a.py": ""})
    (root.parent / "outside").mkdir()
    (root.parent / "outside" / "secret").write_text("")
    targets = {"to_file": "real/a.py", "to_directory": "real", "out": "../outside", "loop": ".", "itself": "itself"}
    for name, target in targets.items():
        (root / name).symlink_to(target)
    found = by_path(root)
    assert {path for path, file in found.items() if file.skipped == "symlink"} == set(targets)
    assert set(found) == {*targets, "real/a.py"}


def test_a_root_that_is_a_symlink_is_followed(root, fill):
    fill({"a.py": ""})
    (root.parent / "link").symlink_to("tree")
    assert set(by_path(root.parent / "link")) == {"a.py"}


def test_what_is_neither_file_nor_directory_is_skipped(root, monkeypatch):
    os.mkfifo(root / "fifo")
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    assert {path: file.skipped for path, file in by_path(root).items()} == {
        "fifo": "not a regular file",
        "socket": "not a regular file",
    }


def test_odd_names_come_as_text(root):
    for name in (b"new\nline", b"back\\slash", " größe".encode()):
        (root / os.fsdecode(name)).touch()
    assert set(by_path(root)) == {"new\nline", "back\\\\slash", " größe"}


def test_a_name_that_is_not_utf_8_comes_as_text(root):
    try:
        (root / os.fsdecode(b"latin-\xe9")).mkdir()
    except OSError as error:
        if error.errno == errno.EILSEQ:
            pytest.skip("this file system takes UTF-8 only")
        raise
    (root / os.fsdecode(b"latin-\xe9") / "file").touch()
    assert set(by_path(root)) == {"latin-\\xe9/file"}


def test_dot_git_is_never_listed(root, fill):
    fill({"a/.git": "gitdir: /nowhere", "a/b.py": "", "c/.git/HEAD": "", ".git/HEAD": "", ".github/x": ""})
    assert set(by_path(root)) == {"a/b.py", ".github/x"}


def test_an_unreadable_directory_is_a_failure_of_that_directory(root, fill, ordinary_user):
    fill({"closed/secret.py": "", "open/a.py": ""})
    (root / "closed").chmod(0)
    with ordinary_user():
        found = by_path(root)
    (root / "closed").chmod(0o755)
    assert found["closed/"].failed == "directory cannot be read: Permission denied"
    assert set(found) == {"closed/", "open/a.py"}


def test_files_that_cannot_be_examined_are_failures(root, fill, ordinary_user):
    fill({"listable/a.py": ""})
    (root / "listable").chmod(0o444)
    with ordinary_user():
        found = by_path(root)
    (root / "listable").chmod(0o755)
    assert found["listable/a.py"].failed == "cannot be examined: Permission denied"


def test_an_unreadable_directory_full_of_ignored_files_is_still_reported(root, fill, git, ordinary_user):
    fill({".gitignore": "*.o\n", "out/a.o": "", "out/closed/b.py": ""})
    git("init", "-q")
    (root / "out" / "closed").chmod(0)
    with ordinary_user():
        found = by_path(root)
    (root / "out" / "closed").chmod(0o755)
    assert set(found) == {".gitignore", "out/closed/"}


@contextmanager
def nested(root: Path, name: str, levels: int) -> Iterator[None]:
    """Nest directories of one name with a file in the last; a path this long has to be gone down step by step."""
    directory = os.open(root, os.O_RDONLY)
    try:
        for _ in range(levels):
            os.mkdir(name, dir_fd=directory)
            below = os.open(name, os.O_RDONLY, dir_fd=directory)
            os.close(directory)
            directory = below
        os.close(os.open("file", os.O_CREAT, dir_fd=directory))
        yield
    finally:
        os.close(directory)
        subprocess.run(["rm", "-rf", name], cwd=root, check=True)


def test_a_thousand_levels_are_no_problem(root):
    with nested(root, "d", 1000):
        assert set(by_path(root)) == {"d/" * 1000 + "file"}


def test_directories_beyond_the_longest_path_fail_and_do_not_raise(root):
    with nested(root, "d", 5000):
        (failure,) = by_path(root).values()
    assert failure.path.endswith("/d/")
    assert failure.failed == "directory cannot be read: File name too long"


def test_a_directory_that_vanishes_meanwhile_is_left_out(root, fill):
    fill({"a": "", "later/b": ""})
    files = scan(root, max_file_bytes=LIMIT)
    assert next(files).path == "a"
    (root / "later").rename(root.parent / "elsewhere")
    assert list(files) == []


def test_a_directory_that_becomes_a_symlink_meanwhile_is_left_out(root, fill):
    fill({"a": "", "later/b": ""})
    files = scan(root, max_file_bytes=LIMIT)
    assert next(files).path == "a"
    (root / "later").rename(root.parent / "elsewhere")
    (root / "later").symlink_to(root.parent / "elsewhere")
    assert list(files) == []


def test_a_root_that_vanishes_meanwhile_is_not_taken_for_an_empty_one(root, fill):
    fill({"a": "", "later/b": ""})
    files = scan(root, max_file_bytes=LIMIT)
    next(files)
    root.rename(root.parent / "elsewhere")
    with pytest.raises(RootNotFound):
        list(files)


def test_a_root_that_does_not_exist_is_an_error():
    with pytest.raises(RootNotFound, match=r"^/nowhere does not exist$"):
        by_path(Path("/nowhere"))


def test_a_root_that_is_a_file_is_an_error(root, fill):
    fill({"file": ""})
    with pytest.raises(RootNotADirectory, match=re.escape(f"{root}/file is not a directory")):
        by_path(root / "file")


def test_a_root_that_cannot_be_listed_is_an_error(root, ordinary_user):
    root.chmod(0)
    with ordinary_user(), pytest.raises(RootUnreadable, match=r"cannot be read: Permission denied$"):
        by_path(root)
    root.chmod(0o755)
