"""How an embedder is opened, whoever serves it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr

from verdex.contracts import Embedder, EmbeddingModel
from verdex.embedding.embedder import TextEmbedder


@asynccontextmanager
async def open_embedder(model: EmbeddingModel, api_key: SecretStr | None = None) -> AsyncIterator[TextEmbedder]:
    """The embedder of a project or, to probe one, a model whose dimensions are not known yet.

    Nothing is asked of it yet. One for all tasks is enough, and bounds what they ask for together. `api_key` is sent
    only where OpenAI's protocol is spoken.
    """
    if model.provider == "model2vec":
        from verdex.embedding.static import Model2Vec  # noqa: PLC0415

        yield TextEmbedder(model, Model2Vec(model))
        return
    from verdex.embedding.http import connected  # noqa: PLC0415  (slow to import)
    from verdex.embedding.providers import Ollama, OpenAI  # noqa: PLC0415

    is_openai = model.provider == "openai"
    async with connected(model, api_key if is_openai else None) as endpoint:
        yield TextEmbedder(model, OpenAI(endpoint) if is_openai else Ollama(endpoint))


async def probed(model: EmbeddingModel, api_key: SecretStr | None = None) -> Embedder:
    """The embedder that a model is, asked how many dimensions its vectors have.

    Raises:
        EmbedderUnavailable, EmbedderRefused, EmbedderMismatch: see `TextEmbedder.probe`.
    """
    async with open_embedder(model, api_key) as embedder:
        return model.with_dimensions(await embedder.probe())
