"""What an embedder gives, by each provider; behind all of them is the same real model."""

import asyncio
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.embedding.conftest import EmbedderOf
from tests.embedding.model import DIMENSIONS
from tests.embedding.server import EmbeddingServer
from verdex.contracts import EmbeddingModel, Provider
from verdex.embedding import Vector, open_embedder
from verdex.embedding.batches import MAX_BYTES, MAX_TEXTS
from verdex.embedding.embedder import MAX_REQUESTS

each_provider = pytest.mark.parametrize("provider", ["ollama", "openai", "model2vec"])
each_server = pytest.mark.parametrize("provider", ["ollama", "openai"])


def similarity(one: Vector, other: Vector) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def alike(some: Sequence[Vector], others: Sequence[Vector]) -> bool:
    return all(similarity(one, other) == pytest.approx(1, abs=1e-4) for one, other in zip(some, others, strict=True))


@each_provider
async def test_texts_that_mean_the_same_are_near_to_each_other(embedder_of: EmbedderOf, provider: Provider):
    async with open_embedder(embedder_of(provider)) as embedder:
        (query,) = await embedder.embed(["parse json"], purpose="query")
        near, far = await embedder.embed(["decode a JSON document", "open a network socket"], purpose="document")
    assert similarity(query, near) > similarity(query, far) + 0.2


@each_provider
async def test_a_vector_has_the_dimensions_of_the_project_and_the_length_one(
    embedder_of: EmbedderOf, provider: Provider
):
    async with open_embedder(embedder_of(provider)) as embedder:
        for vector in await embedder.embed(["def one():\n    return 1\n", "x", "é 語 😀"], purpose="document"):
            assert len(vector) == DIMENSIONS
            assert math.hypot(*vector) == pytest.approx(1, abs=1e-6)


@each_provider
async def test_vectors_come_in_the_order_of_their_texts_however_many_requests_that_takes(
    embedder_of: EmbedderOf, provider: Provider
):
    texts = [f"number {number}" for number in range(3 * MAX_TEXTS + 1)]
    async with open_embedder(embedder_of(provider)) as embedder:
        together = await embedder.embed(texts, purpose="document")
        for position in (0, 1, MAX_TEXTS - 1, MAX_TEXTS, len(texts) - 1):
            alone = await embedder.embed([texts[position]], purpose="document")
            assert alike([together[position]], alone)
            assert not alike([together[position - 1]], alone)


async def test_all_providers_of_a_model_give_the_same_vectors(embedder_of: EmbedderOf):
    texts = ["class Parser:\n    pass\n", "a\0b", "broken \udcff", "x" * 20_000, "word " * 2_000]
    found = []
    for provider in ("ollama", "openai", "model2vec"):
        async with open_embedder(embedder_of(provider)) as embedder:
            found.append(await embedder.embed(texts, purpose="document"))
    assert alike(found[0], found[1])
    assert alike(found[0], found[2])


@each_provider
async def test_for_no_texts_nothing_is_asked(embedder_of: EmbedderOf, server: EmbeddingServer, provider: Provider):
    async with open_embedder(embedder_of(provider)) as embedder:
        assert await embedder.embed([], purpose="document") == []
    assert server.received == []


@each_server
async def test_a_request_is_bounded_in_texts_and_in_bytes(
    embedder_of: EmbedderOf, server: EmbeddingServer, provider: Provider
):
    texts = ["short"] * 200 + ["é" * 4_000] * 40
    async with open_embedder(embedder_of(provider)) as embedder:
        assert len(await embedder.embed(texts, purpose="document")) == len(texts)
    assert sorted(server.texts) == sorted(texts)
    assert len(server.asked) == 7
    assert max(map(len, server.asked)) <= MAX_TEXTS
    assert max(sum(len(text.encode()) for text in request) for request in server.asked) <= MAX_BYTES


@each_server
async def test_few_requests_are_under_way_at_a_time_whoever_asks(
    embedder_of: EmbedderOf, server: EmbeddingServer, provider: Provider, eventually
):
    server.fault = "hang"

    async def all_hang() -> bool:
        return server.open == MAX_REQUESTS

    async with open_embedder(embedder_of(provider)) as embedder, asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(embedder.embed(["text"] * 3 * MAX_TEXTS, purpose="document"))
        await eventually(all_hang)
        server.fault = None
        server.go_on.set()
    assert server.at_once == MAX_REQUESTS


@each_server
async def test_of_a_very_long_text_the_beginning_counts(
    embedder_of: EmbedderOf, server: EmbeddingServer, provider: Provider
):
    async with open_embedder(embedder_of(provider)) as embedder:
        await embedder.embed(["y" * 7_999 + "é" + "x" * 1_000_000], purpose="document")
    assert server.texts == ["y" * 7_999 + "é"]


async def test_ollama_is_told_to_cut_what_its_model_cannot_take(embedder_of: EmbedderOf, server: EmbeddingServer):
    async with open_embedder(embedder_of("ollama")) as embedder:
        await embedder.embed(["text"], purpose="document")
    ((path, _, question),) = server.received
    assert path == "/api/embed"
    assert question == {"model": "wordllama", "input": ["text"], "truncate": True}


@each_server
@pytest.mark.parametrize("model", ["nomic-embed-text", "nomic-embed-text:v1.5"])
async def test_nomic_is_told_what_a_text_is_for(
    embedder_of: EmbedderOf, server: EmbeddingServer, provider: Provider, model: str
):
    async with open_embedder(embedder_of(provider, model)) as embedder:
        await embedder.embed(["text"], purpose="document")
        await embedder.embed(["text"], purpose="query")
    assert server.texts == ["search_document: text", "search_query: text"]


@each_provider
async def test_a_probe_tells_the_dimensions_of_a_model_that_is_not_known_yet(
    embedder_of: EmbedderOf, provider: Provider
):
    known = embedder_of(provider)
    model = EmbeddingModel(provider=known.provider, model=known.model, url=known.url)
    async with open_embedder(model) as embedder:
        found = await embedder.probe()
    assert model.with_dimensions(found) == known


async def test_the_key_is_sent_where_openai_is_spoken_and_nowhere_else(
    embedder_of: EmbedderOf, server: EmbeddingServer
):
    server.api_key = "sk-0123456789abcdef"
    for provider in ("openai", "ollama"):
        async with open_embedder(embedder_of(provider), SecretStr(server.api_key)) as embedder:
            assert await embedder.probe() == DIMENSIONS
    of_openai, of_ollama = (headers for _, headers, _ in server.received)
    assert of_openai["authorization"] == "Bearer sk-0123456789abcdef"
    assert "authorization" not in of_ollama


@each_server
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    embedder_of: EmbedderOf, server: EmbeddingServer, monkeypatch, provider: Provider, host: str
):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    known = embedder_of(provider)
    there = known.model_copy(update={"url": str(known.url).replace("127.0.0.1", host)})
    async with open_embedder(there) as embedder:
        assert await embedder.probe() == DIMENSIONS


async def test_a_static_model_is_loaded_once_and_kept(static_model: Path, tmp_path: Path):
    moved = tmp_path / "model"
    moved.symlink_to(static_model)
    model = EmbeddingModel(provider="model2vec", model=str(moved))
    async with open_embedder(model) as embedder:
        assert await embedder.probe() == DIMENSIONS
    moved.unlink()
    async with open_embedder(model.with_dimensions(DIMENSIONS)) as embedder:
        assert len(await embedder.embed(["text"] * 3, purpose="document")) == 3


async def test_many_tasks_use_a_static_model_at_once(embedder_of: EmbedderOf):
    async with open_embedder(embedder_of("model2vec")) as embedder:
        found = await asyncio.gather(*(embedder.embed(["text"] * 100, purpose="document") for _ in range(8)))
    assert all(alike(one, found[0]) for one in found)
