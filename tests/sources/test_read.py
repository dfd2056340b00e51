import itertools
import os
import socket
import sys
import threading
from pathlib import Path

import pytest

from verdex.sources.errors import (
    FileChangedWhileRead,
    FileTooLarge,
    FileUnreadable,
    FileVanished,
    NotARegularFile,
    RootNotFound,
)
from verdex.sources.fingerprint import fingerprint
from verdex.sources.working_tree import FileContent, read, scan

LIMIT = 1_000_000


def content(root: Path, path: str) -> bytes:
    return read(root, path, max_file_bytes=LIMIT).content


def test_everything_that_is_scanned_can_be_read(root):
    names = [b"plain", b"new\nline", b"back\\slash"] + ([b"latin-\xe9"] if sys.platform == "linux" else [])
    for name in names:
        (root / os.fsdecode(name)).write_bytes(name)
    found = {content(root, file.path) for file in scan(root, max_file_bytes=LIMIT)}
    assert found == set(names)


def test_an_empty_file_has_no_content(root, fill):
    fill({"empty": ""})
    assert content(root, "empty") == b""


def test_a_file_just_written_has_no_fingerprint_to_rely_on(root, fill):
    fill({"young": "x"})
    assert read(root, "young", max_file_bytes=LIMIT) == FileContent(b"x", None)


def test_a_file_long_unchanged_has_the_fingerprint_of_the_scan():
    directory, name = os.path.split(os.__file__)
    status = Path(os.__file__).stat()
    assert read(Path(directory), name, max_file_bytes=LIMIT).fingerprint == fingerprint(status)


def test_a_file_that_vanished_says_so(root, fill):
    fill({"a": ""})
    (root / "a").unlink()
    with pytest.raises(FileVanished, match=r"^a: vanished after the scan$"):
        content(root, "a")


def test_a_file_that_became_a_symlink_is_refused(root, fill):
    fill({"a": ""})
    (root / "a").unlink()
    (root / "a").symlink_to("/etc/passwd")
    with pytest.raises(NotARegularFile) as caught:
        content(root, "a")
    assert caught.value.reason == "symlink"


def test_a_directory_that_became_a_symlink_does_not_lead_out_of_the_tree(root, fill):
    fill({"a/b/c": ""})
    (root.parent / "outside" / "b").mkdir(parents=True)
    (root.parent / "outside" / "b" / "c").write_text("secret")
    (root / "a").rename(root.parent / "moved")
    (root / "a").symlink_to(root.parent / "outside")
    with pytest.raises((FileVanished, NotARegularFile)):
        content(root, "a/b/c")


@pytest.mark.parametrize("path", ["../outside", "a/../../outside", "/etc/passwd", "", ".", "\\x2e./outside"])
def test_a_path_that_no_scan_gives_is_refused(root, path):
    with pytest.raises(ValueError, match="not a path inside a tree"):
        content(root, path)


def test_a_file_that_became_something_else_is_refused_without_waiting(root, monkeypatch):
    os.mkfifo(root / "fifo")
    (root / "directory").mkdir()
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    for name in ("fifo", "directory", "socket"):
        with pytest.raises(NotARegularFile, match="not a regular file"):
            content(root, name)


def test_a_file_that_grew_over_the_limit_says_by_how_much(root):
    with (root / "sparse").open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(FileTooLarge) as caught:
        content(root, "sparse")
    assert caught.value.reason == "too large (100,000,000 bytes, the limit is 1,000,000)"


def test_an_unreadable_file_gives_the_reason_of_the_operating_system(root, fill, ordinary_user):
    fill({"a": ""})
    (root / "a").chmod(0)
    with ordinary_user(), pytest.raises(FileUnreadable) as caught:
        content(root, "a")
    assert caught.value.reason == "cannot be read: Permission denied"


def test_a_tree_that_is_gone_is_not_taken_for_a_vanished_file(root):
    root.rmdir()
    with pytest.raises(RootNotFound):
        content(root, "a")


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_a_file_of_proc_is_read_although_its_size_is_zero():
    assert content(Path("/proc/self"), "status").startswith(b"Name:")


def test_content_and_fingerprint_are_never_torn(root):
    """While a file is rewritten in place, a read gives one version whole, or says that it could not."""
    versions = {letter * 300_000 for letter in (b"a", b"b")}
    path = root / "busy"
    path.write_bytes(min(versions))
    done = threading.Event()
    writer = threading.Thread(target=_rewrite, args=(path, versions, done))
    writer.start()
    try:
        trusted = [found for _ in range(200) if (found := _read_if_quiet(root)) and found.fingerprint]
    finally:
        done.set()
        writer.join()
    assert all(found.content in versions for found in trusted)


def _rewrite(path: Path, versions: set[bytes], done: threading.Event) -> None:
    with path.open("r+b", buffering=0) as file:
        for version in itertools.cycle(versions):
            if done.is_set():
                return
            file.seek(0)
            file.write(version)


def _read_if_quiet(root: Path) -> FileContent | None:
    try:
        return read(root, "busy", max_file_bytes=LIMIT)
    except FileChangedWhileRead:
        return None
