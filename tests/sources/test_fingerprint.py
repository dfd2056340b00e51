import os
from pathlib import Path

import pytest

from verdex.sources.fingerprint import SETTLING_NS, fingerprint, has_settled


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("one")
    os.utime(path, ns=(0, 1_000_000_000))
    return path


def test_a_change_whose_mtime_was_put_back_shows(file: Path):
    before = file.stat()
    while file.stat().st_ctime_ns == before.st_ctime_ns:  # until the clock of the file system moves on
        file.write_text("two")
        os.utime(file, ns=(0, 1_000_000_000))
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert fingerprint(file.stat()) != fingerprint(before)


def test_another_file_renamed_over_the_first_shows(file: Path, tmp_path: Path):
    before = fingerprint(file.stat())
    other = tmp_path / "other"
    other.write_text("two")
    other.rename(file)
    assert fingerprint(file.stat()) != before


def test_reading_a_file_leaves_its_fingerprint(file: Path):
    before = fingerprint(file.stat())
    file.read_bytes()
    assert fingerprint(file.stat()) == before


def test_a_file_settles_only_when_the_coarsest_clock_has_moved_on(file: Path):
    status = file.stat()
    assert not has_settled(status, status.st_ctime_ns + SETTLING_NS)
    assert has_settled(status, status.st_ctime_ns + SETTLING_NS + 1)


def test_a_file_dated_in_the_future_never_settles(file: Path):
    status = file.stat()
    os.utime(file, ns=(0, status.st_ctime_ns + 10**15))
    assert not has_settled(file.stat(), status.st_ctime_ns + 10 * SETTLING_NS)
