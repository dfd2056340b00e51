"""Turns texts into vectors that lie near each other where the texts mean the same; knows no Temporal, no PostgreSQL.

`providers` speaks to each kind of embedder, by `http` or in this process (`static`); `embedder` bounds what is asked of
it and checks what it answers.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr

from verdex.contracts import EmbeddingModel
from verdex.embedding.embedder import Purpose, TextEmbedder, Vector
from verdex.embedding.naming import embedding_model

__all__ = ["Purpose", "TextEmbedder", "Vector", "embedding_model", "open_embedder"]


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
