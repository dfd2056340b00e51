"""What a command needs around it: settings, the stack, tracing, and an event loop."""

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import click

from verdex.cli.pages import Pages, pages
from verdex.client import Verdex
from verdex.contracts import Job
from verdex.errors import SettingsError
from verdex.local.stack import Endpoints, LocalStack, without_temporal
from verdex.settings import Settings
from verdex.telemetry import set_up_logging, set_up_tracing

Result = TypeVar("Result")

SHORT_SECONDS: Final = 1.0
"""A command that lasts longer collects its garbage."""


def say(text: str) -> None:
    """Progress, which is not part of the result."""
    click.secho(f"verdex: {text} …", err=True, dim=True)


def local_stack() -> LocalStack | None:
    """The local stack, unless the environment leads to another one.

    Raises:
        SettingsError: the environment names only a half of a stack.
    """
    given = [name for name in ("VERDEX_DATABASE_URL", "TEMPORAL_ADDRESS") if os.environ.get(name)]
    if len(given) == 1:
        raise SettingsError(
            f"{given[0]} is set, but VERDEX_DATABASE_URL and TEMPORAL_ADDRESS go together: "
            "set both to use services of your own, or neither for the local stack"
        )
    settings = Settings.load()
    return None if given else LocalStack(settings.home, settings.task_queue)


def _reach(endpoints: Endpoints) -> None:
    """Let the rest of this process find the local stack like any other, and nothing else."""
    reached = {**without_temporal(os.environ), **endpoints.environment()}
    for name in os.environ.keys() - reached:
        del os.environ[name]
    os.environ.update(reached)


@contextmanager
def telemetry(settings: Settings, *, level: str = "CRITICAL") -> Iterator[None]:
    """Log what is at least of `level` to stderr, and keep the spans of this process."""
    set_up_logging(json=False, level=level)
    tracing = set_up_tracing("verdex", settings.traces_directory, runs_workflows=False)
    try:
        yield
    finally:
        tracing.flush()


class Session:
    """The stack that this command works with."""

    def __init__(self, *, replace_worker: bool = False) -> None:
        """Find out which stack it is; a local one is brought up, and from then on reached like any other.

        With `replace_worker`, its worker has the settings of this process.

        Raises:
            SettingsError, StackError
        """
        self.local = local_stack()
        if self.local is not None:
            _reach(self.local.up(say, replace_worker=replace_worker))
        self.settings = Settings.load()

    def revive(self) -> None:
        """Start what died of the local stack; services elsewhere are not ours to start.

        Raises:
            StackDown: it was taken down on purpose.
            StackError
        """
        if self.local is not None:
            _reach(self.local.revive(say))

    def pages(self, job: Job) -> Pages:
        """Where people see a job; the Web UI of the local stack is known by itself."""
        of_local = self.local.endpoints().ui_url if self.local else None
        ui_url, trace_url = self.settings.ui_url or of_local, self.settings.trace_url
        return pages(job, ui_url=ui_url, namespace=_namespace() if ui_url else "", trace_url=trace_url)

    def run(self, work: Callable[[Verdex], Awaitable[Result]]) -> Result:
        """Do `work` with a connection to the stack."""
        with telemetry(self.settings):
            return asyncio.run(self._connected(work))

    async def _connected(self, work: Callable[[Verdex], Awaitable[Result]]) -> Result:
        asyncio.get_running_loop().call_later(SHORT_SECONDS, gc.enable)
        async with await Verdex.connect(self.settings) as verdex:
            return await work(verdex)


def _namespace() -> str:
    """That of Temporal; the local stack, and mostly the environment, has it in a variable."""
    if given := os.environ.get("TEMPORAL_NAMESPACE"):
        return given
    from verdex import temporal  # noqa: PLC0415  (slow to import)

    return temporal.namespace()


def run(work: Callable[[Verdex], Awaitable[Result]]) -> Result:
    """Do `work` with a connection to the stack."""
    return Session().run(work)
