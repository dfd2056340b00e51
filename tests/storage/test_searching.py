"""Searches see what is published, whole and nothing else, and find it without reading all that there is."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import pytest

from tests.storage.conftest import File, Files, Tree, new_database
from tests.storage.many_chunks import CHUNKS, FILES, fill, name, path_of
from tests.storage.plans import PlanLog, Scan, log_plans
from verdex.local.postgres import Postgres
from verdex.search.searching import find
from verdex.sources.gitignore import path_expression
from verdex.storage.database import Database
from verdex.storage.searching import COPIES, FOUND, Filter, SearchedIndex, prepare, searched
from verdex.terms import MAX_TEXT, terms

Places = Mapping[str, list[str]]
"""What was found in which files."""


async def find_in(index: SearchedIndex, query: str, repo_path: str | None, **filters: Any) -> Places:
    ids = [one.manifest_id for one in await index.manifests(repo_path)]
    found: dict[str, list[str]] = {}
    for one in await find(index, query, Filter(ids, **filters)):
        found.setdefault(one.file_path, []).append(one.chunk.content)
    return found


async def search(tree: Tree, query: str, **filters: Any) -> Places:
    async with searched(tree.database) as index:
        assert index
        return await find_in(index, query, tree.path, **filters)


async def test_what_a_job_has_stored_is_found_when_it_is_published_and_not_before(tree: Tree):
    files = {"a.py": "needle", "b.py": "hay"}
    manifest = await tree.open()
    assert await search(tree, "needle") == {}
    await tree.plan(manifest, files)
    await tree.settle(manifest, files)
    assert await search(tree, "needle") == {}
    await tree.publish(manifest)
    assert await search(tree, "needle") == {"a.py": ["needle"]}


async def test_what_a_job_has_stored_that_published_nothing_is_never_found(tree: Tree):
    await tree.index({"a.py": "needle"})
    manifest = await tree.open()
    files: Files = {"a.py": "another needle", "b.py": File(outcome="failed"), "c.py": File(outcome="failed")}
    await tree.plan(manifest, files)
    await tree.settle(manifest, files)
    assert (await tree.publish(manifest)).status == "failed"
    assert await search(tree, "another needle") == {"a.py": ["needle"]}


async def test_what_a_second_job_deleted_or_changed_is_not_found_any_more(tree: Tree):
    await tree.index({"a.py": "needle one", "b.py": "needle two", "c.py": "needle three"})
    await tree.index({"a.py": "needle one", "b.py": "changed two"})
    assert await search(tree, "needle") == {"a.py": ["needle one"]}
    assert await search(tree, "two three") == {"b.py": ["changed two"]}


async def test_a_content_that_several_files_and_repositories_hold_is_found_once_and_all_are_told(project: Database):
    one, other = Tree(project), Tree(project)
    other.text = one.text  # type: ignore[method-assign]
    await one.index({"a.py": "needle", "b/a.py": "needle", "c.py": "hay"})
    await other.index({"d.py": "needle"})
    async with searched(project) as index:
        assert index
        ids = [manifest.manifest_id for tree in (one, other) for manifest in await index.manifests(tree.path)]
        (place,) = await find(index, "needle", Filter(ids))
        (in_one,) = await find(index, "needle", Filter(ids[:1]))
        (filtered,) = await find(index, "needle", Filter(ids, path_expression("b/")))
    files = {(place.repo_path, place.file_path), *place.copies}
    assert files == {(one.path, "a.py"), (one.path, "b/a.py"), (other.path, "d.py")}
    assert len(place.copies) == 2
    assert {repo_path for repo_path, _ in in_one.copies} == {one.path}
    assert (filtered.file_path, filtered.copies) == ("b/a.py", [])


async def test_of_very_many_copies_the_same_few_are_told_and_the_one_that_is_named_is_among_them(tree: Tree):
    named = "a/very/long/way/down/to/the/copy.py"
    await tree.index({f"{number:03}.py": "needle" for number in range(3 * COPIES)} | {named: "needle"})
    found = [await search(tree, query) for query in ("needle", "needle", "needle in the/copy.py", "to/the/copy.py")]
    assert [list(places) for places in found] == [["000.py"], ["000.py"], [named], [named]]


@pytest.mark.parametrize(
    "query", ["src/Deep/named.py", "deep/named.py", "./src/deep/named.py", "named.py", "/named.py"]
)
async def test_a_file_is_found_by_the_end_of_its_path_whatever_it_holds(tree: Tree, query: str):
    await tree.index({"src/Deep/named.py": "hay", "src/deep/renamed.py": "hay too", "named.pyc": "hay as well"})
    assert list(await search(tree, query)) == ["src/Deep/named.py"]


async def test_a_path_that_is_longer_than_an_entry_of_an_index_can_be_stored_and_found(tree: Tree):
    long, other = ("/".join([name * 250] * 7) + "/end.py" for name in ("ä", "ö"))
    await tree.index({long: "hay", other: "more hay"})
    assert list(await search(tree, long)) == [long]
    assert list(await search(tree, "ä" * 250 + "/end.py")) == [long]


async def test_a_named_file_has_to_pass_the_filters_before_those_that_are_looked_at_are_counted(tree: Tree):
    files: Files = {f"other_{number}/named.py": f"hay {number}" for number in range(FOUND + 50)}
    await tree.index({**files, "the/very/deepest/of/all/named.py": File("last hay", language="go")})
    for filters in ({"path_expression": path_expression("deepest/")}, {"language": "go"}):
        assert list(await search(tree, "named.py", **filters)) == ["the/very/deepest/of/all/named.py"]
    assert await search(tree, "named.py", kind="function") == {}
    assert len(await search(tree, "named.py", kind="block")) == 20


async def test_of_a_long_line_as_much_is_shown_as_is_searched(tree: Tree):
    line = "needle " + "x" * MAX_TEXT
    await tree.index({"min.js": line})
    assert await search(tree, "needle") == {"min.js": [line[:MAX_TEXT]]}


async def test_a_search_sees_one_generation_whatever_is_published_meanwhile(tree: Tree):
    await tree.index({"a.py": "needle old", "b.py": "hay old"})
    async with searched(tree.database) as index:
        assert index
        assert await find_in(index, "needle", tree.path) == {"a.py": ["needle old"]}
        await tree.index({"b.py": "hay new", "c.py": "needle new"})
        assert await find_in(index, "needle", tree.path) == {"a.py": ["needle old"]}
        assert await find_in(index, "hay", tree.path) == {"b.py": ["hay old"]}
    assert await search(tree, "needle") == {"c.py": ["needle new"]}


async def test_a_manifest_says_which_files_are_missing_from_it(tree: Tree):
    await tree.index({"a.py": "one"})
    async with searched(tree.database) as index:
        assert index
        (whole,) = await index.manifests(tree.path)
    await tree.index({"a.py": "one", "b.py": File(outcome="failed")})
    async with searched(tree.database) as index:
        assert index
        (partial,) = await index.manifests(tree.path)
    assert (whole.partial, whole.files_indexed) == (None, 1)
    assert partial.partial == "1 of 2 files could not be indexed: b.py: was failed"


async def test_a_database_without_lexemes_cannot_be_searched(empty_database: Database):
    async with searched(empty_database) as index:
        assert index is None


FILTERS: Final[dict[str, dict[str, Any]]] = {
    "nothing": {},
    "a path": {"path_expression": path_expression("part_7/")},
    "a language": {"language": "go"},
    "a kind": {"kind": "function"},
    "a path that nothing has": {"path_expression": path_expression("nowhere/*.rs")},
}
ITEM: Final = name("item", 12345)
GROUP: Final = name("group", 42)
QUERIES: Final = {
    "a word in every chunk": "return",
    "words in every chunk": "return value if missing self",
    "common words": "raise the error if it is missing",
    "a word in every hundredth": GROUP,
    "a name that is used once": ITEM,
    "a name and a common word": f"return {ITEM}",
    "a word that nobody has": "xylophone",
    "words that nobody has, and a common one": "xylophone zeppelin return",
    "a path": path_of(1234),
    "the name of a file": "module_77.py",
    "a name that many files could have": "module.py and os.path or self.value",
    "many words": " ".join(f"{name('item', number)} {name('group', number % 100)}" for number in range(0, 3000, 70)),
    "as many words as there can be": " ".join(f"{name('item', number)} return" for number in range(130)),
}
MOST_ROWS: Final = CHUNKS // 10
BLOCKS_OF_LOOKUPS: Final = 200
"""A query has many words, and each is looked up, be it there or not."""
SMALL: Final = {"repositories", "manifests", "schema_migrations"}


@pytest.fixture(scope="module")
async def corpus(postgres: Postgres) -> AsyncIterator[Database]:
    """Very many chunks, half of them of a repository that is not published, and their plans are logged."""
    async with new_database(postgres, "project") as database:
        await fill(database, "/srv/large", range(FILES))
        await fill(database, "/srv/other", range(FILES, FILES + 300), is_published=False)
        await prepare(database)
        async with database.connection() as connection:
            await connection.execute("ANALYZE files, blobs, manifests, repositories")
        await log_plans(database)
        await database.close()
        yield database


def wasteful(scans: Sequence[Scan], most_rows: int = MOST_ROWS) -> list[Scan]:
    growing = [scan for scan in scans if scan.table not in SMALL and not scan.table.startswith("pg_")]
    return [
        scan
        for scan in growing
        if scan.is_wasteful(most_rows)
        and (scan.node == "Seq Scan" or scan.rows > most_rows or scan.blocks > BLOCKS_OF_LOOKUPS)
    ]


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
async def test_whatever_is_searched_for_few_rows_are_read(corpus: Database, postgres: Postgres, query: str):
    log = PlanLog(postgres)
    async with searched(corpus) as index:
        assert index
        await find_in(index, query, None)
    scans = log.scans()
    assert {scan.table for scan in scans} >= {"chunks"}
    assert wasteful(scans) == []


@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS)
@pytest.mark.parametrize("query", [GROUP, ITEM, f"{ITEM} return", "xylophone", path_of(1234), "module_77.py"])
async def test_whatever_is_left_out_no_more_is_read_than_matches(corpus, postgres: Postgres, query, filters):
    log = PlanLog(postgres)
    async with searched(corpus) as index:
        assert index
        await find_in(index, query, None, **filters)
    assert wasteful(log.scans()) == []


BAD: Final = {
    "all chunks": "SELECT count(*) FROM chunks WHERE content LIKE '%return%'",
    "all chunks, by their lexemes": "SELECT ordinal FROM chunks WHERE lexemes @@ 'return'",
    "all chunks of an index": "SELECT blob_id FROM chunks ORDER BY blob_id, ordinal",
    "all files": "SET enable_seqscan = off; SELECT FROM files WHERE manifest_id = 1 AND path ~ 'module_77[.]py$'",
}


@pytest.mark.parametrize("query", BAD.values(), ids=BAD)
async def test_a_query_that_reads_a_table_is_noticed(corpus: Database, postgres: Postgres, query: str):
    log = PlanLog(postgres)
    async with corpus.connection() as connection:
        await connection.execute(query)
        await connection.execute("RESET enable_seqscan")
    assert wasteful(log.scans(), FILES // 2)


async def test_what_few_chunks_have_is_found_among_very_many_that_do_not_pass_a_filter(corpus: Database):
    async with searched(corpus) as index:
        assert index
        for filters in ({"path_expression": path_expression(path_of(2999))}, {"path_expression": "^.*_2999[.]py$"}):
            for query in ("return", "return value", "raise error", "return xylophone"):
                places = await find_in(index, query, None, **filters)
                assert list(places) == [path_of(2999)], query
                assert len(places[path_of(2999)]) > 5
        assert await find_in(index, "return", None, language="rust") == {}
        assert await find_in(index, "return", None, kind="class") == {}
        assert len(await find_in(index, "return", None, language="go")) > 0


async def test_what_one_word_matches_is_found_though_the_others_stand_only_where_is_not_searched(project: Database):
    one, other = Tree(project), Tree(project)
    await one.index({f"{number}.py": f"parse what is {number}" for number in range(3)})
    await other.index({f"{number}.py": f"parse the zeppelin {number}" for number in range(30)} | {"z.py": "zeppelin"})
    assert len(await search(one, "parse")) == 3
    assert len(await search(one, "parse zeppelin 0 1 2 3 4 5 6 7")) == 3


async def test_a_word_that_is_in_every_chunk_finds_those_that_are_about_it(corpus: Database):
    async with searched(corpus) as index:
        assert index
        places = await find_in(index, "return", None)
        contents = [content for of_file in places.values() for content in of_file]
        assert all("return return" in content for content in contents[:20])


async def test_a_query_whose_words_are_all_common_still_finds_what_has_them(corpus: Database):
    async with searched(corpus) as index:
        assert index
        frequencies = await index.frequencies(terms("return self missing value if"))
        assert min(frequencies.of_term.values()) > 20_000
        assert frequencies.chunks >= CHUNKS
        places = await find_in(index, "return self if missing value", None)
        assert len(places) > 10


async def test_how_common_a_word_is_is_exact_where_it_is_rare(corpus: Database):
    async with searched(corpus) as index:
        assert index
        found = (await index.frequencies([ITEM, "xylophon", "return"])).of_term
    assert (found[ITEM], found["xylophon"]) == (2, 0)
    assert found["return"] == pytest.approx(CHUNKS * 1.1, rel=0.02)


async def analyses(database: Database) -> int:
    async with database.connection() as connection:
        await connection.execute("SELECT pg_stat_clear_snapshot()")
        return int(await connection.fetchval("SELECT analyze_count FROM pg_stat_user_tables WHERE relname = 'chunks'"))


async def test_lexemes_are_counted_after_a_job_that_made_many_chunks_and_not_after_a_small_one(postgres: Postgres):
    async with new_database(postgres, "project") as database:
        await prepare(database)
        before = await analyses(database)
        await fill(database, "/srv/large", range(100))
        await prepare(database)
        assert await analyses(database) == before + 1
        async with searched(database) as index:
            assert index
            assert (await index.frequencies(["return"])).of_term == {"return": 1000}
        await fill(database, "/srv/small", range(100, 110))
        await prepare(database)
        assert await analyses(database) == before + 1
        await fill(database, "/srv/second", range(110, 160))
        await prepare(database)
        assert await analyses(database) == before + 2


async def test_lexemes_are_counted_though_the_table_was_vacuumed_since_it_grew(postgres: Postgres):
    async with new_database(postgres, "project") as database:
        await fill(database, "/srv/large", range(100))
        await database.close()
        async with database.connection() as connection:
            await connection.execute("VACUUM chunks")
        before = await analyses(database)
        await prepare(database)
        assert await analyses(database) == before + 1
