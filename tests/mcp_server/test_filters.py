import re

import pytest

from verdex.errors import QueryInvalid, RepositoryError
from verdex.mcp_server.filters import absolute, path_glob
from verdex.sources.gitignore import path_expression


@pytest.mark.parametrize(
    ("path", "directory", "file_type", "glob"),
    [
        (None, None, None, None),
        ("src/*.py", None, None, "src/*.py"),
        (None, "src", None, "src/**"),
        (None, "./src/api/", None, "src/api/**"),
        (None, ".", None, None),
        (None, "app/[id]/a*", None, "app/\\[id]/a\\*/**"),
        ("*.ts", "#private", None, "\\#private/*.ts"),
        (None, "!odd", "py", "\\!odd/**/*.py"),
        (None, None, "py", "**/*.py"),
        (None, None, ".py", "**/*.py"),
        (None, "src", "py", "src/**/*.py"),
        ("api/*.py", "src", None, "src/api/*.py"),
        ("src/", None, "py", "src/**/*.py"),
        ("src/*", None, "py", "src/*.py"),
        ("**/test_*", None, "py", "**/test_*.py"),
        ("src/main.*", None, "py", "src/main.py"),
        ("src/main.py", None, "py", "src/main.py"),
    ],
)
def test_path_directory_and_file_type_are_one_glob(path, directory, file_type, glob):
    assert path_glob(path, directory, file_type) == glob


@pytest.mark.parametrize("directory", ["app/[id]", "a*b", "a?", "#a", "!a", "a b", "back\\slash"])
def test_a_directory_is_what_it_is_called_whatever_its_name_means_in_a_glob(directory):
    glob = path_glob(None, directory, None)
    assert glob
    expression = path_expression(glob)
    assert expression
    assert re.fullmatch(expression, f"{directory}/deep/a.py")
    assert not re.fullmatch(expression, "app/i/a.py")
    assert not re.fullmatch(expression, "aXb/a.py")


@pytest.mark.parametrize("directory", ["/src", "../src", "src/../.."])
def test_a_directory_outside_of_any_repository_is_refused(directory):
    with pytest.raises(QueryInvalid, match="relative to its root"):
        path_glob(None, directory, None)


def test_a_path_that_cannot_have_the_file_type_is_refused():
    with pytest.raises(QueryInvalid, match="give one of them"):
        path_glob("src/main.c", None, "py")


@pytest.mark.parametrize("repo_path", ["", ".", "src", "~/src", "/a\0b"])
def test_a_repository_that_an_agent_may_see_elsewhere_is_refused(repo_path):
    with pytest.raises(RepositoryError, match="give the absolute path"):
        absolute(repo_path)
