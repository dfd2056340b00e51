"""A look at every part that verdex needs; nothing is started or changed."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from verdex import __version__, temporal
from verdex.errors import VerdexError
from verdex.local.stack import LocalStack
from verdex.settings import MIB, Settings
from verdex.storage.database import Database
from verdex.storage.migrations import newest, version
from verdex.telemetry import redact

DISK_NEEDED: Final = 1024 * MIB


class Finding(NamedTuple):
    """What was found of one part, and what to do where it is not well."""

    part: str
    ok: bool
    found: str
    advice: str = ""


def examine(stack: LocalStack | None) -> list[Finding]:
    """Look at every part of the local stack, or of the one that the environment names."""
    settings = Settings.load()
    environment = stack.endpoints().environment() if stack else dict(os.environ)
    findings = [_program(), _git(), _disk(settings.home)]
    if stack and _belongs_to_another(settings.home):
        return findings  # what runs there cannot be told
    findings += _processes(stack) if stack else ()
    findings += _services(environment, settings) if stack is None or stack.is_up() else ()
    return [finding._replace(advice="") if finding.ok else finding for finding in findings]


def _program() -> Finding:
    python = sys.version.split()[0]
    return Finding("verdex", True, f"{__version__} on Python {python}")


def _git() -> Finding:
    git = shutil.which("git")
    if git is None:
        return Finding(
            "git", False, "not installed", "install git: without it, ignore rules outside the tree are not known"
        )
    found = subprocess.run([git, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    return Finding("git", True, found)


def _disk(home: Path) -> Finding:
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    found = f"{home}, {free / MIB / 1024:.1f} GiB free"
    if _belongs_to_another(home):
        return Finding(
            "VERDEX_HOME", False, f"{home} belongs to another user", "set VERDEX_HOME to a directory of yours"
        )
    if not os.access(existing, os.W_OK):
        return Finding("VERDEX_HOME", False, f"{existing} is not writable", "set VERDEX_HOME to a directory of yours")
    return Finding("VERDEX_HOME", free >= DISK_NEEDED, found, "free some disk space, or set VERDEX_HOME elsewhere")


def _belongs_to_another(home: Path) -> bool:
    return home.exists() and home.stat().st_uid != os.geteuid()


def _processes(stack: LocalStack) -> Iterator[Finding]:
    running = {
        "PostgreSQL process": (stack.postgres.is_running(), stack.postgres.log),
        "Temporal process": (stack.temporal.is_running(), stack.temporal.log),
        "worker process": (stack.worker.running() is not None, stack.worker.log),
    }
    for part, (runs, log) in running.items():
        yield Finding(part, runs, "runs" if runs else "does not run", f"verdex up (log: {log})")


def _services(environment: Mapping[str, str], settings: Settings) -> Iterator[Finding]:
    """What the services themselves say; of a local stack that is down, its processes have told all there is."""
    yield _attempt("registry", "check VERDEX_DATABASE_URL", lambda: _registry(environment))
    yield _attempt(
        "Temporal",
        "check TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE",
        lambda: _temporal(environment, settings.task_queue),
    )


def _attempt(part: str, advice: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except VerdexError as error:
        return Finding(part, False, redact(str(error)), advice)


def _registry(environment: Mapping[str, str]) -> Finding:
    async def look() -> int:
        database = Database(environment.get("VERDEX_DATABASE_URL", ""))
        try:
            async with database.connection() as connection:
                return await version(connection)
        finally:
            await database.close()

    found, known = asyncio.run(look()), newest("registry")
    advice = "start a worker of this version: it migrates" if found < known else "install a newer verdex"
    return Finding("registry", found == known, f"schema version {found} of {known}", advice)


def _temporal(environment: Mapping[str, str], task_queue: str) -> Finding:
    async def look() -> bool:
        client = await temporal.connect(environment=environment)
        return await temporal.has_poller(client, task_queue)

    polled = asyncio.run(look())
    found = f'a worker polls "{task_queue}"' if polled else f'answers, but no worker polls "{task_queue}"'
    return Finding("Temporal", polled, found, "start a worker: verdex worker")
