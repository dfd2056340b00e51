"""The connection of a server that lives long to a stack that may be started again under it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self, TypeVar

from verdex.client import Verdex
from verdex.errors import TransientError, VerdexError

Result = TypeVar("Result")


class Connection:
    """Asks the stack; what died of a local one is started again before."""

    def __init__(self, bring_up: Callable[[], None]) -> None:
        """`bring_up` starts what does not run; it is called in a thread, one call at a time."""
        self._bring_up = bring_up
        self._verdex: Verdex | None = None
        self._connecting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Bring the stack up, so that the first question need not wait for all of it."""
        self._warming = asyncio.create_task(self._warm())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection."""
        self._warming.cancel()
        await self._close()

    async def _warm(self) -> None:
        with suppress(VerdexError):  # who asks is told
            await self._connected(None)

    async def ask(self, question: Callable[[Verdex], Awaitable[Result]]) -> Result:
        """What `question` gives; it is asked once more, by a new connection, if a part of the stack did not answer.

        Raises:
            VerdexError: the stack cannot be brought up, or what `question` raises.
        """
        verdex = await self._connected(None)
        try:
            return await question(verdex)
        except TransientError:
            return await question(await self._connected(verdex))

    async def _connected(self, failed: Verdex | None) -> Verdex:
        """The connection that all questions share, unless it is the one that `failed`: what was restarted may move."""
        async with self._connecting:
            await asyncio.to_thread(self._bring_up)
            if self._verdex is None or self._verdex is failed:
                await self._close()
                self._verdex = await Verdex.connect()
            return self._verdex

    async def _close(self) -> None:
        verdex, self._verdex = self._verdex, None
        if verdex is not None:
            await verdex.close()
