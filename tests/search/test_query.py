"""What is read out of a query, and what the index is asked for."""

import re
from collections.abc import Mapping
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import bounded
from verdex.errors import QueryInvalid
from verdex.search.query import COMMON, MAX_QUERY, MAX_TERMS, SHARES, Term, _with_share, anything, read, told, tsqueries
from verdex.storage.searching import Frequencies
from verdex.terms import emphasised, terms

LETTERS = "abcdef"


def subsets(lexemes: str) -> list[frozenset[str]]:
    return [frozenset(some) for size in range(len(lexemes) + 1) for some in combinations(lexemes, size)]


def satisfies(lexemes: frozenset[str], tsquery: str | None) -> bool:
    """As PostgreSQL does; the signs of a tsquery bind as those of Python do."""
    if not tsquery:
        return tsquery == ""
    formula = re.sub(r"'([^']+)'", lambda lexeme: str(lexeme[1] in lexemes), tsquery)
    return bool(eval(formula.replace("&", "and").replace("|", "or")))  # noqa: S307


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("how are manifests published?", ["manifest", "publish"]),
        ("Where IS the parser", ["parser"]),
        ("what is it", ["what", "is", "it"]),
        ("the", ["the"]),
        ("parse_http_body", ["pars", "http", "body", "parsehttpbody"]),
        ("parse parsing parsed PARSE", ["pars"]),
        ("Größe  日本語\tЯщик", ["größ", "日本語", "ящик"]),
        ("\"connection reset\" by 'peer'", ["connection", "reset", "peer"]),
    ],
)
def test_a_query_has_the_terms_of_its_words_but_for_those_that_tell_nothing(text, found):
    assert list(read(text).terms) == found


@pytest.mark.parametrize("text", ["", " \n\t", "?!", "& | ! <-> ( ) ' \\ :*", "___ - …", "\0", "\ud800"])
def test_without_a_word_there_is_nothing_to_look_for(text):
    with pytest.raises(QueryInvalid, match="no word"):
        read(text)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("verdex/storage/searching.py", ["verdex/storage/searching.py"]),
        ("what does ./src/a.py do with /etc/hosts and ../b/c?", ["src/a.py", "etc/hosts", "b/c"]),
        ('  File "pkg/mod.py", line 3, in f', ["pkg/mod.py"]),
        ("searching.py:42: error", ["searching.py"]),
        (".github/workflows/ci.yml Makefile", [".github/workflows/ci.yml"]),
        ("a sentence. Another one", []),
        ("v1.2 and 3.14", []),
    ],
)
def test_what_looks_like_a_path_is_read_as_one(text, paths):
    assert list(read(text).paths) == paths


def test_of_a_query_of_a_megabyte_the_begin_is_read():
    found = read("needle " + "hay stack/of.straw " * 60_000)
    assert "needl" in found.terms
    assert len(found.text) <= MAX_QUERY
    assert read("x" * 1_000_000).terms


@bounded(300)
@given(st.text(max_size=300))
def test_whatever_is_asked_it_is_read_or_refused(text):
    try:
        found = read(text)
    except QueryInvalid:
        assert terms(text) == []
        return
    assert found.terms
    assert set(found.terms) <= set(terms(text))


def known(frequencies: Mapping[str, float], chunks: float = 1000) -> list[Term]:
    return told(read(" ".join(frequencies)), Frequencies(chunks, frequencies))


def test_the_rarest_terms_tell_most_and_those_that_nobody_has_nothing():
    assert [term.term for term in known({"common": 900, "rare": 2, "nobody": 0, "middling": 50})] == ["rare", "common"]
    found = known({"common": 900, "rare": 2, "middl": 50})
    assert [term.term for term in found] == ["rare", "middl", "common"]
    assert found[0].idf > found[1].idf > found[2].idf > 0


def test_a_very_common_term_finds_what_is_strongly_about_it():
    rare, common = known({"rare": 2, "common": COMMON + 1}, COMMON * 2)
    assert (rare.lexeme, common.lexeme) == ("rare", emphasised("common"))


def test_of_very_many_terms_the_rarest_are_asked_for():
    found = known({f"w{number}": number for number in range(1, 200)})
    assert [term.term for term in found] == [f"w{number}" for number in range(1, MAX_TERMS + 1)]


def test_of_what_nobody_has_nothing_is_asked():
    assert list(tsqueries([])) == []


@bounded(300)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(0, 130))
def test_a_set_of_lexemes_satisfies_the_query_just_where_its_weight_reaches_the_share(weights, share):
    whole = sum(weights)
    weighted = dict(zip(LETTERS, weights, strict=False))
    tsquery = _with_share([(lexeme, weight / whole) for lexeme, weight in weighted.items()], share / whole)
    for lexemes in subsets(LETTERS[: len(weights)]):
        assert satisfies(lexemes, tsquery) == (sum(weighted[lexeme] for lexeme in lexemes) >= share)


@bounded(200)
@given(st.lists(st.floats(0.01, 15), min_size=1, max_size=6))
def test_each_query_finds_what_the_one_before_does(idfs):
    found = [Term(lexeme, idf, lexeme) for lexeme, idf in zip(LETTERS, sorted(idfs, reverse=True), strict=False)]
    matching = [{some for some in subsets(LETTERS) if satisfies(some, query)} for query in tsqueries(found)]
    assert matching
    assert all(one <= other for one, other in zip(matching, [*matching[1:], {*subsets(LETTERS)}], strict=True))
    assert frozenset() not in matching[-1]
    assert frozenset(LETTERS[: len(idfs)]) in matching[0]


TERMS = [Term("wait", 7.0, "wait"), Term("peer", 5.0, "peer"), Term("reset", 4.0, "reset")]
TERMS += [Term("größ", 3.0, "größ"), Term("𝒳", 2.0, "𝒳"), Term("return", 0.2, emphasised("return"))]  # noqa: RUF001


async def test_postgresql_reads_the_queries_as_they_are_meant(project):
    lexemes = [term.lexeme for term in TERMS] + ["return"]
    vectors = [
        " ".join(f"'{lexeme}':1A" for lexeme in some)
        for size in range(len(lexemes) + 1)
        for some in combinations(lexemes, size)
    ]
    matches = "SELECT vector FROM unnest($1::text[]) AS vector WHERE vector::tsvector @@ $2::tsquery"
    found = []
    async with project.connection() as connection:
        for query in tsqueries(TERMS):
            found.append({row["vector"] for row in await connection.fetch(matches, vectors, query)})
            assert found[-1] == {one for one in vectors if satisfies(frozenset(re.findall(r"'([^']+)'", one)), query)}
        by_any = await connection.fetch(matches, vectors, anything(TERMS))
    emphasising, plain = found[: len(SHARES)], found[len(SHARES) :]
    assert all(one <= other for one, other in pairwise(emphasising))
    assert all(one <= other for one, other in pairwise(plain))
    assert {row["vector"] for row in by_any} == {one for one in vectors if one not in {"", "'return':1A"}}


HARMLESS = ["a & b | !c <-> d:* 'e' \\ (f", "'", "\\", "');DROP TABLE chunks;--", "'' '' \\' :A*", "%_$1{}", "+needle"]


@pytest.mark.parametrize("query", HARMLESS)
async def test_what_means_something_to_postgresql_means_nothing_in_a_query(tree, query):
    await tree.hold({"a.py": "needle = 1\n", "b.py": "a = b = c = d = e = f\n"})
    paths = [one.file_path for one in await tree.find(f"{query} needle")]
    assert "a.py" in paths
