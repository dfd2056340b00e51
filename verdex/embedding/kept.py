"""Embedders that are kept open: one of each for all tasks, so that it bounds what they ask for together."""

from contextlib import AsyncExitStack
from typing import Self

from pydantic import SecretStr

from verdex.contracts import Embedder
from verdex.embedding.embedder import TextEmbedder
from verdex.embedding.opening import open_embedder


class Embedders:
    """The embedders of a process, each opened when it is first needed."""

    def __init__(self, api_key: SecretStr | None) -> None:
        """`api_key` is sent only where OpenAI's protocol is spoken."""
        self._api_key = api_key
        self._open: dict[Embedder, TextEmbedder] = {}
        self._closing = AsyncExitStack()

    async def open(self, embedder: Embedder) -> TextEmbedder:
        """The same one each time; nothing is asked of it yet."""
        if embedder not in self._open:
            self._open[embedder] = await self._closing.enter_async_context(open_embedder(embedder, self._api_key))
        return self._open[embedder]

    async def close(self) -> None:
        """Close the connections to all of them."""
        self._open.clear()
        await self._closing.aclose()

    async def __aenter__(self) -> Self:
        """For `async with`."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections to all of them."""
        await self.close()
