"""What is copied into the index is what PostgreSQL reads there, whatever a text holds; none is refused."""

from collections.abc import Iterator
from typing import Final
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import bounded
from verdex.indexing.chunking import Chunk, chunk
from verdex.storage import blobs
from verdex.storage.blobs import BlobKey
from verdex.storage.copying import encoded
from verdex.storage.database import Database
from verdex.terms import MAX_TEXT, lexemes

ASTRAL: Final = [chr(code) for code in range(0x20000, 0x2A6DF)]
WEIGHTS: Final = {"D": 0, "C": 1, "B": 2, "A": 3}
_READ: Final = """
SELECT content, symbol, ARRAY(SELECT lexeme FROM unnest(lexemes)) AS lexemes,
       ARRAY(SELECT weights[1] FROM unnest(lexemes)) AS weights,
       (SELECT bool_and(positions = '{1}') FROM unnest(lexemes)) AS at_one
FROM chunks WHERE blob_id = $1 ORDER BY ordinal
"""


def long_names(of_parts: int) -> str:
    """As many and as long terms as a text can have: no character stands in another word as well."""
    one = iter(ASTRAL)
    words = ("".join(next(one) for _ in range(62)) + "a" * of_parts + "1" for _ in range(len(ASTRAL) // 62))
    return " ".join(words)


def minified() -> Iterator[str]:
    for number in range(400_000):
        yield f"function a{number}(b){{return b.c{number % 7}('\\\\n')+\"{number}\"}}"


CONTENTS: Final = {
    "quotes": """'it''s' "quoted" `code` «so» \\' '' \\\\' ''';""",
    "backslashes": r"C:\new\temp \\ \' \x27 \0 \N '\\'",
    "what a tsquery has": "a & b | !c <-> d:* 'e':A,2B (f) +g +h",
    "plus signs": "+plus ++i; a+b += +plus+plus " * 20,
    "control characters": "".join(map(chr, range(1, 32))) + "word\x7f\x85\u2028\ufeff\ufffdword\ufffe\uffff",
    "no word": "!?() ---",
    "a very long word": "z" * 5_000,
    "a longer word of many parts": "aB" * 40_000,
    "characters of four bytes": "\U0001d4b3\U0001d4b4 😀 " + "".join(ASTRAL[:200]),
    "capitals that have longer small ones": "İ" * 70 + " İa" * 70,
    "digits of the world": "٣٤٥ ४५ \U0001d7d8\U0001d7d9 ²³ Ⅷ",
    "100,000 different words": "\n".join(f"word{number:06} v{number:06}" for number in range(50_000)),
    "100,000 different words in a line": " ".join(f"w{number}" for number in range(100_000)),
    "as many terms as there can be": " ".join(f"{one}a" for one in ASTRAL[:33_000]),
    "as long terms as there can be": long_names(1),
    "a line that is never split": "(" * 200_000 + "end",
    "32 MB in one line": ";".join(minified())[: 32 * 1024 * 1024],
}


async def store(database: Database, chunks: list[Chunk]) -> list[dict[str, int]]:
    """Store chunks as an indexing job does; what is stored then."""
    async with database.transaction() as connection:
        await connection.execute("INSERT INTO repositories (path) VALUES ($1)", path := f"/srv/{uuid4().hex}")
        manifest_id = await connection.fetchval(
            """
            INSERT INTO manifests (repository_id, job_id, force_reindex, pipeline_version, base_generation)
            SELECT id, gen_random_uuid(), false, 2, 0 FROM repositories WHERE path = $1 RETURNING id
            """,
            path,
        )
        key = BlobKey(uuid4().bytes * 2, "")
        ids = await blobs.store(connection, manifest_id, {key: encoded(chunks)})
        rows = await connection.fetch(_READ, ids[key])
    assert [(row["content"], row["symbol"]) for row in rows] == [(one.content, one.symbol) for one in chunks]
    assert all(row["at_one"] in {True, None} for row in rows)
    return [dict(zip(row["lexemes"], (WEIGHTS[weight] for weight in row["weights"]), strict=True)) for row in rows]


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
async def test_the_terms_of_any_content_are_in_the_index_with_their_weights(project, content):
    chunks = chunk(content, None)
    assert await store(project, chunks) == [lexemes(one.content, one.symbol) for one in chunks]


@pytest.mark.parametrize("symbol", [None, "", "it's.\\+x", "Guide > 'First' & \\ steps", "z" * 5_000, "".join(ASTRAL)])
async def test_the_terms_of_any_symbol_are_in_the_index_with_their_weights(project, symbol):
    one = Chunk(1, 1, "function", symbol, "a = 1")
    (stored,) = await store(project, [one])
    assert stored == lexemes("a = 1", symbol)


@pytest.mark.parametrize("characters", [ASTRAL, [chr(code) for code in range(0x4E00, 0x9FFF)]], ids=["4", "3"])
@pytest.mark.parametrize("length", [1, 2, 3, 15, 31, 63, 127])
async def test_no_content_has_more_terms_than_a_row_can_hold(project, characters, length):
    words = ["".join(characters[at : at + length]) + "a1" for at in range(0, len(characters) - length, length)]
    line = " ".join(words)[:MAX_TEXT]
    one = Chunk(1, 1, "text", line[:2_000], line)
    assert await store(project, [one]) == [lexemes(one.content, one.symbol)]


@bounded(60)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=80),
            st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
        ),
        max_size=20,
    )
)
async def test_whatever_a_chunk_holds_is_stored_as_it_is(project, given):
    chunks = [Chunk(1, 1, "text", symbol, content) for content, symbol in given]
    assert await store(project, chunks) == [lexemes(content, symbol) for content, symbol in given]
