"""Following a job to its end, while the local stack under it is looked after."""

import asyncio
from contextlib import aclosing
from typing import Final, NoReturn

from verdex.cli.progress import View, progress
from verdex.cli.session import Session
from verdex.client import JobHandle, Verdex
from verdex.contracts import Job
from verdex.errors import StackDown, StackError, TransientError

RETRY_SECONDS: Final = 1.0


async def follow(job: str | JobHandle, verdex: Verdex, session: Session, view: View | None = None) -> Job:
    """Show the job, which is named by its id or by its handle, until it ends: as progress, or in `view`.

    The connection is closed then. What dies of the local stack is started again, what is elsewhere is waited for.

    Raises:
        StackDown: somebody took the local stack down on purpose.
    """
    with view or progress() as entered:
        shown = asyncio.create_task(_show(job, verdex, entered))
        watched = asyncio.create_task(_watch(session, entered))
        try:
            await asyncio.wait({shown, watched}, return_when=asyncio.FIRST_COMPLETED)
            return shown.result() if shown.done() else watched.result()
        finally:
            shown.cancel()
            watched.cancel()


async def _show(job: str | JobHandle, verdex: Verdex, view: View) -> Job:
    while True:
        try:
            async with verdex:
                return await _to_end(job, verdex, view)
        except TransientError as error:
            view.note(f"{error}; the job is safe, waiting for it")
            await asyncio.sleep(RETRY_SECONDS)
        verdex = await Verdex.connect()  # anew each time: what is started again may have moved


async def _to_end(job: str | JobHandle, verdex: Verdex, view: View) -> Job:
    async with aclosing(verdex.follow(job)) as states:
        async for state in states:
            view.show(state)
    return state


async def _watch(session: Session, view: View) -> NoReturn:
    while True:
        await asyncio.sleep(RETRY_SECONDS)
        try:
            await asyncio.to_thread(session.revive)
        except StackDown:
            raise
        except StackError as error:
            view.note(f"{error}; trying again")
