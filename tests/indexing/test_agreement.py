"""What a file of the source and what the index holds of it have to agree in."""

import hashlib
from typing import get_args

import pytest

from verdex.contracts import Outcome
from verdex.indexing.agreement import Source, chunk_difference, difference, examine
from verdex.indexing.chunking import chunk
from verdex.sources.working_tree import SourceFile
from verdex.storage.published import PublishedFile, StoredChunk
from verdex.terms import lexemes

TEXT = "one\n\ntwo\nthree\n \nfour\n"
WHOLE = [StoredChunk(1, 3, "one\n\ntwo"), StoredChunk(4, 4, "three"), StoredChunk(6, 6, "four")]
LIMIT = 1000


def held(outcome: Outcome = "indexed", text: str = TEXT) -> PublishedFile:
    content_hash = hashlib.sha256(text.encode()).digest() if outcome == "indexed" else None
    return PublishedFile("a.txt", len(text), outcome, 1 if content_hash else None, content_hash)


def source(text: str = TEXT) -> Source:
    return Source("text", "", hashlib.sha256(text.encode()).digest(), text)


@pytest.mark.parametrize(("content", "language"), [(TEXT, None), ("def f():\n    return 1\n\n\nx = 2\r\n", "python")])
def test_what_the_chunker_made_agrees(content, language):
    chunks = [StoredChunk(one.start_line, one.end_line, one.content) for one in chunk(content, language)]
    assert chunk_difference(content, chunks) is None


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        ([], "line 1 is in no chunk"),
        (WHOLE[1:], "line 1 is in no chunk"),
        ([WHOLE[0], WHOLE[2]], "line 4 is in no chunk"),
        (WHOLE[:2], "line 6 is in no chunk"),
        ([StoredChunk(1, 1, "one"), *WHOLE[1:]], "line 3 is in no chunk"),
        ([StoredChunk(1, 3, "one\ntwo"), *WHOLE[1:]], "the chunk of lines 1-3 holds another text"),
        ([WHOLE[0], StoredChunk(4, 4, "three "), WHOLE[2]], "the chunk of lines 4-4 holds another text"),
        ([WHOLE[0], StoredChunk(3, 4, "two\nthree"), WHOLE[2]], "the chunk of lines 3-4 is out of place"),
        ([WHOLE[1], WHOLE[0], WHOLE[2]], "line 1 is in no chunk"),
        ([*WHOLE, WHOLE[0]], "the chunk of lines 1-3 is out of place"),
        ([*WHOLE[:2], StoredChunk(6, 99, "four\n")], "the chunk of lines 6-99 is out of place"),
    ],
)
def test_chunks_are_the_lines_of_the_text_in_order_each_once_and_all_but_blank_ones(chunks, said):
    assert chunk_difference(TEXT, WHOLE) is None
    assert chunk_difference(TEXT, chunks) == said


FOUND = [one._replace(lexemes=lexemes(one.content, None)) for one in WHOLE]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, None),
        ({"lexemes": {}}, "the chunk of lines 4-4 is not found by its words"),
        ({"lexemes": {"three": 0}}, "the chunk of lines 4-4 is not found by its words"),
        ({"lexemes": {"thre": 3}}, "the chunk of lines 4-4 is not found by its words"),
        ({"symbol": "Another.name"}, "the chunk of lines 4-4 is not found by its words"),
        ({"lexemes": None, "symbol": "Another.name"}, None),
    ],
)
def test_chunks_are_found_by_their_words_where_these_are_known(changed, said):
    assert chunk_difference(TEXT, [FOUND[0], FOUND[1]._replace(**changed), FOUND[2]]) == said


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (source(), None),
        (source("other\n"), "the index holds another content"),
        (Source("skipped", "binary"), "in the index, but to be skipped: binary"),
        (Source("unreadable", "cannot be read: no"), "cannot be compared: cannot be read: no"),
        (Source("ignored"), "in the index, but ignored by the source"),
        (Source("gone"), "in the index, but not in the source"),
    ],
)
def test_what_is_indexed_has_to_be_what_the_source_holds(found, said):
    assert difference(found, held(), WHOLE) == said


def test_an_indexed_file_whose_content_is_lost_does_not_agree():
    assert difference(source(), held()._replace(content_hash=None), []) == "the index holds another content"


@pytest.mark.parametrize("known", [None, held("skipped")])
@pytest.mark.parametrize(
    ("found", "said"),
    [
        (source(), "not in the index"),
        (Source("unreadable", "cannot be read: no"), "cannot be compared: cannot be read: no"),
        (Source("skipped", "binary"), None),
        (Source("gone"), None),
    ],
)
def test_what_is_not_indexed_has_to_be_what_cannot_be(found, known, said):
    assert difference(found, known, []) == said


@pytest.mark.parametrize("state", get_args(Source.__annotations__["state"]))
def test_of_a_file_that_failed_nothing_is_claimed(state):
    assert difference(Source(state), held("failed"), []) is None


@pytest.mark.parametrize(
    ("content", "state", "reason"),
    [
        (b"text\n", "text", ""),
        (b"\0", "skipped", "binary"),
        (b" \n", "skipped", "empty"),
        (b"x" * (LIMIT + 1), "skipped", "too large (1,001 bytes, the limit is 1,000)"),
        (None, "gone", ""),
    ],
)
def test_a_file_is_read_again_whatever_the_scan_said_of_its_state(tmp_path, content, state, reason):
    if content is not None:
        (tmp_path / "a.txt").write_bytes(content)
    found = examine(tmp_path, "a.txt", SourceFile("a.txt", 3, "a state"), max_file_bytes=LIMIT)
    assert (found.state, found.reason) == (state, reason)


@pytest.mark.parametrize(
    ("values", "state"), [({"skipped": "symlink"}, "skipped"), ({"failed": "cannot be examined"}, "unreadable")]
)
def test_what_the_scan_could_not_give_is_not_read(tmp_path, values, state):
    (reason,) = values.values()
    found = examine(tmp_path, "a.txt", SourceFile("a.txt", 3, **values), max_file_bytes=LIMIT)
    assert found == Source(state, reason)


def test_what_the_scan_did_not_list_is_ignored_or_gone(tmp_path):
    assert examine(tmp_path, "a.txt", None, max_file_bytes=LIMIT).state == "gone"
    (tmp_path / "a.txt").write_text("text\n")
    assert examine(tmp_path, "a.txt", None, max_file_bytes=LIMIT).state == "ignored"


@pytest.mark.parametrize("path", ["", "closed/", "../a.txt", "/etc/passwd", "a//b"])
def test_what_cannot_be_the_path_of_a_file_is_not_in_the_source(tmp_path, path):
    assert examine(tmp_path, path, None, max_file_bytes=LIMIT).state == "gone"


def test_a_file_that_cannot_be_opened_is_not_taken_for_ignored(tmp_path):
    found = examine(tmp_path, "x" * 300, None, max_file_bytes=LIMIT)
    assert (found.state, found.reason) == ("unreadable", "cannot be read: File name too long")


def test_a_link_in_place_of_a_file_is_to_be_skipped(tmp_path):
    (tmp_path / "a.txt").symlink_to("/etc/passwd")
    found = examine(tmp_path, "a.txt", SourceFile("a.txt", 3, "a state"), max_file_bytes=LIMIT)
    assert found == Source("skipped", "symlink")


def test_below_a_root_that_is_gone_nothing_can_be_compared(tmp_path):
    root = tmp_path / "gone"
    found = examine(root, "a.txt", SourceFile("a.txt", 3, "a state"), max_file_bytes=LIMIT)
    assert found == Source("unreadable", f"{root} does not exist")
