"""What is not a vector for each text is an error, which says whether it can pass and what to do; never an answer."""

import asyncio
import shutil
import socket
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.backends import nobody
from tests.embedding.conftest import EmbedderOf
from tests.embedding.model import DIMENSIONS
from tests.embedding.server import EmbeddingServer, Fault
from verdex.contracts import MAX_DIMENSIONS, Embedder, EmbeddingModel, Provider
from verdex.embedding import Vector, http, open_embedder, static
from verdex.embedding.embedder import TextEmbedder
from verdex.errors import EmbedderMismatch, EmbedderRefused, EmbedderUnavailable, VectorUnusable, VerdexError
from verdex.telemetry import redact

each_server = pytest.mark.parametrize("provider", ["ollama", "openai"])


async def embed(embedder: EmbeddingModel, texts: int = 3, key: str | None = None) -> list[Vector]:
    async with open_embedder(embedder, SecretStr(key) if key else None) as opened:
        return await opened.embed([f"text {number}" for number in range(texts)], purpose="document")


async def refused(kind: type[VerdexError], embedder: EmbeddingModel, texts: int = 3, key: str | None = None) -> str:
    """The message: one line that names the embedder."""
    with pytest.raises(kind) as raised:
        await embed(embedder, texts, key)
    assert type(raised.value) is kind
    message = str(raised.value)
    assert str(embedder) in message
    assert message.isprintable()
    return message


@each_server
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_server_in_trouble_may_answer_later(
    embedder_of: EmbedderOf, server: EmbeddingServer, provider: Provider, status: int
):
    server.fault = status
    message = await refused(EmbedderUnavailable, embedder_of(provider))
    assert f" is not available: {status} " in message
    assert message.endswith(": told to fail")
    server.fault = None
    assert len(await embed(embedder_of(provider))) == 3


@each_server
@pytest.mark.parametrize("status", [301, 400, 405, 413, 422, 501])
async def test_a_server_that_refuses_is_not_asked_again(
    embedder_of: EmbedderOf, server: EmbeddingServer, provider: Provider, status: int
):
    server.fault = status
    message = await refused(EmbedderRefused, embedder_of(provider))
    assert f" refuses: {status} " in message
    assert message.endswith(": told to fail")


@each_server
async def test_a_server_that_is_down_may_come_back(provider: Provider):
    message = await refused(
        EmbedderUnavailable, Embedder(provider=provider, model="m", url=nobody(), dimensions=DIMENSIONS)
    )
    assert "Connect call failed" in message


async def test_a_host_that_nobody_knows_may_become_known():
    embedder = Embedder(provider="ollama", model="m", url="http://nobody.invalid", dimensions=1)
    await refused(EmbedderUnavailable, embedder)


@each_server
async def test_a_server_that_hangs_up_may_answer_later(
    embedder_of: EmbedderOf, server: EmbeddingServer, provider: Provider
):
    server.fault = "close"
    assert "disconnected" in await refused(EmbedderUnavailable, embedder_of(provider))


@each_server
@pytest.mark.parametrize("fault", ["hang", "trickle"])
async def test_a_server_that_does_not_answer_is_not_waited_for_without_end(
    embedder_of: EmbedderOf, server: EmbeddingServer, monkeypatch, provider: Provider, fault: Fault
):
    monkeypatch.setattr(http, "ANSWER_SECONDS", 0.05)
    server.fault = fault
    message = await refused(EmbedderUnavailable, embedder_of(provider))
    assert message.endswith("is not available: no answer in 0.05 s")


async def test_a_server_that_takes_no_connection_is_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(http, "CONNECT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with socket.create_connection(listener.getsockname()):  # its queue is full now
            embedder = Embedder(provider="ollama", model="m", url=url, dimensions=1)
            message = await refused(EmbedderUnavailable, embedder)
    assert message.endswith("is not available: no connection in 0.05 s")


async def test_a_model_that_ollama_lacks_is_to_be_pulled(embedder_of: EmbedderOf):
    message = await refused(EmbedderRefused, embedder_of("ollama", "snowflake"))
    assert 'model "snowflake" not found' in message
    assert "ollama pull snowflake" in message


async def test_a_wrong_url_is_told(server: EmbeddingServer):
    embedder = Embedder(provider="openai", model="wordllama", url=server.url, dimensions=DIMENSIONS)
    message = await refused(EmbedderRefused, embedder)
    assert "404 Not Found: 404 page not found (is the URL right" in message


@pytest.mark.parametrize("key", [None, "sk-wrong-0123456789"])
async def test_without_the_right_key_the_variable_is_named_and_no_key_told(
    embedder_of: EmbedderOf, server: EmbeddingServer, key: str | None
):
    server.api_key = "sk-right-0123456789"
    message = await refused(EmbedderRefused, embedder_of("openai"), key=key)
    assert "VERDEX_EMBEDDER_API_KEY" in message
    assert "0123456789" not in redact(message)


async def test_a_server_that_forbids_is_asked_with_another_key(embedder_of: EmbedderOf, server: EmbeddingServer):
    server.fault = 403
    assert "VERDEX_EMBEDDER_API_KEY" in await refused(EmbedderRefused, embedder_of("openai"))


@each_server
@pytest.mark.parametrize("fault", ["not json", "other json"])
async def test_an_answer_of_something_else_is_refused(
    embedder_of: EmbedderOf, server: EmbeddingServer, provider: Provider, fault: Fault
):
    server.fault = fault
    message = await refused(EmbedderRefused, embedder_of(provider))
    assert "answers something other than vectors" in message


@each_server
async def test_too_few_vectors_are_refused(embedder_of: EmbedderOf, server: EmbeddingServer, provider: Provider):
    server.fault = "too few"
    assert (await refused(EmbedderRefused, embedder_of(provider))).endswith("gave 2 vectors for 3 texts")


async def test_vectors_that_are_not_numbered_as_the_texts_are_refused(embedder_of: EmbedderOf, server: EmbeddingServer):
    server.fault = "same index"
    assert "which vector is that of which text" in await refused(EmbedderRefused, embedder_of("openai"))


@each_server
@pytest.mark.parametrize("fault", ["shorter", "uneven"])
async def test_vectors_of_other_dimensions_than_the_project_has_are_refused(
    embedder_of: EmbedderOf, server: EmbeddingServer, provider: Provider, fault: Fault
):
    server.fault = fault
    message = await refused(EmbedderMismatch, embedder_of(provider))
    assert "gives vectors of 255 dimensions, and the project was set up for 256: " in message


@each_server
@pytest.mark.parametrize(("fault", "reason"), [("nan", "not finite"), ("zero", "zero")])
async def test_a_vector_without_direction_is_refused_and_its_text_named(
    embedder_of: EmbedderOf, server: EmbeddingServer, provider: Provider, fault: Fault, reason: str
):
    server.fault = fault
    message = await refused(VectorUnusable, embedder_of(provider))
    assert message.endswith(f"the vector of text 3 is {reason}")


async def test_the_text_whose_vector_is_unusable_is_told_by_its_position_among_all(embedder_of: EmbedderOf):
    texts = ["text"] * 100
    texts[70] = ""  # for the model, nothing is in it
    async with open_embedder(embedder_of("model2vec")) as embedder:
        with pytest.raises(VectorUnusable, match="text 71 is zero") as raised:
            await embedder.embed(texts, purpose="document")
    assert raised.value.position == 70


async def test_an_embedder_that_failed_answers_the_next_time(embedder_of: EmbedderOf, server: EmbeddingServer):
    async with open_embedder(embedder_of("ollama")) as embedder:
        server.fault = 500
        with pytest.raises(EmbedderUnavailable):
            await embedder.embed(["text"] * 1000, purpose="document")
        server.fault = None
        assert len(await embedder.embed(["text"] * 1000, purpose="document")) == 1000


async def test_after_one_request_failed_no_others_are_made(embedder_of: EmbedderOf, server: EmbeddingServer):
    server.fault = 500
    await refused(EmbedderUnavailable, embedder_of("ollama"), texts=10_000)
    assert len(server.received) < 20


async def test_who_is_cancelled_stops_waiting_for_the_embedder(
    embedder_of: EmbedderOf, server: EmbeddingServer, eventually
):
    server.fault = "hang"

    async def hangs() -> bool:
        return server.open == 1

    async with asyncio.timeout(10):
        waiting = asyncio.create_task(embed(embedder_of("ollama")))
        await eventually(hangs)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_a_model_that_is_too_large_to_be_indexed_is_told_when_it_is_probed():
    class Large:
        async def embed(self, texts):
            return [[1.0] * (MAX_DIMENSIONS + 1) for _ in texts]

    embedder = TextEmbedder(EmbeddingModel(provider="ollama", model="large"), Large())
    with pytest.raises(EmbedderRefused, match="vectors of 4001 dimensions, and 4000 can be indexed"):
        await embedder.probe()


async def test_a_directory_that_is_missing_is_named(tmp_path: Path):
    path = tmp_path / "model"
    message = await refused(EmbedderRefused, EmbeddingModel(provider="model2vec", model=str(path)))
    assert message == f"embedder model2vec:{path}: there is no such directory where the worker runs"


async def test_a_directory_without_a_model_is_named_and_may_get_one(tmp_path: Path, static_model: Path):
    path = tmp_path / "model"
    path.mkdir()
    embedder = Embedder(provider="model2vec", model=str(path), dimensions=DIMENSIONS)
    assert "cannot be loaded: Could not find expected model files" in await refused(EmbedderRefused, embedder)
    shutil.copytree(static_model, path, dirs_exist_ok=True)
    assert len(await embed(embedder)) == 3


async def test_a_model_whose_files_are_broken_is_named(tmp_path: Path, static_model: Path):
    path = Path(shutil.copytree(static_model, tmp_path / "model"))
    (path / "model.safetensors").write_bytes(b"broken")
    message = await refused(EmbedderRefused, EmbeddingModel(provider="model2vec", model=str(path)))
    assert "cannot be loaded" in message


async def test_a_static_model_of_other_dimensions_than_the_project_has_is_refused(embedder_of: EmbedderOf):
    message = await refused(EmbedderMismatch, embedder_of("model2vec", dimensions=300))
    assert "gives vectors of 256 dimensions, and the project was set up for 300" in message


async def test_without_the_package_it_is_said_what_to_install(monkeypatch, static_model: Path):
    static._loaded.cache_clear()
    monkeypatch.setitem(sys.modules, "model2vec", None)  # as if it were not installed
    message = await refused(EmbedderRefused, EmbeddingModel(provider="model2vec", model=str(static_model)))
    assert message.endswith("pip install 'verdex[model2vec]'")
