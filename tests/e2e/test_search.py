import json
from pathlib import Path

import click
import pytest

ANSWER = {
    "query", "project_id", "results", "total_count", "offset", "repositories", "warnings", "latency_ms",
}  # fmt: skip
RESULT = {
    "chunk_id", "repo_path", "file_path", "start_line", "end_line", "language", "kind", "symbol", "content", "copies",
    "similarity_score",
}  # fmt: skip
REPOSITORY = {"repo_path", "job_id", "indexed_at", "files_indexed", "warnings"}
CODE = """\
import socket


def receive(connection):
    data = connection.recv(4096)
    if not data:
        raise ConnectionError("connection reset by peer")
    return data


class Pool:
    def __init__(self, size):
        self.size = size
"""


@pytest.fixture
def code(stack, write, tmp_path: Path) -> Path:
    """A repository that was indexed."""
    root: Path = write(tmp_path / "code", {"src/net.py": CODE, "README.md": "# Pools\n\nHow connections are kept.\n"})
    assert stack("index", root).code == 0
    return root


def test_the_output_is_places_with_their_lines_and_says_which_index_was_searched(stack, code: Path):
    ended = stack("search", "connection", "reset", "by", "peer", "--repo", code, cwd="/")
    assert ended.code == 0
    first, *snippet = ended.out.split("\n\n")[0].splitlines()
    assert first == f"{str(code)[1:]}/src/net.py:4  function receive"
    assert snippet == [
        "  4  def receive(connection):",
        "  5      data = connection.recv(4096)",
        "  6      if not data:",
        '  7          raise ConnectionError("connection reset by peer")',
        "  8      return data",
    ]
    job = stack("jobs", "--repo", code, "--json").json[0]
    assert ended.err.startswith("verdex: 1-")
    assert f"Searched {code}, indexed " in ended.err
    assert ended.err.endswith(f" by job {job['job_id'][-8:]}\n")


def test_the_words_of_a_query_need_no_quotes(stack, code: Path):
    apart, together = (
        stack("search", *query, "--repo", code, "--json").json["results"]
        for query in (["how", "connections", "are", "kept?"], ["how connections are kept?"])
    )
    assert apart == together
    assert apart[0]["file_path"] == "README.md"


def test_within_the_repository_paths_are_relative(stack, code: Path, tmp_path: Path):
    def shown(cwd: Path) -> str:
        return str(stack("search", "pool", "size", "--repo", code, "-k", 1, cwd=cwd).out).split(":")[0]

    assert shown(code) == "src/net.py"
    assert shown(code / "src") == "net.py"
    assert shown(tmp_path) == "code/src/net.py"
    (tmp_path / "elsewhere").mkdir()
    assert shown(tmp_path / "elsewhere") == str(code / "src" / "net.py")
    assert stack("search", "pool", "--repo", ".", "--json", cwd=code).json["repositories"][0]["repo_path"] == str(code)


def test_in_json_there_is_all_that_is_known(stack, code: Path):
    ended = stack("search", "receive", "--repo", code, "-k", 1, "--json")
    assert (ended.code, ended.err) == (0, "")
    answer = ended.json
    assert answer.keys() == ANSWER
    (result,) = answer["results"]
    assert result.keys() == RESULT
    content = "\n".join(CODE.split("\n")[result["start_line"] - 1 : result["end_line"]])
    assert (result["symbol"], result["kind"], result["language"]) == ("receive", "function", "python")
    assert (result["content"], result["repo_path"], result["file_path"]) == (content, str(code), "src/net.py")
    (repository,) = answer["repositories"]
    job = stack("jobs", "--repo", code, "--json").json[0]
    assert repository.keys() == REPOSITORY
    assert (repository["job_id"], repository["indexed_at"]) == (job["job_id"], job["completed_at"])
    assert (answer["query"], answer["project_id"], answer["warnings"]) == ("receive", "default", [])


@pytest.mark.parametrize(
    ("options", "files"),
    [
        (["--path", "*.md"], {"README.md"}),
        (["--path", "src/"], {"src/net.py"}),
        (["--language", "python"], {"src/net.py"}),
        (["--kind", "class"], {"src/net.py"}),
        (["--path", "nowhere/"], set()),
    ],
)
def test_filters_leave_places_out(stack, code: Path, options, files):
    found = stack("search", "connections", "pools", "--repo", code, *options, "--json").json
    assert {result["file_path"] for result in found["results"]} == files


def test_the_next_page_is_told_and_behind_the_last_there_is_none(stack, code: Path):
    whole = stack("search", "connection", "--repo", code, "--json").json
    first = stack("search", "connection", "--repo", code, "-k", 1)
    assert first.err.startswith(f"verdex: 1-1 of the best {whole['total_count']}, more with --offset 1 (")
    second = stack("search", "connection", "--repo", code, "-k", 1, "--offset", 1, "--json").json
    assert second["results"] == whole["results"][1:2]
    beyond = stack("search", "connection", "--repo", code, "--offset", 99)
    assert (beyond.code, beyond.out) == (0, "")
    assert beyond.err.startswith(f"verdex: there are no more than {whole['total_count']} (")


def test_where_nothing_is_found_it_says_so(stack, code: Path):
    ended = stack("search", "xylo\x1b[31mphone\n", "--repo", code)
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith('verdex: nothing found for "xylo\\x1b[31mphone\\n" (')
    assert f"Searched {code}" in ended.err
    assert stack("search", "xylophone", "--repo", code, "--json").json["results"] == []


def test_a_job_that_failed_since_is_told_on_stderr_and_in_json(stack, code: Path):
    code.rename(code.with_name("moved"))
    failed = stack("index", code, "--json").json
    ended = stack("search", "receive", "--repo", code)
    assert ended.code == 0
    told = f"{code}: the newest job, {failed['job_id']}, failed: {failed['error_message']}; this is the index from "
    assert ended.err.splitlines()[0].startswith(f"verdex: warning: {told}")
    assert stack("search", "receive", "--repo", code, "--json").json["warnings"][0].startswith(told)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["?!"], "there is no word to look for in the query"),
        ([""], "there is no word to look for in the query"),
        (["one", "--path", "[a"], "'[a' is no glob of paths"),
        (["one", "--language", "phyton"], "there is no language 'phyton': give one of bash, c, cpp, "),
        (["one", "--kind", "func"], "there is no kind 'func': give one of class, "),
        (["one", "--project", "nobodys"], 'project "nobodys" does not exist'),
        (["one", "--repo", "/nowhere"], '/nowhere is not indexed in project "default": verdex index /nowhere '),
        (["one", "--repo", "~nobody-of-this-name/x"], "cannot be indexed: "),
        (["--", "--json", "--project"], None),
    ],
)
def test_what_cannot_be_searched_is_wrong_usage_in_one_line(stack, first, arguments, told):
    ended = stack("search", *arguments)
    if told is None:
        assert ended.code == 0
        return
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert told in ended.err
    in_json = stack("search", *arguments, "--json")
    assert (in_json.code, in_json.err) == (2, ended.err)
    assert told in in_json.json["error"]


def test_a_project_without_an_index_says_what_to_type(stack):
    stack("project", "create", "unindexed")
    ended = stack("search", "one", "--project", "unindexed")
    assert ended.code == 2
    assert 'nothing is indexed in project "unindexed": verdex index PATH --project unindexed' in ended.err


@pytest.mark.parametrize("arguments", [["x", "-k", "0"], ["x", "-k", "101"], ["x", "--offset", "-1"], []], ids=str)
def test_wrong_options_are_wrong_usage(stack, arguments):
    assert stack("search", *arguments).code == 2


def test_a_query_that_begins_with_a_dash_stands_behind_two(stack, code: Path):
    found = stack("search", "--repo", code, "--", "--json", "receive", "-k")
    assert found.code == 0
    assert "src/net.py:4" in found.out
    refused = stack("search", "--repo", "/nowhere", "--", "--json")
    assert (refused.code, refused.out) == (2, "")


def test_nothing_that_a_file_or_its_name_holds_reaches_the_terminal_but_text(stack, write, tmp_path: Path):
    name = "new\nline\x1b[2J.py"
    lines = ["needle = '\x1b]0;title\x07\x9b31m\u202e'", "\tneedle\r", "\u0007needle", "x = 1\x0c"]
    root = write(tmp_path / "odd\x1b[31m", {name: "\n".join(lines)})
    assert stack("index", root).code == 0
    ended = stack("search", "needle", "--repo", root, cwd="/")
    assert ended.code == 0
    assert all(one.isprintable() or one == "\n" for one in ended.out + ended.err)
    first, *snippet = ended.out.splitlines()
    assert first.endswith(r"/odd\x1b[31m/new\nline\x1b[2J.py:1  module")
    assert snippet[0] == r"  1  needle = '\x1b]0;title\x07\x9b31m\u202e'"
    assert snippet[1] == "  2      needle"
    found = stack("search", "needle", "--repo", root, "--json").json["results"][0]
    assert found["file_path"] == name
    assert found["content"] == "\n".join(lines)


def test_what_is_not_text_at_all_is_searched_for_all_the_same(stack, code: Path):
    ended = stack("search", b"receive \xff".decode(errors="surrogateescape"), "--repo", code, "--json")
    assert ended.code == 0
    assert ended.json["results"][0]["symbol"] == "receive"


def test_colours_are_for_terminals_and_for_who_wants_them(stack, code: Path):
    arguments = ("search", "receive", "--repo", code, "-k", 1)
    plain = stack(*arguments).out
    assert "\x1b" not in plain
    coloured = stack(*arguments, FORCE_COLOR="1").out
    assert "\x1b[31m" in coloured
    assert click.unstyle(coloured) == plain
    without = stack(*arguments, FORCE_COLOR="1", NO_COLOR="1").out
    assert "\x1b[3" not in without
    assert "\x1b[1m" in without
    assert "\x1b" not in json.dumps(stack(*arguments, "--json", FORCE_COLOR="1").json, ensure_ascii=False)


def test_of_a_long_line_only_the_begin_is_shown(stack, write, tmp_path: Path):
    root = write(tmp_path / "minified", {"all.js": "needle();" * 200_000})
    assert stack("index", root).code == 0
    assert "only the first 100,000 characters are searched" in stack("files", root).out
    ended = stack("search", "needle", "--repo", root)
    assert len(ended.out) < 1000
    assert len(stack("search", "needle", "--repo", root, "--json").json["results"][0]["content"]) == 100_000


def test_the_lines_of_a_longer_definition_are_those_that_have_the_words(stack, write, tmp_path: Path):
    body = "".join(f"    value_{number} = {number}\n" for number in range(40))
    root = write(tmp_path / "long", {"a.py": f"def function():\n{body}    return the_needle\n"})
    assert stack("index", root).code == 0
    first, *snippet = stack("search", "what", "is", "the", "needle", "--repo", root, cwd=root).out.splitlines()
    assert first == "a.py:1  function function"
    assert snippet[5] == "  42      return the_needle"
