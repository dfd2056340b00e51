"""At the limits of its surroundings a job ends as it must, names the cause, and leaves the index whole.

The jobs run as an ordinary role of PostgreSQL, as in production: no limit holds for a superuser.
"""

import asyncio
import contextlib
import ctypes
import itertools
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from temporalio import activity
from temporalio.client import WorkflowFailureError

from activities.indexing import IndexingActivities
from verdex.client import Verdex
from verdex.contracts import Job, Shard
from verdex.errors import DatabaseUnavailable
from verdex.local.postgres import SYSTEM_USER, Postgres
from verdex.sources.errors import FileChangedWhileRead
from verdex.sources.working_tree import read
from verdex.storage import database
from verdex.storage.database import Server

PROJECT = "cb_proj_default"
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1 << 1, 1 << 2


@pytest.fixture
async def admin(postgres: Postgres) -> AsyncIterator[asyncpg.Connection]:
    """Who runs the server."""
    connection = await asyncpg.connect(postgres.url("postgres"))
    yield connection
    await connection.close()


@pytest.fixture
async def role(admin) -> AsyncIterator[str]:
    name = f"role_{uuid4().hex[:12]}"
    await admin.execute(f"CREATE ROLE {name} LOGIN CREATEDB PASSWORD 'right'")
    yield name
    await admin.execute(f"DROP ROLE {name}")


@pytest.fixture
async def registry_url(admin, role: str, registry_url: str) -> str:
    """The registry belongs to the role. Nothing asks for the password, which is wrong, unless a test sees to it."""
    name = registry_url.rpartition("?")[0].rpartition("/")[2]
    await admin.execute(f'ALTER DATABASE "{name}" OWNER TO {role}')
    return registry_url.replace("//verdex@", f"//{role}:wrong@")


@pytest.fixture
async def indexed(verdex, server: Server, run_worker, repository: Path, finished) -> Path:
    """A repository whose three files a search sees, and no open connection to its project."""
    async with run_worker():
        assert (await finished((await verdex.index(repository)).job_id)).status == "completed"
    (repository / "new.py").write_text("new = True\n")
    await server.forget(PROJECT)
    return repository


@pytest.fixture
async def in_project(postgres: Postgres, indexed: Path) -> AsyncIterator[asyncpg.Connection]:
    """Who runs the server, in the database of the project."""
    connection = await asyncpg.connect(postgres.url(PROJECT))
    yield connection
    await connection.close()


Run = Callable[[Path], Awaitable[Job]]


@pytest.fixture
def run(verdex, run_worker, finished) -> Run:
    """A job from start to end."""

    async def run(root: Path) -> Job:
        async with run_worker():
            job: Job = await finished((await verdex.index(root)).job_id)
        return job

    return run


@pytest.fixture
def blocked_by(verdex, eventually) -> Callable[[str, str], Awaitable[None]]:
    """Wait until the row of a job says that it is blocked, and why."""

    async def wait(job_id: str, reason: str) -> None:
        async def is_blocked() -> bool:
            job: Job = await verdex.job(job_id)
            return job.status == "blocked" and reason in (job.status_message or "")

        await eventually(is_blocked)

    return wait


def failure(job: Job) -> tuple[str, str | None, int]:
    return job.status, job.error_type, job.files_indexed


class TestTheDiskOfPostgresqlIsFull:
    @pytest.fixture
    def disk(self, short_directory: Path) -> Iterator[Path]:
        """A disk of 32 MB, with a directory for PostgreSQL."""
        if os.geteuid() != 0 or sys.platform != "linux":
            pytest.skip("only root can mount a small disk")
        place = short_directory / "disk"
        place.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=32m,mode=755", "tmpfs", str(place)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("mounting is forbidden here")
        try:
            (place / "space").mkdir()
            shutil.chown(place / "space", SYSTEM_USER)
            yield place
        finally:
            subprocess.run(["umount", "--lazy", place], check=True)

    @pytest.fixture
    async def on_disk(self, admin, disk: Path, indexed: Path, server: Server) -> AsyncIterator[Path]:
        """The repository; the database of its project has moved to the disk."""
        await admin.execute(f"CREATE TABLESPACE small LOCATION '{disk / 'space'}'")
        await admin.execute(f"ALTER DATABASE {PROJECT} SET TABLESPACE small")
        yield indexed
        await server.forget(PROJECT)
        await admin.execute(f"DROP DATABASE IF EXISTS {PROJECT} WITH (FORCE)")
        await admin.execute("DROP TABLESPACE small")

    async def test_the_job_fails_at_once_and_the_next_one_completes_when_there_is_room(
        self, disk: Path, on_disk: Path, run, published, states
    ):
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)) == 4096:
                pass
        job = await run(on_disk)
        assert failure(job) == ("failed", "DatabaseDiskFull", 0)
        assert job.error_message.endswith("No space left on device")
        assert "blocked" not in [status for status, _ in await states()]
        assert await published(on_disk) == 3
        filler.unlink()
        job = await run(on_disk)
        assert (job.status, job.files_indexed, job.files_added) == ("completed", 4, 1)


@pytest.mark.parametrize("step", ["scan", "index_shard", "publish"])
async def test_a_project_that_is_dropped_in_mid_run_is_named(
    verdex, admin, run_worker, repository, finished, hold, gate, step
):
    await verdex.projects.create("shop")
    async with run_worker(hold(step)):
        started = await verdex.index(repository, project_id="shop")
        await gate.reached()
        await admin.execute("DROP DATABASE cb_proj_shop WITH (FORCE)")
        gate.open()
        job = await finished(started.job_id)
    assert failure(job) == ("failed", "DatabaseNotFound", 0)
    assert 'database "cb_proj_shop" does not exist' in job.error_message


@pytest.mark.parametrize(
    ("granted", "message"),
    [
        ("GRANT USAGE ON SCHEMA public TO {}", "PostgreSQL: permission denied for table schema_migrations"),
        ("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}", "PostgreSQL: permission denied for table repositories"),
    ],
    ids=["to nothing", "to read only"],
)
async def test_a_role_without_the_rights_fails_at_once(
    in_project, role, indexed, run, published, admin, server, granted, message
):
    await in_project.execute(f"REASSIGN OWNED BY {role} TO verdex")
    await in_project.execute(granted.format(role))
    job = await run(indexed)
    assert failure(job) == ("failed", "DatabaseRefused", 0)
    assert (job.error_message, job.attempt) == (message, 1)
    await in_project.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    assert await published(indexed) == 3


async def test_a_role_that_may_not_connect_fails_at_once(admin, role, indexed, run):
    await admin.execute(f"ALTER DATABASE {PROJECT} OWNER TO verdex")
    await admin.execute(f"REVOKE CONNECT ON DATABASE {PROJECT} FROM PUBLIC")
    job = await run(indexed)
    assert failure(job) == ("failed", "DatabaseRefused", 0)
    assert (job.error_message, job.attempt) == (f'PostgreSQL: permission denied for database "{PROJECT}"', 1)


async def test_a_wrong_password_fails_at_once(admin, postgres, role, settings, indexed, run, eventually):
    rules = postgres.data / "pg_hba.conf"
    before = rules.read_text()

    async def is_refused() -> bool:
        try:
            connection = await asyncpg.connect(settings.database_dsn, database=PROJECT)
        except asyncpg.InvalidPasswordError:
            return True
        await connection.close()
        return False

    try:
        rules.write_text(f"local {PROJECT} {role} scram-sha-256\n{before}")
        await admin.execute("SELECT pg_reload_conf()")
        await eventually(is_refused)
        job = await run(indexed)
    finally:
        rules.write_text(before)
        await admin.execute("SELECT pg_reload_conf()")
    assert failure(job) == ("failed", "DatabaseRefused", 0)
    assert (job.error_message, job.attempt) == (
        f'PostgreSQL: password authentication failed for user "{role}"',
        1,
    )


async def test_a_worker_without_rights_to_the_registry_fails_the_workflow(
    client, server, postgres, settings, run_worker, repository
):
    """No row can be written. Who may write one learns what happened."""
    name = settings.database_dsn.rpartition("?")[0].rpartition("/")[2]
    async with Server(postgres.url(name)) as with_rights, run_worker():
        async with with_rights.registry.connection() as connection:
            await connection.execute("ALTER TABLE indexing_jobs OWNER TO verdex")
        verdex = Verdex(client, with_rights, settings)
        started = await verdex.index(repository)
        with pytest.raises(WorkflowFailureError):
            await client.get_workflow_handle(started.workflow_id, run_id=started.job_id).result()
        job = await verdex.job(started.job_id)
    assert failure(job) == ("failed", "WorkflowFailed", 0)
    assert "permission denied for table indexing_jobs" in (job.error_message or "")


async def test_a_job_waits_for_a_connection_and_then_completes(
    admin, verdex, indexed, run_worker, finished, blocked_by, published
):
    await admin.execute(f"ALTER DATABASE {PROJECT} CONNECTION LIMIT 0")
    async with run_worker():
        started = await verdex.index(indexed)
        await blocked_by(started.job_id, f'too many connections for database "{PROJECT}"')
        await admin.execute(f"ALTER DATABASE {PROJECT} CONNECTION LIMIT -1")
        job = await finished(started.job_id)
    assert (job.status, job.files_indexed, job.status_message) == ("completed", 4, None)
    assert await published(indexed) == 4


async def test_a_job_that_gets_no_connection_within_the_limit_fails(
    admin, client, server, settings, indexed, run_worker, finished, states, published
):
    impatient = Verdex(client, server, settings.model_copy(update={"blocked_limit_seconds": 0.5}))
    await admin.execute(f"ALTER DATABASE {PROJECT} CONNECTION LIMIT 0")
    async with run_worker():
        job = await finished((await impatient.index(indexed)).job_id)
    assert failure(job) == ("failed", "DatabaseUnavailable", 0)
    assert job.error_message == f'PostgreSQL is not available: too many connections for database "{PROJECT}"'
    assert "blocked" in [status for status, _ in await states()]
    await admin.execute(f"ALTER DATABASE {PROJECT} CONNECTION LIMIT -1")
    assert await published(indexed) == 3


async def test_a_job_whose_statements_are_cut_off_completes_when_they_get_more_time(
    admin, verdex, indexed, run_worker, finished, blocked_by, published
):
    await admin.execute(f"ALTER DATABASE {PROJECT} SET statement_timeout = 1")
    async with run_worker():
        started = await verdex.index(indexed)
        await blocked_by(started.job_id, "canceling statement due to statement timeout")
        await admin.execute(f"ALTER DATABASE {PROJECT} RESET statement_timeout")
        job = await finished(started.job_id)
    assert (job.status, job.files_indexed, job.status_message) == ("completed", 4, None)
    assert await published(indexed) == 4


@pytest.mark.parametrize(
    "lock", ["LOCK TABLE files", "UPDATE repositories SET path = path"], ids=["of a table", "of a row"]
)
async def test_a_job_that_somebody_locks_out_says_so_and_completes_when_they_are_gone(
    verdex, in_project, indexed, run_worker, finished, hold, gate, blocked_by, published, monkeypatch, lock
):
    """As with a person at psql who forgot to commit."""
    monkeypatch.setattr(database, "LOCK_TIMEOUT", 1)
    async with run_worker(hold("index_shard")):
        started = await verdex.index(indexed)
        await gate.reached()
        async with in_project.transaction():
            await in_project.execute(lock)
            gate.open()
            await blocked_by(started.job_id, "canceling statement due to lock timeout")
        job = await finished(started.job_id)
    assert (job.status, job.files_indexed, job.status_message) == ("completed", 4, None)
    assert await published(indexed) == 4


async def test_a_server_that_accepts_and_never_answers_is_said_to(monkeypatch):
    monkeypatch.setattr(database, "CONNECT_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent_server = Server(f"postgresql://verdex@127.0.0.1:{silent.getsockname()[1]}/verdex")
        with pytest.raises(DatabaseUnavailable, match=r"^PostgreSQL is not available: no answer in time$"):
            async with silent_server.registry.connection():
                raise AssertionError("it answered")


VERSIONS = [letter * 200_000 for letter in (b"a", b"b", b"c")]
REWRITE = """
import itertools, sys
with open(sys.argv[1], "r+b", buffering=0) as file:
    for letter in itertools.cycle("abc"):
        file.seek(0)
        file.write(letter.encode() * 200_000)
"""


class TestAFileThatIsRewrittenAllTheTime:
    @pytest.fixture
    def busy(self, repository: Path) -> Iterator[Path]:
        path = repository / "busy.txt"
        path.write_bytes(VERSIONS[0])
        with subprocess.Popen([sys.executable, "-c", REWRITE, path]) as writer:
            yield path
            writer.kill()

    @staticmethod
    def was_there(content: bytes) -> bool:
        """Whether the file held this at some time: one version, or the beginning of the next and the rest of it."""
        letters = [bytes([letter]) for letter, _ in itertools.groupby(content)]
        return len(content) == 200_000 and b"".join(letters) in {b"a", b"b", b"c", b"ba", b"cb", b"ac"}

    def test_is_read_as_it_was_at_one_time_or_not_at_all(self, busy: Path):
        found = 0
        for _ in range(1000):
            with contextlib.suppress(FileChangedWhileRead):
                found += self.was_there(read(busy.parent, busy.name, max_file_bytes=10**6).content) or sys.maxsize
        assert found <= 1000

    async def test_has_an_outcome_that_is_true(self, busy: Path, verdex, run, server):
        job = await run(busy.parent)
        outcomes = {file.path: file for file in await verdex.files(job.job_id)}
        assert (job.status, job.files_total) == ("completed", 4)
        if outcomes["busy.txt"].outcome == "failed":
            assert outcomes["busy.txt"].reason == "kept changing while it was read"
            assert (job.result_status, job.files_indexed) == ("partial", 3)
        else:
            assert (job.result_status, job.files_indexed) == ("success", 4)


@contextlib.contextmanager
def limited_to_its_rights() -> Iterator[None]:
    """Files are read by threads for which the permissions of files hold, as they do for everybody but root."""
    loop = asyncio.get_running_loop()
    executor = ThreadPoolExecutor(initializer=give_up_override if os.geteuid() == 0 else None)
    loop.set_default_executor(executor)
    try:
        yield
    finally:
        loop.set_default_executor(ThreadPoolExecutor())
        executor.shutdown()


def give_up_override() -> None:
    """Capabilities belong to a thread, and the C library has no function for them: see capset(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, data) == 0
    data[0] &= ~(CAP_DAC_OVERRIDE | CAP_DAC_READ_SEARCH)
    assert libc.capset(header, data) == 0


class TestADirectoryLosesItsPermission:
    @pytest.fixture(autouse=True)
    def _needs_permissions(self, indexed: Path) -> Iterator[None]:
        if os.geteuid() == 0 and sys.platform != "linux":
            pytest.skip("root reads everything here")
        yield
        for folder in (indexed, indexed / "package"):
            folder.chmod(0o755)

    async def closing(self, folder, verdex, run_worker, gate, finished, hold, root) -> Job:
        with limited_to_its_rights():
            async with run_worker(hold("index_shard")):
                started = await verdex.index(root, force_reindex=True)
                await gate.reached()
                folder.chmod(0)
                gate.open()
                job: Job = await finished(started.job_id)
        return job

    async def test_its_files_fail_and_the_job_is_partial(
        self, verdex, run_worker, gate, finished, hold, indexed, published
    ):
        job = await self.closing(indexed / "package", verdex, run_worker, gate, finished, hold, indexed)
        assert (job.status, job.result_status, job.files_indexed, job.files_failed) == ("completed", "partial", 2, 2)
        assert job.error_message == (
            "2 of 4 files could not be indexed: package/one.py: cannot be read: Permission denied; "
            "package/two.py: cannot be read: Permission denied"
        )
        assert await published(indexed) == 2

    async def test_if_it_is_the_repository_the_job_fails(
        self, verdex, run_worker, gate, finished, hold, indexed, published
    ):
        job = await self.closing(indexed, verdex, run_worker, gate, finished, hold, indexed)
        assert failure(job) == ("failed", "RootUnreadable", 0)
        assert job.error_message == f"{indexed} cannot be read: Permission denied"
        assert await published(indexed) == 3


def delete(root: Path) -> None:
    shutil.rmtree(root)


def empty(root: Path) -> None:
    """What is left of a tree that is unmounted."""
    shutil.rmtree(root)
    root.mkdir()


GONE = pytest.mark.parametrize(
    ("lose", "error_type", "message"),
    [
        (delete, "RootNotFound", "{} does not exist"),
        (empty, "RootEmptied", "{} is empty by now: it was emptied or unmounted while it was indexed"),
    ],
    ids=["deleted", "emptied"],
)


@GONE
@pytest.mark.parametrize("step", ["index_shard", "publish"])
async def test_a_repository_that_goes_away_in_mid_run_leaves_its_index_whole(
    verdex, run_worker, gate, finished, hold, indexed, published, step, lose, error_type, message
):
    async with run_worker(hold(step)):
        started = await verdex.index(indexed)
        await gate.reached()
        lose(indexed)
        gate.open()
        job = await finished(started.job_id)
    assert failure(job) == ("failed", error_type, 0)
    assert job.error_message == message.format(indexed)
    assert await published(indexed) == 3


@GONE
async def test_a_repository_that_goes_away_between_two_shards_is_not_published_in_part(
    verdex, run_worker, gate, finished, tmp_path, lose, error_type, message, published
):
    first_is_done = asyncio.Event()

    class SecondShardHeldUp(IndexingActivities):
        @activity.defn
        async def index_shard(self, shard: Shard) -> None:
            if shard.shard > 0:
                await gate.passed()
            await super().index_shard(shard)
            first_is_done.set()

    root = tmp_path / "two-shards"
    root.mkdir()
    for number in range(600):
        (root / f"{number}.txt").write_text(f"file {number}\n")
    async with run_worker(SecondShardHeldUp):
        started = await verdex.index(root)
        await gate.reached()
        await asyncio.wait_for(first_is_done.wait(), 30)
        lose(root)
        gate.open()
        job = await finished(started.job_id)
    assert failure(job) == ("failed", error_type, 0)
    assert job.error_message == message.format(root)
    assert await published(root) == 0


async def test_single_files_that_vanish_in_mid_run_are_left_out(
    verdex, run_worker, gate, finished, hold, indexed, published
):
    async with run_worker(hold("index_shard")):
        started = await verdex.index(indexed, force_reindex=True)
        await gate.reached()
        shutil.rmtree(indexed / "package")
        gate.open()
        job = await finished(started.job_id)
    assert (job.status, job.files_indexed, job.files_skipped, job.files_deleted) == ("completed", 2, 2, 2)
    assert await published(indexed) == 2
