"""An embedder, whoever serves it: asked within bounds, and believed only as far as its answers can be checked."""

import asyncio
import math
from array import array
from collections.abc import Sequence
from typing import Final, Literal, Protocol, TypeAlias

from verdex.contracts import MAX_DIMENSIONS, Embedder, EmbeddingModel, plain
from verdex.embedding.batches import MAX_CHARACTERS, Batch, batches
from verdex.errors import EmbedderMismatch, EmbedderRefused, VectorUnusable

Purpose = Literal["document", "query"]
Vector: TypeAlias = "array[float]"
"""Floats of 4 bytes, of length 1 together (L2), so that a dot product is the cosine similarity."""
Embedded: TypeAlias = "Vector | VectorUnusable"

MAX_REQUESTS: Final = 4
"""At a time. Ollama works on as many by default, and a service that is paid for limits how much may come at once."""

_PREFIXES: Final[dict[Purpose, str]] = {"document": "search_document: ", "query": "search_query: "}
"""What nomic-embed-text was trained with; without, it finds less."""


class Provider(Protocol):
    """Whoever has the model."""

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """What it says to be the vectors of a batch, in order.

        Raises:
            EmbedderUnavailable, EmbedderRefused
        """
        ...


class TextEmbedder:
    """Embeds texts with one model, for any number of tasks at a time."""

    def __init__(self, model: EmbeddingModel, provider: Provider) -> None:
        """Of an `Embedder` the dimensions are known, and others are refused."""
        self._model = model
        self._provider = provider
        self._dimensions = model.dimensions if isinstance(model, Embedder) else None
        self._turns = asyncio.Semaphore(MAX_REQUESTS)

    async def embed(self, texts: Sequence[str], *, purpose: Purpose) -> list[Vector]:
        """The vector of each text, in order; all of them or none.

        Raises:
            VectorUnusable: that of one text has no direction; the text may be to blame.
            EmbedderUnavailable, EmbedderRefused, EmbedderMismatch: as `embed_each`.
        """
        vectors = []
        for vector in await self.embed_each(texts, purpose=purpose):
            if isinstance(vector, VectorUnusable):
                raise vector
            vectors.append(vector)
        return vectors

    async def embed_each(self, texts: Sequence[str], *, purpose: Purpose) -> list[Embedded]:
        """The vector of each text, in order; `VectorUnusable` in place of one that has no direction.

        Of a text, the first 8,000 characters count.

        Raises:
            EmbedderUnavailable: it may answer later.
            EmbedderRefused: it will not; or what it answers is not a vector for each text.
            EmbedderMismatch: its vectors have other dimensions than those of the project.
        """
        prefix = _prefix(self._model, purpose)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._embed(batch))
                    for batch in batches(prefix + plain(text[:MAX_CHARACTERS]) for text in texts)
                ]
        except ExceptionGroup as failed:
            first = failed.exceptions[0]
            raise first from first.__cause__
        return [vector for task in tasks for vector in task.result()]

    async def probe(self) -> int:
        """Embed a word, and tell how many dimensions the vectors have.

        Raises:
            EmbedderUnavailable, EmbedderRefused, EmbedderMismatch: as `embed`, or they are too many to be indexed.
        """
        (vector,) = await self.embed(["verdex"], purpose="query")
        if len(vector) > MAX_DIMENSIONS:
            raise EmbedderRefused(
                f"embedder {self._model} gives vectors of {len(vector)} dimensions, and {MAX_DIMENSIONS} can be indexed"
            )
        return len(vector)

    async def _embed(self, batch: Batch) -> list[Embedded]:
        async with self._turns:
            found = await self._provider.embed(batch.texts)
        if len(found) != len(batch.texts):
            raise EmbedderRefused(f"embedder {self._model} gave {len(found)} vectors for {len(batch.texts)} texts")
        return [self._checked(values, position) for position, values in enumerate(found, batch.first)]

    def _checked(self, values: Sequence[float], position: int) -> Embedded:
        if self._dimensions not in {None, len(values)}:
            raise EmbedderMismatch(str(self._model), len(values), self._dimensions)
        norm = math.hypot(*values)
        if not 0 < norm < math.inf:
            return VectorUnusable(str(self._model), position, "not finite" if norm else "zero")
        return array("f", [value / norm for value in values])


def _prefix(model: EmbeddingModel, purpose: Purpose) -> str:
    return _PREFIXES[purpose] if "nomic-embed-text" in model.model and model.provider != "model2vec" else ""
