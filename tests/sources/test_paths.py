import pytest

from verdex.sources.paths import to_bytes, to_text

NAMES = [
    b"plain.py",
    "größe/文件.py".encode(),
    b"new\nline",
    b"latin-\xe9",
    b"back\\slash",
    b"\\xe9 spelt out",
    b"\\\xe9",
    b"\xed\xa0\x80 a surrogate",
    bytes(range(1, 256)),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_survives_the_way_to_text_and_back(name: bytes):
    assert to_bytes(to_text(name)) == name


@pytest.mark.parametrize("name", NAMES)
def test_the_text_can_be_stored_as_utf_8(name: bytes):
    assert to_text(name).encode("utf-8")


def test_an_ordinary_name_stays_as_it_is():
    assert to_text("src/größe 文件.py".encode()) == "src/größe 文件.py"


def test_what_is_not_utf_8_can_be_read():
    assert to_text(b"latin-\xe9.c") == "latin-\\xe9.c"


def test_different_names_never_get_the_same_text():
    assert to_text(b"\xe9") != to_text(b"\\xe9")
