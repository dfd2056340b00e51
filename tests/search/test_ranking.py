"""Which of two places comes first. How good the ranking is as a whole is for `benchmarks.quality` to say."""

from collections.abc import Sequence

import pytest

from verdex.indexing.chunking import chunk
from verdex.search.query import Term, read
from verdex.search.ranking import Ranking
from verdex.storage.searching import ChunkKey, FoundChunk

LONG = "def long_function():\n" + "".join(f"    needle(haystack, {number})\n" for number in range(200))


async def test_a_definition_comes_before_what_uses_it(places):
    found = await places(
        {
            "a.py": """
                def main():
                    config = parse_config("a")
                    other = parse_config("b")
                    return parse_config
            """,
            "b.py": """
                def parse_config(path):
                    text = open(path).read()
                    return dict(line.split("=") for line in text.splitlines())
            """,
        },
        "parse_config",
    )
    assert found[:2] == [("b.py", "parse_config"), ("a.py", "main")]


async def test_what_is_called_so_comes_before_what_is_called_so_in_part(places):
    files = {
        f"{name}.py": f"def {name}(path):\n    return open(path)\n"
        for name in ("parse_config_file", "parse_config", "config", "parse_config_of_parse_config")
    }
    assert (await places(files, "parse_config"))[0] == ("parse_config.py", "parse_config")
    assert (await places(files, "parseConfig"))[0] == ("parse_config.py", "parse_config")


async def test_a_method_is_found_by_its_name_and_that_of_its_class(places):
    files = {
        f"{name.lower()}.py": f"class {name}:\n"
        + "".join(
            f"    def {method}(self):\n        return {number}\n" + "        # filler\n" * 40
            for number, method in enumerate(("open", "feed", "close"))
        )
        for name in ("Parser", "Writer")
    }
    assert (await places(files, "Writer.feed"))[0] == ("writer.py", "Writer.feed")
    assert (await places(files, "parser feed"))[0] == ("parser.py", "Parser.feed")


async def test_a_test_comes_after_what_it_tests_unless_tests_are_asked_for(places):
    body = "(path):\n    config = read(path)\n    return config\n"
    files = {"src/config.py": f"def load_config{body}", "tests/test_config.py": f"def test_load_config{body}"}
    assert [path for path, _ in await places(files, "load config")][:2] == ["src/config.py", "tests/test_config.py"]
    assert (await places(files, "test load config"))[0][0] == "tests/test_config.py"


async def test_a_file_that_the_query_names_comes_first(places):
    files = {
        "src/server/config.py": "VALUE = 1\n",
        "src/client/config.py": "VALUE = 2\n",
        "docs/all.md": "# Files\n\nThe server has a config, which is of the client too.\n",
    }
    for query in ("src/server/config.py", "server/config.py", "what is in server/config.py"):
        assert (await places(files, query))[0][0] == "src/server/config.py", query


async def test_the_text_of_an_error_leads_to_where_it_stands_as_it_is_written(places):
    found = await places(
        {
            "a.py": """
                def drop(peer):
                    '''A peer whose connection is gone asks for a reset.'''
                    return peer.close()
            """,
            "b.py": """
                def receive(socket):
                    data = socket.recv(4096)
                    if not data:
                        raise ConnectionError("Connection  reset by peer")
                    return data
            """,
        },
        "connection reset by peer",
    )
    assert found[0][0] == "b.py"


async def test_what_has_more_of_the_words_comes_first(places):
    files = {
        "one.py": "def one():\n    alpha()\n",
        "three.py": "def three():\n    alpha(beta, gamma)\n",
        "two.py": "def two():\n    alpha(beta)\n",
    }
    found = await places(files, "alpha beta gamma")
    assert [path for path, _ in found] == ["three.py", "two.py", "one.py"]


async def test_a_definition_that_was_cut_is_found_once(places):
    assert len(chunk(LONG, "python")) > 3
    found = await places({"a.py": LONG, "b.py": "def other():\n    needle()\n"}, "needle haystack")
    assert found == [("a.py", "long_function"), ("b.py", "other")]


async def test_parts_outside_of_definitions_are_told_apart(places):
    text = "\n\n".join(f"needle number {number} " + "of a long line of prose " * 120 for number in range(4))
    assert len(await places({"notes.txt": text}, "needle")) == len(chunk(text, None)) == 4


async def test_the_same_query_has_the_same_answer(places, tree):
    files = {f"{name}.py": "def same():\n    needle()\n" for name in "cab"} | {"d.py": "def d():\n    needle()\n" * 2}
    found = await places(files, "needle")
    for _ in range(3):
        assert [(one.file_path, one.chunk.symbol) for one in await tree.find("needle")] == found
    once = await tree.find("needle")
    ranking = Ranking(read("needle"), [], {})
    chunks = [one.chunk for one in once]
    assert ranking.ranked(chunks) == ranking.ranked(chunks[::-1])


async def test_every_score_is_between_0_and_1(tree):
    await tree.hold({"src/needle.py": "def needle():\n    needle(needle)\n" * 3, "b.py": "x = 'needle in hay'\n"})
    for query in ("needle", "src/needle.py needle", "needle in hay", "needle zeppelin", "def needle needle needle"):
        scores = [one.score for one in await tree.find(query)]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)


def found(number: int, content: str) -> FoundChunk:
    return FoundChunk(ChunkKey(number, 0), 1, 1, "function", None, content, "python", [("/repository", f"{number}.py")])


def order(query: str, chunks: Sequence[FoundChunk], *similarities: float) -> list[int]:
    """The numbers of chunks, the best first, that are so similar to what a query means."""
    asked = read(query)
    told = [Term(term, 1.0, term) for term in asked.terms]
    by_key = {chunk.key: similarity for chunk, similarity in zip(chunks, similarities, strict=True)}
    return [one.chunk.key.blob_id for one in Ranking(asked, told, by_key).ranked(chunks)]


@pytest.mark.parametrize("scale", [0.01, 1])
def test_among_what_the_words_tell_of_alike_meaning_decides_whatever_the_scale_of_an_embedder(scale: float):
    chunks = [found(number, "open the file") for number in range(3)]
    assert order("open", chunks, 0.1 * scale, 0.9 * scale, -0.2 * scale) == [1, 0, 2]


def test_what_has_all_the_words_comes_before_what_is_nearest_in_meaning():
    chunks = [found(0, "unlock the vault"), found(1, "open the file and read it")]
    assert order("open file", chunks, 0.9, 0.1) == [1, 0]


def test_where_no_word_is_found_meaning_alone_decides():
    chunks = [found(number, content) for number, content in enumerate(["the soup", "the car", "the road"])]
    assert order("vehicle", chunks, 0.1, 0.8, 0.4) == [1, 2, 0]
