import doctest
from typing import Any

import pytest
from pydantic import ValidationError

from verdex import contracts
from verdex.contracts import (
    TERMINAL,
    UNKNOWN_ERROR,
    Embedder,
    EmbeddingModel,
    IndexRequest,
    IndexResult,
    JobState,
    index_workflow_id,
    plain,
)
from verdex.embedding import embedding_model
from verdex.errors import EmbedderInvalid

TEMPORAL_ID_CHARACTERS = 255
"""What the visibility store of Temporal takes."""


def test_the_examples_in_the_docstrings_are_true():
    found = doctest.testmod(contracts)
    assert found.attempted > 0
    assert found.failed == 0


def test_the_id_of_a_workflow_is_the_same_in_every_process():
    assert index_workflow_id("default", "/srv/code/verdex") == "index:default:verdex:eaa93f9ac69e"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "/srv/x"), ("b", "/srv/x")),
        (("a", "/srv/x"), ("a", "/home/x")),
        (("a", "/srv/x"), ("a", "/srv/X")),
    ],
)
def test_each_project_and_path_has_an_id_of_its_own(one, other):
    assert index_workflow_id(*one) != index_workflow_id(*other)


@pytest.mark.parametrize("character", ["x", "é", "語", "😀"])
def test_an_id_is_bounded_whatever_the_names(character):
    project, name = character * 100, character * 400
    found = index_workflow_id(IndexRequest(repo_path=f"/srv/{name}", project_id=project).project_id, f"/srv/{name}")
    assert len(found) <= TEMPORAL_ID_CHARACTERS
    assert len(found.split(":")[2].encode()) <= 80
    assert found.split(":")[2].strip(character) == ""


@pytest.mark.parametrize("project", ["default", "web-shop", "x" * 100])
@pytest.mark.parametrize("path", ["/srv/code", "/srv/a:b", "/"])
def test_the_project_can_be_read_back_from_an_id(project, path):
    assert contracts.project_of(index_workflow_id(project, path)) == project


@pytest.mark.parametrize("other", ["", "index:", "ReconcileJobs:verdex", "indexing"])
def test_an_id_of_something_else_names_no_project(other):
    assert contracts.project_of(other) is None


@pytest.mark.parametrize("wrong", [{"repo_path": "relative"}, {"repo_path": "/" + "x" * 2000}, {"project_id": "a:b"}])
def test_a_request_that_could_not_be_stored_is_refused(wrong: dict[str, Any]):
    with pytest.raises(ValidationError):
        IndexRequest(**{"repo_path": "/srv", **wrong})


def test_nothing_unknown_is_accepted_in_silence():
    with pytest.raises(ValidationError):
        IndexResult.model_validate({"status": "success", "files_indexd": 3})


@pytest.mark.parametrize(
    ("status", "errors", "message"),
    [
        ("success", [], None),
        ("failed", [], UNKNOWN_ERROR),
        ("failed", ["", " "], UNKNOWN_ERROR),
        ("failed", ["the cause", "what followed"], "the cause"),
        ("partial", ["1 of 2 files could not be indexed", "a: b"], "1 of 2 files could not be indexed"),
    ],
)
def test_the_message_of_a_result_is_its_root_cause(status, errors, message):
    assert IndexResult(status=status, errors=errors).error_message == message


@pytest.mark.parametrize(
    ("text", "held"),
    [("plain é 😀\n", "plain é 😀\n"), ("a\0b", "a\\0b"), ("\udcff", "\\udcff"), ("\ud800\0", "\\ud800\\0")],
)
def test_plain_text_is_what_postgresql_and_json_can_hold(text, held):
    assert plain(text) == held
    assert plain(held) == held
    held.encode()
    assert JobState(status_message=text).status_message == held
    assert list(IndexResult(status="failed", errors=[text]).errors) == [held]


def test_just_three_states_are_final():
    assert sorted(TERMINAL) == ["cancelled", "completed", "failed"]


@pytest.mark.parametrize(
    ("text", "url", "provider", "model", "served_at"),
    [
        ("ollama:nomic-embed-text", None, "ollama", "nomic-embed-text", "http://127.0.0.1:11434"),
        ("ollama:nomic-embed-text:v1.5", "http://[::1]:1//", "ollama", "nomic-embed-text:v1.5", "http://[::1]:1"),
        ("openai:@cf/baai/bge", "https://a.example/x/v1/", "openai", "@cf/baai/bge", "https://a.example/x/v1"),
        ("model2vec:/srv/a model", None, "model2vec", "/srv/a model", None),
    ],
)
def test_an_embedder_is_named_by_its_provider_and_its_model(text, url, provider, model, served_at):
    assert embedding_model(text, url) == EmbeddingModel(provider=provider, model=model, url=served_at)


@pytest.mark.parametrize(
    ("text", "url", "wrong"),
    [
        ("", None, "provider: Input should be 'ollama', 'openai' or 'model2vec'"),
        ("nomic-embed-text", None, "provider: Input should be 'ollama', 'openai' or 'model2vec'"),
        ("ollama:", None, "model: String should have at least 1 character"),
        ("ollama: nomic", None, "model: it should be printable text, without spaces around it"),
        ("ollama:a\nb", None, "model: it should be printable text"),
        ("ollama:\udcff", None, "model: Input should be a valid string"),
        ("openai:text-embedding-3-small", None, "url: openai needs one, such as https://api.openai.com/v1"),
        ("model2vec:models/potion", None, "model: it should be the absolute path of a directory"),
        ("model2vec:/models/potion", "http://127.0.0.1", "url: model2vec has none"),
    ],
)
def test_what_names_no_embedder_is_refused_in_one_line_that_says_why(text, url, wrong):
    with pytest.raises(EmbedderInvalid) as refused:
        embedding_model(text, url)
    assert wrong in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:11434",
        "ftp://hunter2/",
        "http://",
        "http://somebody:hunter2@host/v1",
        "http://hunter2@host/v1",
        "http://somebody:hunter2",
        "http://host:0",
        "http://host:65536",
        "http://host/v1?api-key=hunter2",
        "http://host/v1#hunter2",
        "http://host/a hunter2",
        "http://host/\x1b[31mhunter2",
        "http://höst/hunter2",
    ],
)
def test_a_url_that_is_none_or_may_hold_a_secret_is_refused_and_never_shown(url):
    with pytest.raises(
        EmbedderInvalid, match=r"url: it should look like http://127\.0\.0\.1:11434, without"
    ) as refused:
        embedding_model("ollama:nomic-embed-text", url)
    assert "hunter2" not in str(refused.value)
    with pytest.raises(ValidationError) as invalid:
        Embedder(provider="openai", model="m", url=url, dimensions=1)
    assert "hunter2" not in str(invalid.value)


@pytest.mark.parametrize("dimensions", [0, -1, 4001])
def test_dimensions_that_cannot_be_indexed_are_refused(dimensions):
    with pytest.raises(ValidationError):
        embedding_model("ollama:nomic-embed-text").with_dimensions(dimensions)


def test_an_embedder_is_the_same_after_it_was_stored():
    embedder = embedding_model("openai:m", "https://a.example/v1/").with_dimensions(4000)
    stored = embedder.model_dump_json()
    assert stored == '{"provider":"openai","model":"m","url":"https://a.example/v1","dimensions":4000}'
    assert Embedder.model_validate_json(stored) == embedder
