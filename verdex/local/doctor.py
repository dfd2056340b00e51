"""A look at every part that verdex needs; nothing is started or changed."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Iterator, Mapping
from pathlib import Path
from typing import Final

import asyncpg
from temporalio.service import RPCError

from verdex import __version__, temporal
from verdex.errors import VerdexError
from verdex.local.examine_postgres import examine_postgres
from verdex.local.examine_temporal import examine_temporal
from verdex.local.findings import Finding, bad, size, well, worrying
from verdex.local.stack import LocalStack
from verdex.ownership import examine_ownership
from verdex.settings import MIB, Settings
from verdex.storage.database import Server
from verdex.telemetry import redact
from verdex.temporal.jobs import TemporalJobs

DISK_NEEDED: Final = 1024 * MIB
OLD_SECONDS: Final = 3600
_ADDRESS: Final = "check TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE"
_ANOTHER_HOME: Final = "set VERDEX_HOME to a directory of yours"


def examine(stack: LocalStack | None) -> list[Finding]:
    """Look at every part of the local stack, or of the one that the environment names."""
    settings = Settings.load()
    environment = stack.endpoints().environment() if stack else dict(os.environ)
    findings = [_program(), _git(), _home(settings.home)]
    if stack and _belongs_to_another(settings.home):
        return findings  # what runs there cannot be told
    findings += _local(stack) if stack else ()
    if stack is None or stack.is_up():  # of one that is down, its processes have told all there is
        findings += asyncio.run(examine_services(environment, settings.task_queue))
    return findings


def _program() -> Finding:
    return well("verdex", f"{__version__} on Python {sys.version.split()[0]}")


def _git() -> Finding:
    git = shutil.which("git")
    if git is None:
        return bad("git", "not installed", "install git: without it, ignore rules outside the tree are not known")
    return well("git", subprocess.run([git, "--version"], capture_output=True, text=True, check=False).stdout.strip())


def _home(home: Path) -> Finding:
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    if not existing.is_dir():
        return bad("VERDEX_HOME", f"{existing} is not a directory", _ANOTHER_HOME)
    if _belongs_to_another(home):
        return bad("VERDEX_HOME", f"{home} belongs to another user", _ANOTHER_HOME)
    if not os.access(existing, os.W_OK):
        return bad("VERDEX_HOME", f"{existing} is not writable", _ANOTHER_HOME)
    return _disk("VERDEX_HOME", home, existing)


def _disk(part: str, folder: Path, existing: Path) -> Finding:
    free = shutil.disk_usage(existing).free
    found = f"{folder}, {size(free)} free"
    if free < DISK_NEEDED:
        return bad(part, found, "free some disk space, or set VERDEX_HOME elsewhere")
    return well(part, found)


def _belongs_to_another(home: Path) -> bool:
    return home.exists() and home.stat().st_uid != os.geteuid()


def _local(stack: LocalStack) -> Iterator[Finding]:
    """What only a stack on this machine shows: data, processes, and what a broken start has left."""
    if stack.postgres.data.exists():
        yield _disk("data of PostgreSQL", stack.postgres.data, stack.postgres.data)
    running = {
        "PostgreSQL process": (stack.postgres.is_running(), stack.postgres.log),
        "Temporal process": (stack.temporal.is_running(), stack.temporal.log),
        "worker process": (stack.worker.running() is not None, stack.worker.log),
    }
    for part, (runs, log) in running.items():
        yield well(part, "runs") if runs else bad(part, "does not run", f"verdex up (log: {log})")
    for left in stack.postgres.data.parent.glob("unfinished-*"):
        if time.time() - left.stat().st_mtime > OLD_SECONDS:
            yield worrying("leftovers", f"{left} of a start that was broken off", f"rm -r {left}")


async def examine_services(environment: Mapping[str, str], task_queue: str) -> list[Finding]:
    """Look at the services that the environment names."""
    dsn = environment.get("VERDEX_DATABASE_URL", "")
    findings = [
        *await _attempt("registry", "check VERDEX_DATABASE_URL", examine_postgres(dsn)),
        *await _attempt("Temporal", _ADDRESS, examine_temporal(environment, task_queue)),
    ]
    if all(finding.ok for finding in findings):
        findings += await _attempt("registry and Temporal", _ADDRESS, _examine_pair(environment, dsn))
    return findings


async def _examine_pair(environment: Mapping[str, str], dsn: str) -> list[Finding]:
    async with Server(dsn) as server:
        await examine_ownership(
            TemporalJobs(await temporal.connect(for_worker=False, environment=environment)), server.registry
        )
    return [well("registry and Temporal", "belong together")]


async def _attempt(part: str, advice: str, look: Awaitable[list[Finding]]) -> list[Finding]:
    try:
        return await look
    except (VerdexError, asyncpg.PostgresError) as error:
        return [bad(part, redact(str(error)), advice)]
    except RPCError as error:  # a service that answers, but refuses
        return [bad(part, f"{error.status.name.lower()}: {error.message}", advice)]
