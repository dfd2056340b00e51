"""An embedder as a person gives it to a project, and what they find by it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.backends import nobody
from tests.e2e.conftest import Command
from tests.embedding.model import DIMENSIONS, model_directory
from tests.embedding.server import EmbeddingServer, serving

NOTICE = "index its repositories again (verdex index PATH); until then, searches use what is there\n"


@pytest.fixture(scope="module")
def model(scratch: Path) -> Path:
    return model_directory(scratch)


@pytest.fixture(scope="module")
def endpoint(model: Path) -> Iterator[EmbeddingServer]:
    with serving(model) as endpoint:
        yield endpoint


@pytest.fixture
def cars(scratch: Path, write: Callable[..., Path]) -> Path:
    files = {
        "garage.py": "def start(automobile):\n    return automobile.engine.ignite()\n",
        "kitchen.py": "def cook(soup):\n    return soup.boil(minutes=20)\n",
        "letters.py": "def send(envelope):\n    return envelope.stamp()\n",
    }
    return write(scratch / "cars", files)


def test_a_search_finds_by_meaning_what_shares_no_word_with_the_query(stack: Command, cars: Path, endpoint):
    created = stack(
        "project", "create", "meaning", "--embedder", "ollama:wordllama", "--embedder-url", f"{endpoint.url}/"
    )
    described = f"ollama:wordllama at {endpoint.url} ({DIMENSIONS} dimensions)"
    assert (created.code, created.out) == (
        0,
        f"project meaning is ready (database cb_proj_meaning); searches go by {described}\n",
    )
    listed = stack("project", "list", "--json").json
    assert {one["id"]: one["embedder"] for one in listed if one["id"] in {"default", "meaning"}} == {
        "default": None,
        "meaning": {"provider": "ollama", "model": "wordllama", "url": endpoint.url, "dimensions": DIMENSIONS},
    }
    assert described in stack("project", "list").out
    assert stack("index", cars, "--project", "meaning").code == 0
    for query, file in {"vehicle motor": "garage.py", "food recipe": "kitchen.py", "mail post": "letters.py"}.items():
        found = stack("search", query, "--project", "meaning", "--json")
        assert (found.json["results"][0]["file_path"], found.json["warnings"]) == (file, [])
    endpoint.fault = 503
    found = stack("search", "the soup of a vehicle", "--project", "meaning", "--json")
    endpoint.fault = None
    assert found.json["results"][0]["file_path"] == "kitchen.py"
    assert found.json["warnings"][0].startswith("not searched by meaning: embedder ollama:wordllama")
    assert "verdex: warning: not searched by meaning" in found.err


def test_an_embedder_is_set_shown_and_taken_away(stack: Command, model: Path, endpoint):
    assert stack("project", "create", "changing").code == 0
    assert stack("project", "embedder", "changing").out == "project changing has no embedder\n"
    for spec, options, described in (
        ("ollama:wordllama", ["--url", endpoint.url], f"ollama:wordllama at {endpoint.url}"),
        ("openai:wordllama", ["--url", endpoint.openai_url], f"openai:wordllama at {endpoint.openai_url}"),
        (f"model2vec:{model}", [], f"model2vec:{model}"),
    ):
        changed = stack("project", "embedder", "changing", spec, *options)
        shown = f"{described} ({DIMENSIONS} dimensions)\n"
        assert (changed.code, changed.out) == (0, f"searches in project changing go by {shown}")
        assert changed.err == NOTICE
        assert stack("project", "embedder", "changing").out == shown
    removed = stack("project", "embedder", "changing", "--none")
    assert (removed.code, removed.out) == (0, "project changing has no embedder: searches go by words\n")
    assert stack("project", "embedder", "changing").out == "project changing has no embedder\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["ollama:wordllama", "--url", "NOWHERE"], 5, "embedder ollama:wordllama at http://127.0.0.1:"),
        (["ollama:other", "--url", "ENDPOINT"], 2, "get the model with: ollama pull other"),
        (["openai:wordllama"], 2, "openai needs one, such as https://api.openai.com/v1"),
        (["wordllama"], 2, "'wordllama' names no embedder"),
        (["ollama:wordllama", "--url", "http://user:secret@127.0.0.1"], 2, "without user, password and query"),
        (["model2vec:/nowhere"], 2, "there is no such directory"),
        (["--url", "ENDPOINT"], 2, "--url is that of an embedder"),
        (["ollama:wordllama", "--none"], 2, "--none goes with no embedder"),
    ],
)
def test_an_embedder_that_cannot_be_used_changes_nothing(
    stack: Command, endpoint: EmbeddingServer, arguments: list[str], code: int, message: str
):
    places = {"NOWHERE": nobody(), "ENDPOINT": endpoint.url}
    ended = stack("project", "embedder", "default", *(places.get(one, one) for one in arguments))
    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err
    assert "secret" not in ended.err
    assert stack("project", "embedder", "default").out == "project default has no embedder\n"


def test_a_project_is_not_created_without_the_embedder_that_it_should_have(stack: Command):
    ended = stack("project", "create", "never", "--embedder", "ollama:wordllama", "--embedder-url", nobody())
    assert ended.code == 5
    assert "never" not in {one["id"] for one in stack("project", "list", "--json").json}
