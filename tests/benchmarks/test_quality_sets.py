"""The sets ask what they say, and the right answers are right."""

import ast
import subprocess
from pathlib import Path
from typing import Final

import pytest

from benchmarks.quality import commits, docstrings, identifiers
from benchmarks.quality.sets import PARTS, Place, Query, part_of, sampled

SHAPES: Final = '''\
import functools


class Parser:
    """Parse what the network sends us."""

    @functools.cache
    def feed(self, data):
        """Give some more bytes to it.

        They may end anywhere.
        """

        return data

    @property
    def is_done(self):
        """Whether nothing is left to parse."""

    def close(self): "Close it and everything below."

    def reset(self):
        """Forget all that came before."""; self.data = None

    def short(self):
        """Too short."""
        return 1


def outer():
    ("Say in parentheses "
     "what this one does.")
    def inner():
        """Do what the outer one promised é."""  # indeed
        return 2
    return inner


async def twice():
    """Wait until it is there."""
    return 3


def again():
    """Wait until it is there."""
    return 4
'''
ASKED: Final = {
    "Give some more bytes to it.": "feed",
    "Whether nothing is left to parse.": "is_done",
    "Close it and everything below.": "close",
    "Forget all that came before.": "reset",
    "Say in parentheses what this one does.": "outer",
    "Do what the outer one promised é.": "inner",
}
SOMEWHERE: Final = Place("a.py", 1, 10)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with every way to write a docstring, and with files that cannot be asked for."""
    root = tmp_path / "tree"
    (root / "test").mkdir(parents=True)
    (root / "shapes.py").write_text(SHAPES)
    (root / "test" / "test_shapes.py").write_text('def test_it():\n    """It does what it should."""\n')
    (root / "broken.py").write_text("def (:\n")
    (root / "windows.py").write_bytes(b'def windows():\r\n    """The lines end in another way."""\r\n')
    return root


@pytest.fixture
def of_docstrings(root, tmp_path):
    return docstrings.made(root, tmp_path / "made")


def test_a_docstring_is_asked_for_if_it_is_long_enough_and_the_only_one(of_docstrings):
    assert {query.text for query in of_docstrings.queries} == ASKED.keys()


def test_what_is_asked_for_is_gone_from_the_tree_and_everything_else_is_there(of_docstrings):
    left = (of_docstrings.root / "shapes.py").read_text()
    assert not any(part in left for text in ASKED for part in (text, text[:14]))
    assert left.count("Wait until it is there.") == 2
    for other in ("Parse what the network", "Too short.", "# indeed", "self.data = None"):
        assert other in left
    names = [node.name for node in ast.walk(ast.parse(left)) if isinstance(node, ast.FunctionDef)]
    assert names == [node.name for node in ast.walk(ast.parse(SHAPES)) if isinstance(node, ast.FunctionDef)]


def test_the_right_answer_is_where_the_function_is_without_its_docstring(of_docstrings):
    lines = (of_docstrings.root / "shapes.py").read_text().split("\n")
    for text, [place] in of_docstrings.queries:
        found = "\n".join(lines[place.start_line - 1 : place.end_line])
        assert found.strip().startswith(("def ", "@"))
        assert f"def {ASKED[text]}(" in found
    feed = next(place for text, [place] in of_docstrings.queries if ASKED[text] == "feed")
    assert feed == Place("shapes.py", 7, 10)
    assert lines[9] == "        return data"


def test_nothing_changes_where_nothing_is_removed():
    assert docstrings.without_docstrings(SHAPES, []) == SHAPES


def test_a_name_is_asked_for_if_nothing_else_has_its_words(tmp_path):
    (tmp_path / "one.py").write_text(
        "class HTTPConnection:\n    def request(self): ...\n    def __init__(self): ...\n    retries = 3\n"
        "def parse_all():\n    def inner(): ...\n"
        "def open_it(): ...\n"
    )
    (tmp_path / "two.py").write_text(
        "class HttpConnection: ...\nparseAll = 1\nclass Other:\n    def open_it(self): ...\n"
    )
    found = {query.text: query.right for query in identifiers.made(tmp_path).queries}
    by_words = {identifiers.words(text): places for text, places in found.items()}
    assert by_words == {
        ("http", "connection", "request"): [Place("one.py", 2, 2)],
        ("other",): [Place("two.py", 3, 4)],
        ("other", "open", "it"): [Place("two.py", 4, 4)],
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("HTTPConnection", ("http", "connection")),
        ("snake_case_2", ("snake", "case", "2")),
        ("parseXML", ("parse", "xml")),
        ("Parser.__feed__", ("parser", "feed")),
        ("größe", ("größe",)),
    ],
)
def test_identifiers_are_split_into_words(name, expected):
    assert identifiers.words(name) == expected


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Very many functions in one commit, two in the next, none in the next, and one that has too few words."""
    root = tmp_path / "history"
    many = [f"def number_{number}():\n    return {number}\n" for number in range(12)]
    _commit(root, "feat(core)!: begin with very many functions", "\n\n".join(many))
    many[3] = "def number_3():\n    return 33\n"
    _commit(root, "fix: three gives what it should give", "\n\n".join([*many, "def more():\n    pass\n"]))
    _commit(
        root, "docs: say more about what this is", "\n\n".join([*many, "def more():\n    pass\n"]) + "\n\n# the end\n"
    )
    many[5] = "def number_5():\n    return 55\n"
    _commit(root, "fix: five too", "\n\n".join([*many, "def more():\n    pass\n"]) + "\n\n# the end\n")
    return root


def _commit(root: Path, subject: str, source: str) -> None:
    root.mkdir(exist_ok=True)
    (root / "many.py").write_text(source)
    if not (root / ".git").exists():
        subprocess.run(["git", "init", "--quiet", root], check=True)
    subprocess.run(["git", "-C", root, "add", "--all"], check=True)
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    subprocess.run(["git", "-C", root, *who, "commit", "--quiet", "--message", subject], check=True)


def test_a_commit_asks_for_the_functions_that_it_was_the_last_to_change(history, tmp_path):
    made = commits.made(history, tmp_path / "made")
    assert made.queries == [
        Query("three gives what it should give", [Place("many.py", 13, 14), Place("many.py", 49, 50)])
    ]
    assert (made.root / "many.py").read_text() == (history / "many.py").read_text()


def test_the_parts_are_disjoint_and_the_same_each_time():
    queries = [Query(f"query {number}", [SOMEWHERE]) for number in range(200)]
    dev, held_out = (sampled(queries, part, 1_000, seed=1) for part in PARTS)
    assert len(dev) + len(held_out) == 200
    assert not {query.text for query in dev} & {query.text for query in held_out}
    assert 70 < len(dev) < 130
    assert [part_of(text) for text in ("query 1", "query 2", "query 4")] == ["dev", "held-out", "dev"]


def test_a_sample_depends_on_the_seed_and_not_on_the_order():
    queries = [Query(f"query {number}", [SOMEWHERE]) for number in range(200)]
    some = sampled(queries, "dev", 10, seed=1)
    assert len(some) == 10
    assert some == sampled(reversed(queries), "dev", 10, seed=1)
    assert some != sampled(queries, "dev", 10, seed=2)
