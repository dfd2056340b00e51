"""A glob over paths means what it does in .gitignore, to git, to Python and to PostgreSQL."""

import re
import subprocess
from typing import Final

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import bounded
from verdex.local.postgres import Postgres
from verdex.sources.gitignore import path_expression

PATHS: Final = (
    "a.py", "b.pyc", "top.py", "deep/top.py", "src/a.py", "src/deep/er/a.py", "lib/src/a.py", "src.py/b", "srcs/a",
    "docs/a.md", "docs/x/a.md", "docs/x/y/a.md", "docs.md", "other/docs/a.md", "x", "a/x", "a/b/x", "x/y", "ax",
    "a.c", "b.c", "c.c", "ab.c", "[ab].c", "sub/a.c", "star*.c", "back\\slash.c", "new\nline.py", "trailing ", "a b",
    "a+b(c).py", "^a$.py", "{a}|b.py", ".hidden/a.py", "größe.py", "ж.c", "é.c", "Ã.c", "日本/語.py", "#hash", "!bang",
    "-a.py", "a-b", "Upper/A.PY", "&~.py", "a/b/c/d.py", "a/c/d.py", "tab\t.py",
)  # fmt: skip
GLOBS: Final = (
    "*.py", "src/", "src", "/src", "src/*", "src/**", "docs/**/*.md", "docs/*.md", "**/x", "x", "/x", "/top.py",
    "top.py", "[ab].c", "[!ab].c", "[^a-b].c", "[[:alpha:]].c", "\\[ab\\].c", "?.c", "a?", "a**x", "**", "*", "*/",
    "a/**/d.py", "**/docs/**", "star\\*.c", "back\\\\slash.c", "a b", "trailing\\ ", "trailing ", "*.[cp]y", "[]a].c",
    "[a-]*", "größe.py", "gr*e.py", "gr???e.py", "gr??e.py", "[!a].c", "日本/", "日*/*.py", "\\#hash", "\\!bang",
    "a+b(c).py", "^a$.py", "{a}|b.py", ".hidden", "-a.py", "&~.py", "new?line.py", "[x-z]/**", "[z-a].c", "A.PY",
)  # fmt: skip
MALFORMED: Final = ("", "/", "[", "[a", "a[", "[!", "a\\", "!a.py", "#a.py", "./", " ")


def in_python(glob: str) -> list[str]:
    expression = path_expression(glob)
    assert expression is not None
    return [path for path in PATHS if re.fullmatch(expression, path, re.DOTALL)]


@pytest.fixture(scope="session")
async def postgresql(postgres: Postgres):
    connection = await asyncpg.connect(postgres.url("postgres"))
    yield connection
    await connection.close()


async def in_postgresql(connection: asyncpg.Connection, expression: str | None) -> list[str]:
    query = (
        "SELECT path FROM unnest($1::text[]) WITH ORDINALITY AS given (path, number) WHERE path ~ $2 ORDER BY number"
    )
    return [row["path"] for row in await connection.fetch(query, PATHS, expression)]


@pytest.mark.parametrize("glob", GLOBS, ids=repr)
def test_a_glob_matches_what_git_ignores_by_it(glob, root, fill, git):
    fill({".gitignore": f"{glob}\n"})
    git("init", "-q")
    asked = "\0".join("./" + path for path in PATHS).encode()
    command = ["git", "check-ignore", "--no-index", "--stdin", "-z"]
    named = subprocess.run(command, cwd=root, input=asked, capture_output=True, check=False).stdout
    ignored = {name.removeprefix("./") for name in named.decode().split("\0")[:-1]}
    assert {path for path in in_python(glob) if path.isascii()} == {path for path in ignored if path.isascii()}


@pytest.mark.parametrize("glob", GLOBS, ids=repr)
async def test_postgresql_and_python_agree_on_a_glob(glob, postgresql):
    assert await in_postgresql(postgresql, path_expression(glob)) == in_python(glob)


@pytest.mark.parametrize(
    ("glob", "matched"),
    [
        ("[é].c", ["é.c"]),
        ("[!a].c", ["b.c", "c.c", "ж.c", "é.c", "Ã.c"]),
        ("[!é].c", ["a.c", "b.c", "c.c", "sub/a.c", "ж.c", "Ã.c"]),
        ("[а-я].c", ["ж.c"]),  # noqa: RUF001
        ("gr??e.py", ["größe.py"]),
        ("?.c", ["a.c", "b.c", "c.c", "sub/a.c", "ж.c", "é.c", "Ã.c"]),
    ],
)
async def test_a_sign_of_any_script_is_one(glob, matched, postgresql):
    assert in_python(glob) == matched
    assert await in_postgresql(postgresql, path_expression(glob)) == matched


@pytest.mark.parametrize("glob", MALFORMED, ids=repr)
def test_what_can_match_no_path_is_no_glob(glob):
    assert path_expression(glob) is None


@pytest.mark.parametrize(("glob", "same"), [("./src", "src"), ("./*.py", "*.py")])
def test_a_glob_may_begin_where_the_paths_do(glob, same):
    assert path_expression(glob) == path_expression(same)


@bounded(300)
@given(st.text(st.sampled_from("ab*?[]!^-/\\.é日\n (){}|+$&~#:"), max_size=12))
async def test_postgresql_reads_every_glob_as_python_does(postgresql, glob):
    if (expression := path_expression(glob)) is not None:
        assert await in_postgresql(postgresql, expression) == in_python(glob)
