"""Whether a file still holds what a search shows of it."""

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.properties import bounded
from verdex.contracts import SearchResult
from verdex.search.staleness import changed
from verdex.sources.paths import to_text
from verdex.terms import MAX_TEXT

TEXTS = st.text("ab\n", max_size=12)


def shown(root: Path, content: str, start_line: int = 1) -> SearchResult:
    """A search result of `file.txt`."""
    return SearchResult(
        chunk_id="1-0",
        repo_path=to_text(bytes(root)),
        file_path="file.txt",
        start_line=start_line,
        end_line=start_line + content.count("\n"),
        language=None,
        kind="text",
        symbol=None,
        content=content,
        similarity_score=0.5,
    )


@bounded(500)
@given(indexed=TEXTS, now=TEXTS, first=st.integers(1, 4), count=st.integers(1, 3))
def test_a_file_has_changed_just_where_the_lines_that_are_shown_have(
    tmp_path_factory: pytest.TempPathFactory, indexed: str, now: str, first: int, count: int
):
    lines = indexed.split("\n")[first - 1 : first - 1 + count]
    assume("".join(lines) and now.strip())  # nothing is indexed of what is blank
    root = tmp_path_factory.mktemp("root")
    (root / "file.txt").write_text(now)
    is_the_same = now.split("\n")[first - 1 : first - 1 + len(lines)] == lines
    assert changed([shown(root, "\n".join(lines), first)]) == ({} if is_the_same else {str(root): ["file.txt"]})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_a_file_in_any_encoding_is_compared_as_it_was_indexed(tmp_path: Path, encoding: str):
    (tmp_path / "file.txt").write_bytes("first\ncafé\r\nlast".encode(encoding))
    second = "caf\ufffd\r" if encoding == "latin-1" else "café\r"
    assert changed([shown(tmp_path, second, 2)]) == {}
    assert changed([shown(tmp_path, "cafe\r", 2)]) == {str(tmp_path): ["file.txt"]}


def test_what_follows_the_part_of_a_long_line_that_is_shown_is_not_compared(tmp_path: Path):
    (tmp_path / "file.txt").write_text("a" * (MAX_TEXT + 1))
    assert changed([shown(tmp_path, "a" * MAX_TEXT)]) == {}


def test_a_file_that_is_binary_now_has_changed(tmp_path: Path):
    (tmp_path / "file.txt").write_bytes(b"\0first")
    assert changed([shown(tmp_path, "first")]) == {str(tmp_path): ["file.txt"]}
