"""From bytes to text: nothing is lost in silence, and nothing raises."""

import codecs

import pytest

from verdex.indexing.chunking import chunk
from verdex.indexing.text import NotText, Text, decode
from verdex.terms import MAX_TEXT, count, terms


@pytest.mark.parametrize("content", [b"a = 1\n", "größer\r\n".encode(), b"\x0ca\x1bb", "\ud7ff\ue000😀".encode()])
def test_utf_8_is_text_as_it_is(content: bytes):
    assert decode(content) == Text(content.decode())


@pytest.mark.parametrize(
    "content", [b"", b"\n", b" \t\r\n\x0c", codecs.BOM_UTF8, codecs.BOM_UTF16_LE + "\n".encode("utf-16-le")]
)
def test_what_is_blank_is_empty(content: bytes):
    assert decode(content) == NotText("empty")


@pytest.mark.parametrize(
    "content", [b"\0", b"a = 1\n" * 5000 + b"\0", b"\x7fELF\x02\x01\x01\0", codecs.BOM_UTF8 + b"a\0b"]
)
def test_a_nul_byte_anywhere_makes_a_binary(content: bytes):
    assert decode(content) == NotText("binary")


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_a_byte_order_mark_says_the_encoding_and_is_not_part_of_the_text(mark: bytes, encoding: str):
    assert decode(mark + "ä = 1\n".encode(encoding)) == Text("ä = 1\n")


def test_a_byte_order_mark_that_lies_leaves_nothing_to_index_and_says_where():
    found = decode(codecs.BOM_UTF16_LE + b"odd")
    assert isinstance(found, NotText)
    assert found.reason.startswith("undecodable: marked as utf-16-le")
    assert found.reason.endswith("at byte 2")


def test_bytes_that_are_not_utf_8_become_replacement_characters_and_are_noted():
    found = decode("print('ä')\n".encode("latin-1"))
    assert found == Text("print('\ufffd')\n", "not valid UTF-8 (first at byte 7): such bytes are indexed as U+FFFD")


@pytest.mark.parametrize(
    ("lines", "note"),
    [
        (["x " * 60_000], "line 1 too long: only the first 100,000 characters are searched"),
        (
            ["a", "y" * 100_001, "z" * 200_000],
            "line 2 and 1 more too long: only the first 100,000 characters are searched",
        ),
        (["y" * 100_000], None),
        (["a = 1"] * 100_000, None),
        (["a = 12"] * 142_857, None),
        (["a = 12"] * 142_858, "large (1,000,005 characters): found by whole words only, and not by numbers"),
    ],
)
def test_a_line_of_which_not_all_is_searched_is_noted(lines: list[str], note: str | None):
    text = "\n".join(lines)
    assert decode(text.encode()) == Text(text, note)
    assert decode(codecs.BOM_UTF16_LE + text.encode("utf-16-le")) == Text(text, note)


def test_all_that_is_to_be_noted_of_a_file_is():
    found = decode(b"\xff" + b"x" * MAX_TEXT)
    assert isinstance(found, Text)
    assert str(found.note).split("; ") == [
        "not valid UTF-8 (first at byte 0): such bytes are indexed as U+FFFD",
        "line 1 too long: only the first 100,000 characters are searched",
    ]


@pytest.mark.parametrize(
    "lines", [["word " * 30_000], ["word " * 300] * 200, ["word " * 19_999, "a", "word " * 20_001]]
)
def test_a_text_without_such_a_note_is_searched_whole(lines: list[str]):
    content = "\n".join(lines)
    counted = sum(count(one.content, None)[1] for one in chunk(content, None))
    found = decode(content.encode())
    assert isinstance(found, Text)
    assert (counted == len(terms(content))) == (found.note is None)
