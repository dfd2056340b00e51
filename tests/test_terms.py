"""Terms: how a text and a query meet."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import bounded
from verdex import terms as terms_module
from verdex.terms import (
    MAX_TERM,
    MAX_TEXT,
    NAMED,
    STRONG,
    WEAK,
    count,
    emphasised,
    impact,
    lexemes,
    name_of,
    terms,
)

CODE = st.text(st.sampled_from("aAbBzZ09_ .:\n(){}éßÄжЖ中𝒳٣²'\\+\x7f"), max_size=200)
SYMBOLS = st.none() | st.text(st.sampled_from("aAbB1_. >é中"), max_size=40)


def test_the_examples_of_the_module_are_true():
    found = doctest.testmod(terms_module)
    assert found.attempted >= 3
    assert found.failed == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("parse_http_body", "parseHTTPBody"),
        ("parse_http_body", "ParseHttpBody"),
        ("PARSE_HTTP_BODY", "parseHttpBody"),
        ("__parse_http_body__", "parse_http_body"),
        ("user_ids", "userIDs"),
        ("base_urls", "baseURLs"),
        ("größe_von", "größe_Von"),
        ("x86_64", "X86_64"),
    ],
)
def test_the_ways_to_write_a_name_have_the_same_terms(one, other):
    assert terms(one) == terms(other)


def test_a_name_has_the_terms_of_its_parts_and_one_that_only_its_spellings_have():
    parts = terms("parse http body")
    assert terms("parseHTTPBody") == [*parts, "parsehttpbody"]
    assert "parsehttpbody" not in terms("body http parse")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("HTTPServer", ["http", "server", "httpserver"]),
        ("URLs", ["url"]),
        ("getURLsOf", ["get", "url", "of", "geturlsof"]),
        ("OAuth2", ["o", "auth", "2", "oauth2"]),
        ("utf8", ["utf", "8", "utf8"]),
        ("v1.25", ["v", "1", "v1", "25"]),
        ("日本語", ["日本語"]),
        ("Жук", ["жук"]),
        ("__", []),
        ("!?+-*/'\\ \0\n", []),
    ],
)
def test_words_are_split_where_people_see_their_parts(text, found):
    assert terms(text) == found


@pytest.mark.parametrize(
    "forms",
    [
        ("publish", "publishes", "published", "publishing"),
        ("parse", "parses", "parsed", "parsing"),
        ("query", "queries"),
        ("class", "classes"),
        ("stop", "stops", "stopped", "stopping"),
    ],
)
def test_the_forms_of_a_word_have_one_term(forms):
    assert {tuple(terms(form)) for form in forms} == {tuple(terms(forms[0]))}


@bounded(300)
@given(st.text(max_size=300) | CODE)
def test_whatever_a_text_holds_it_has_terms_that_are_short_and_in_lower_case(text):
    for term in terms(text):
        assert 0 < len(term) <= MAX_TERM
        assert term == term.lower()
        assert term.encode()
        assert not term.startswith(emphasised(""))
        assert "'" not in term
        assert "\\" not in term


@bounded(200)
@given(st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyzжé0"), min_size=1, max_size=30))
def test_the_case_of_a_word_that_is_one_part_does_not_matter(word):
    assert terms(word.upper()) == terms(word) == terms(word.lower())


@bounded(200)
@given(CODE, CODE)
def test_the_terms_of_two_texts_are_those_of_one_and_of_the_other(one, other):
    assert terms(f"{one} {other}") == terms(one) + terms(other)


@bounded(300)
@given(CODE, SYMBOLS)
def test_each_term_of_a_chunk_has_a_weight_and_those_of_what_it_defines_the_highest(content, symbol):
    found = {term: weight for term, weight in lexemes(content, symbol).items() if not term.startswith("+")}
    assert found.keys() == {*terms(content), *terms(symbol or "")}
    assert all(WEAK <= weight <= NAMED for weight in found.values())
    assert {term for term, weight in found.items() if weight == NAMED} == set(terms(name_of(symbol or "")))


@bounded(200)
@given(CODE, SYMBOLS)
def test_what_a_chunk_is_strongly_about_is_stored_once_more_so_that_the_index_alone_finds_it(content, symbol):
    found = lexemes(content, symbol)
    strong = {term: weight for term, weight in found.items() if weight >= STRONG and not term.startswith("+")}
    assert {emphasised(term): weight for term, weight in strong.items()} == {
        lexeme: weight for lexeme, weight in found.items() if lexeme.startswith("+")
    }


def test_of_a_large_text_words_are_found_as_they_are_written_and_numbers_are_not():
    found = lexemes("#define mmCRTC0_H_TOTAL 0x1b80\n#define URLs 12", None, is_part_of_large=True)
    assert {term for term in found if not term.startswith("+")} == {"defin", "mmcrtc0htotal", "url"}


def test_a_term_weighs_more_the_more_often_it_stands_among_as_many():
    text = "alpha beta gamma delta " * 20
    weights = [lexemes(text + "needle " * times, None)["needl"] for times in (1, 3, 10, 100)]
    assert weights == sorted(weights)
    assert weights[0] == WEAK
    assert weights[-1] == STRONG


def test_an_impact_is_between_0_and_1_grows_with_the_count_and_shrinks_with_the_length():
    assert 0 < impact(1, 1000) < impact(1, 10) < impact(5, 10) < 1
    assert impact(0, 10) == 0


def test_of_a_longer_line_only_the_first_characters_have_terms():
    assert terms("before") == [*lexemes("before " + "x" * MAX_TEXT + " after", None)][:1]
    counted, length = count("x " * MAX_TEXT, None)
    assert counted == {"x": MAX_TEXT // 2}
    assert length == MAX_TEXT // 2


def test_long_words_are_not_kept_in_memory():
    before = len(terms_module._by_parts)
    for number in range(10):
        assert len(terms(f"{number:09}" * 1000)) == 1
    terms("a_word_that_nobody_has_seen_before")
    assert len(terms_module._by_parts) == before + 1
