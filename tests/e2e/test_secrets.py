"""A password is nowhere but where it was given: jobs that end in many ways are looked through for it, on every surface.

The password begins and ends with letters that nothing else holds and that no encoding changes.
"""

import json
import socket
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus
from urllib.request import urlopen
from uuid import uuid4

import asyncpg
import psutil
import pytest
from temporalio.client import Client

from tests.e2e.conftest import Command, eventually
from verdex.local.postgres import Postgres

PASSWORD = "Zq7xK@:/%#'\" é\\ü ?&kW9vJ"
PARTS = ("zq7xk", "kw9vj")
ROLE_WITH_PASSWORD = "ann"
NOWHERE = "127.0.0.1:1"

ODD_WORKER = """
    import logging, os, sys, warnings
    import worker
    from temporalio import activity
    from activities.indexing import IndexingActivities
    from verdex.contracts import JobIdentity

    class Bug(Exception):
        pass

    class Odd(IndexingActivities):
        @activity.defn
        async def preflight(self, job: JobIdentity) -> None:
            password = os.environ["ODD_PASSWORD"]
            dsn = os.environ["VERDEX_DATABASE_URL"]
            if job.repo_path.endswith("bug"):
                logging.getLogger("library").warning("connecting to %r", dsn, extra={"dsn": dsn, "parts": [password]})
                warnings.warn(f"odd: {password}")
                raise Bug(f"cannot connect to {dsn!r} with {password}, {password!r} or {ascii(password)}\\n{dsn}")
            await super().preflight(job)

    worker.IndexingActivities = Odd
    if __name__ == "__main__":
        sys.exit(worker.main())
"""


class Guarded(NamedTuple):
    """A server that wants a password of one of its roles."""

    server: Postgres

    def forms(self, database: str, directory: Path) -> dict[str, dict[str, str]]:
        """The ways to give the password, as variables."""
        host, encoded = quote(str(self.server.socket_directory), safe="/"), quote(PASSWORD, safe="")
        plain = f"postgresql://{ROLE_WITH_PASSWORD}@/{database}?host={host}"
        file = directory / "passwords"
        file.write_text(f"*:*:*:*:{PASSWORD}\n")  # asyncpg knows no escapes there
        file.chmod(0o600)
        return {
            "url": {"VERDEX_DATABASE_URL": plain.replace("@", f":{encoded}@", 1)},
            "query": {"VERDEX_DATABASE_URL": f"{plain}&password={quote_plus(PASSWORD)}"},
            "PGPASSWORD": {"VERDEX_DATABASE_URL": plain, "PGPASSWORD": PASSWORD},
            "PGPASSFILE": {"VERDEX_DATABASE_URL": plain, "PGPASSFILE": str(file)},
        }


@pytest.fixture(scope="session")
def guarded(scratch: Path) -> Iterator[Guarded]:
    server = Postgres(scratch / "guarded")
    server.start()
    rules = server.data / "pg_hba.conf"
    rules.write_text(f"local all {ROLE_WITH_PASSWORD} scram-sha-256\n" + rules.read_text())
    server.stop()
    server.start()
    yield Guarded(server)
    server.stop()


@pytest.fixture
async def database(guarded: Guarded) -> AsyncIterator[str]:
    """An empty database; those of its projects go as well."""
    admin = await asyncpg.connect(guarded.server.url("postgres"))
    exists = await admin.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", ROLE_WITH_PASSWORD)
    password = "'" + PASSWORD.replace("'", "''") + "'"
    await admin.execute(
        f"{'ALTER' if exists else 'CREATE'} ROLE {ROLE_WITH_PASSWORD} LOGIN SUPERUSER PASSWORD {password}"
    )
    name = f"guarded_{uuid4().hex[:8]}"
    await admin.execute(f"CREATE DATABASE {name}")
    yield name
    left = await admin.fetch("SELECT datname FROM pg_database WHERE datname LIKE 'cb\\_proj\\_%' OR datname = $1", name)
    for row in left:
        await admin.execute(f'DROP DATABASE "{row["datname"]}" WITH (FORCE)')
    await admin.close()


class Surfaces:
    """All that was told, by where; a password in it fails the test."""

    def __init__(self) -> None:
        self.told: dict[str, bytes] = {}

    def add(self, where: str, text: str | bytes) -> None:
        content = text.encode(errors="surrogateescape") if isinstance(text, str) else text
        self.told[where] = self.told.get(where, b"") + content

    def assert_clean(self) -> None:
        for where, content in self.told.items():
            lowered = content.decode(errors="replace").lower()
            for part in PARTS:
                at = lowered.find(part)
                assert at < 0, f"{where} tells the password: …{lowered[max(0, at - 100) : at + 100]}…"


@pytest.fixture
def surfaces() -> Iterator[Surfaces]:
    surfaces = Surfaces()
    yield surfaces
    surfaces.assert_clean()


@pytest.fixture
def guarded_command(
    command: Callable[..., Command], client: Client, guarded: Guarded, database: str, tmp_path: Path, request: Any
) -> Command:
    """A home whose password is given in the form that the test names."""
    form = guarded.forms(database, tmp_path)[getattr(request, "param", "url")]
    return command(
        f"guarded-{database[-8:]}",
        TEMPORAL_ADDRESS=client.service_client.config.target_host,
        VERDEX_TASK_QUEUE=database,
        ODD_PASSWORD=PASSWORD,
        **form,
    )


class Working(NamedTuple):
    """A worker and where it logs."""

    process: Any
    log: Path
    metrics: str

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def working(guarded_command: Command, tmp_path: Path, surfaces: Surfaces) -> Iterator[Working]:
    script = tmp_path / "odd_worker.py"
    script.write_text(textwrap.dedent(ODD_WORKER))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    log = tmp_path / "worker.log"
    environment = {**guarded_command.environment, "VERDEX_METRICS_ADDRESS": address, "VERDEX_LOG_LEVEL": "DEBUG"}
    with log.open("wb") as stream:
        process = psutil.Popen([sys.executable, script], env=environment, stderr=stream, stdout=stream)
        eventually(lambda: process.poll() is not None or b"worker is polling" in log.read_bytes())
        assert process.poll() is None, log.read_text()
        yield Working(process, log, address)
        process.terminate()
        process.wait(60)
    surfaces.add("the log of the worker", log.read_bytes())


def look_at_the_process(working: Working, surfaces: Surfaces) -> None:
    for process in (working.process, *working.process.children(recursive=True)):
        surfaces.add("argv", " ".join([process.name(), *process.cmdline()]))
    with urlopen(f"http://{working.metrics}/metrics") as response:
        surfaces.add("metrics", response.read())


def look_at_files(home: Path, surfaces: Surfaces) -> None:
    for path in home.rglob("*"):
        if path.is_file():
            surfaces.add(str(path), path.read_bytes())


async def look_at_temporal(client: Client, task_queue: str, surfaces: Surfaces) -> None:
    """Payloads are bytes there, and their JSON stands in them as it is."""
    found = [one async for one in client.list_workflows(f"TaskQueue = '{task_queue}'")]
    assert found
    for workflow in found:
        handle = client.get_workflow_handle(workflow.id, run_id=workflow.run_id)
        surfaces.add("description", (await handle.describe()).raw_description.SerializeToString())
        for event in (await handle.fetch_history()).events:
            surfaces.add("history", event.SerializeToString())
    assert len(surfaces.told["history"]) > 2_000


async def look_at_rows(guarded: Guarded, database: str, surfaces: Surfaces) -> None:
    admin = await asyncpg.connect(guarded.server.url(database))
    projects = await admin.fetch("SELECT datname FROM pg_database WHERE datname LIKE 'cb\\_proj\\_%'")
    await admin.close()
    for name in (database, *(row["datname"] for row in projects)):
        connection = await asyncpg.connect(guarded.server.url(name))
        for table in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
            for row in await connection.fetch(f'SELECT to_jsonb(t)::text FROM "{table[0]}" AS t'):
                surfaces.add(f"table {table[0]}", row[0])
        await connection.close()
    assert len(surfaces.told["table indexing_jobs"]) > 1_000


@pytest.mark.parametrize("guarded_command", ["url", "query", "PGPASSWORD", "PGPASSFILE"], indirect=True)
async def test_a_bug_whose_message_holds_the_password_tells_it_nowhere(
    guarded_command: Command, working: Working, surfaces: Surfaces, guarded: Guarded, database: str, client: Client,
    tmp_path: Path,
):  # fmt: skip
    (tmp_path / "bug").mkdir()
    ended = guarded_command("index", tmp_path / "bug", "--json")
    surfaces.add("index", ended.out + ended.err)
    assert ended.code == 1
    for arguments in (("status", ended.json["job_id"], "--events"), ("trace", ended.json["job_id"], "--json")):
        shown = guarded_command(*arguments)
        surfaces.add(arguments[0], shown.out + shown.err)
    await look_everywhere(guarded_command, working, surfaces, guarded, database, client)
    assert_the_bug_was_told(working, ended.json)


async def test_jobs_that_end_in_other_ways_tell_the_password_nowhere(
    guarded_command: Command, working: Working, surfaces: Surfaces, guarded: Guarded, database: str, client: Client,
    tree: Path, tmp_path: Path,
):  # fmt: skip
    ends = [((tree,), 0), ((tmp_path / "missing",), 1), ((tree, "--project", "unknown"), 1)]
    for arguments, code in ends:
        ended = guarded_command("index", *arguments)
        surfaces.add("index", ended.out + ended.err)
        assert ended.code == code
    for arguments in (("jobs",), ("verify", tree), ("doctor", "--json")):
        ended = guarded_command(*arguments)
        surfaces.add(str(arguments[0]), ended.out + ended.err)
    await look_everywhere(guarded_command, working, surfaces, guarded, database, client)


async def look_everywhere(
    command: Command, working: Working, surfaces: Surfaces, guarded: Guarded, database: str, client: Client
) -> None:
    look_at_the_process(working, surfaces)
    look_at_files(command.home, surfaces)
    await look_at_temporal(client, database, surfaces)
    await look_at_rows(guarded, database, surfaces)


def assert_the_bug_was_told(working: Working, bug: dict[str, Any]) -> None:
    """Else it would prove nothing that the password is not there."""
    assert bug["error_type"] == "Bug"
    assert "with ***, " in bug["error_message"]
    lines = [line for line in working.lines() if line.get("job_id") == bug["job_id"]]
    assert {"library", "py.warnings", "activities.ends"} <= {line["logger"] for line in lines}
    assert [line["error"] for line in lines if line["level"] == "ERROR"] == [bug["error_message"]]


def wrong_urls(guarded: Guarded, database: str) -> dict[str, str]:
    host, encoded = quote(str(guarded.server.socket_directory), safe="/"), quote(PASSWORD, safe="")
    return {
        "wrong password": f"postgresql://ann:{encoded}x@/{database}?host={host}",
        "unknown role": f"postgresql://bob:{encoded}@/{database}?host={host}",
        "unknown database": f"postgresql://ann:{encoded}@/{database}_x?host={host}",
        "server away": f"postgresql://ann:{encoded}@127.0.0.1:1/{database}",
        "socket away": f"postgresql://ann:{encoded}@/{database}?host=/nowhere",
        "unknown host": f"postgresql://ann:{encoded}@{database}.invalid/{database}",
        "not encoded": f"postgresql://ann:{PASSWORD}@/{database}?host={host}",
        "not encoded in the query": f"postgresql:///{database}?host={host}&user=ann&password={PASSWORD}",
        "not a port": f"postgresql://ann:{encoded}@127.0.0.1:port/{database}",
        "no host at all": f"postgresql://ann:{encoded}",
        "password for the port": f"postgresql://ann@127.0.0.1:{encoded}/{database}",
        "password for the host": f"postgresql://{encoded}/{database}",
        "password for the database": f"postgresql://ann@/{encoded}?host={host}",
        "bad option": f"postgresql://ann:{encoded}@/{database}?host={host}&sslmode={encoded}",
        "another program": f"mysql://ann:{encoded}@127.0.0.1/{database}",
        "key and value": f"host={guarded.server.socket_directory} user=ann password='{PASSWORD}' dbname={database}",
    }


async def test_a_wrong_address_of_the_database_is_complained_about_without_the_password(
    guarded_command: Command, surfaces: Surfaces, guarded: Guarded, database: str
):
    for name, url in wrong_urls(guarded, database).items():
        for arguments in (("jobs",), ("doctor",)):
            ended = guarded_command(*arguments, VERDEX_DATABASE_URL=url, ODD_PASSWORD="")
            surfaces.add(f"{name}: {arguments}", ended.out + ended.err)
            assert ended.code in {2, 5}, (name, ended)
            assert ended.err.count("\n") <= 1, (name, ended)


def run_until_it_complains(environment: dict[str, str], log: Path) -> None:
    with log.open("wb") as stream:
        process = psutil.Popen([sys.executable, "-m", "worker"], env=environment, stderr=stream, stdout=stream)
        eventually(lambda: process.poll() is not None or log.stat().st_size)
        with suppress(psutil.NoSuchProcess):
            process.terminate()
        process.wait(60)


async def test_a_worker_with_a_wrong_address_does_not_tell_the_password(
    guarded_command: Command, surfaces: Surfaces, guarded: Guarded, database: str, tmp_path: Path
):
    for name in ("wrong password", "unknown database", "server away", "not encoded", "bad option", "key and value"):
        log = tmp_path / name
        environment = {**guarded_command.environment, "VERDEX_DATABASE_URL": wrong_urls(guarded, database)[name]}
        run_until_it_complains(environment, log)
        assert log.read_bytes()
        surfaces.add(f"worker: {name}", log.read_bytes())
