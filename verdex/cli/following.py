"""Following a job to its end, while the local stack under it is looked after."""

import asyncio
from typing import Final, NoReturn

from verdex.cli.progress import View, progress
from verdex.cli.session import Session
from verdex.client import Verdex
from verdex.contracts import Job
from verdex.errors import StackDown, StackError, TransientError

RETRY_SECONDS: Final = 1.0


async def follow(job_id: str, session: Session, view: View | None = None) -> Job:
    """Show the job until it ends, as progress or in `view`.

    What dies of the local stack is started again, what is elsewhere is waited for.

    Raises:
        StackDown: somebody took the local stack down on purpose.
    """
    with view or progress() as entered:
        shown = asyncio.create_task(_show(job_id, entered))
        watched = asyncio.create_task(_watch(session, entered))
        try:
            await asyncio.wait({shown, watched}, return_when=asyncio.FIRST_COMPLETED)
            return shown.result() if shown.done() else watched.result()
        finally:
            shown.cancel()
            watched.cancel()


async def _show(job_id: str, view: View) -> Job:
    while True:
        try:
            async with await Verdex.connect() as verdex:  # anew each time: what is started again may have moved
                async for job in verdex.follow(job_id):
                    view.show(job)
                    if job.is_terminal:
                        return job
        except TransientError as error:
            view.note(f"{error}; the job is safe, waiting for it")
            await asyncio.sleep(RETRY_SECONDS)


async def _watch(session: Session, view: View) -> NoReturn:
    while True:
        await asyncio.sleep(RETRY_SECONDS)
        try:
            await asyncio.to_thread(session.revive)
        except StackDown:
            raise
        except StackError as error:
            view.note(f"{error}; trying again")
