"""The two protocols of embedders that are servers: each asks for the vectors of a batch, in its words."""

from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel

from verdex.embedding.http import Endpoint
from verdex.errors import EmbedderRefused

_KEY: Final = "is VERDEX_EMBEDDER_API_KEY of the worker set, and right?"


class _OllamaAnswer(BaseModel):
    embeddings: list[list[float]]


class Ollama:
    """https://docs.ollama.com/api/embed."""

    def __init__(self, endpoint: Endpoint) -> None:
        """It is asked for no key."""
        self._endpoint = endpoint
        self._advice = {404: f"get the model with: ollama pull {endpoint.model.model}"}

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """A text that is too long for the model is cut by Ollama.

        Raises:
            EmbedderUnavailable, EmbedderRefused
        """
        question = {"model": self._endpoint.model.model, "input": texts, "truncate": True}
        answer = await self._endpoint.post("/api/embed", question, _OllamaAnswer, self._advice)
        return answer.embeddings


class _Numbered(BaseModel):
    index: int
    embedding: list[float]


class _OpenAIAnswer(BaseModel):
    data: list[_Numbered]


class OpenAI:
    """https://platform.openai.com/docs/api-reference/embeddings, which many other servers speak as well."""

    def __init__(self, endpoint: Endpoint) -> None:
        """The endpoint sends the key."""
        self._endpoint = endpoint
        self._advice = {401: _KEY, 403: _KEY, 404: "is the URL right, and the name of the model?"}

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """The answer numbers its vectors, and may have them in any order.

        Raises:
            EmbedderUnavailable, EmbedderRefused
        """
        model = self._endpoint.model
        question = {"model": model.model, "input": texts, "encoding_format": "float"}
        answer = await self._endpoint.post("/embeddings", question, _OpenAIAnswer, self._advice)
        found = sorted(answer.data, key=lambda one: one.index)
        if [one.index for one in found] != list(range(len(found))):
            raise EmbedderRefused(f"embedder {model} does not say which vector is that of which text")
        return [one.embedding for one in found]
