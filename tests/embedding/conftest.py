from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.embedding.model import DIMENSIONS, model_directory
from tests.embedding.server import EmbeddingServer, serving
from verdex.contracts import Embedder, Provider

EmbedderOf = Callable[..., Embedder]


@pytest.fixture(scope="session")
def static_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_directory(tmp_path_factory.mktemp("model"))


@pytest.fixture
def server(static_model: Path) -> Iterator[EmbeddingServer]:
    with serving(static_model) as server:
        yield server


@pytest.fixture
def embedder_of(server: EmbeddingServer, static_model: Path) -> EmbedderOf:
    """The same model, by each provider."""
    urls = {"ollama": server.url, "openai": server.openai_url, "model2vec": None}

    def embedder_of(provider: Provider, model: str = "wordllama", dimensions: int = DIMENSIONS) -> Embedder:
        name = str(static_model) if provider == "model2vec" else model
        return Embedder(provider=provider, model=name, url=urls[provider], dimensions=dimensions)

    return embedder_of
