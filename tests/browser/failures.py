"""A real failure for each kind that the error table of the design names, and the cause that everybody must be told."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from tests.browser.night import DATABASE, ROLE, SECONDS, Night
from tests.browser.web_ui import Job
from tests.chaos.faults.disk import DiskFull, fill, mount, unmount

Produce = Callable[[Night], Awaitable[Job]]


class Failure(NamedTuple):
    """How to make a job fail, and what it must say then; `{}` stands for the directory of the stack."""

    error_type: str
    cause: str
    produce: Produce


async def path_missing(night: Night) -> Job:
    return await night.index("/srv/no_such_tree")


async def not_a_directory(night: Night) -> Job:
    return await night.index(night.tree / "part_00.py")


async def outside_the_allowed_roots(night: Night) -> Job:
    return await night.index("/usr")


async def unknown_project(night: Night) -> Job:
    return await night.index(night.tree, project="nobody")


async def database_gone(night: Night) -> Job:
    await night.command("project", "create", "gone")
    await night.sql("DROP DATABASE cb_proj_gone WITH (FORCE)")
    return await night.index(night.tree, project="gone")


async def authentication_refused(night: Night) -> Job:
    rules = night.postgres.data / "pg_hba.conf"
    before = rules.read_text()
    try:
        rules.write_text(f"local {DATABASE} {ROLE} reject\n{before}")
        await _reload(night)
        return await night.index(night.tree)
    finally:
        rules.write_text(before)
        await _reload(night)


async def _reload(night: Night) -> None:
    """New connections are by the rules of now, and there are only new ones."""
    async with night.connected("postgres") as connection:
        loaded = await connection.fetchval("SELECT pg_conf_load_time()")
        await connection.execute("SELECT pg_reload_conf()")
        async with asyncio.timeout(SECONDS):
            while await connection.fetchval("SELECT pg_conf_load_time()") == loaded:
                await asyncio.sleep(0.02)
    await _disconnect(night)


async def _disconnect(night: Night) -> None:
    leaving = f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{DATABASE}'"
    await night.sql(leaving)


async def disk_full(night: Night) -> Job:
    disk = night.stack.directory / "disk"
    disk.mkdir()
    mount(disk, 32 * 2**20)
    try:
        space, owner = disk / "space", night.postgres.data.stat()
        space.mkdir()
        os.chown(space, owner.st_uid, owner.st_gid)
        await night.sql(f"CREATE TABLESPACE small LOCATION '{space}'")
        await _disconnect(night)
        await night.sql(f"ALTER DATABASE {DATABASE} SET TABLESPACE small")
        fill(disk / "ballast")
        job = await night.index(night.tree, "--force")
        (disk / "ballast").unlink()
        await _disconnect(night)
        await night.sql(f"ALTER DATABASE {DATABASE} SET TABLESPACE pg_default")
        await night.sql("DROP TABLESPACE small")
    finally:
        unmount(disk)
    return job


async def schema_too_new(night: Night) -> Job:
    await night.sql("INSERT INTO schema_migrations (version, name) VALUES (999, 'later')", DATABASE)
    try:
        return await night.index(night.tree)
    finally:
        await night.sql("DELETE FROM schema_migrations WHERE version = 999", DATABASE)


async def connection_lost(night: Night) -> Job:
    async with night.held_up() as job:
        await night.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'")
        return await night.end(job)


async def connection_refused(night: Night) -> Job:
    async with night.held_up(VERDEX_BLOCKED_LIMIT_SECONDS="1") as job:
        _kill(night)
        await _given_up(night, job)
    await asyncio.to_thread(night.start_postgres)
    return await night.end(job)


async def starting_up(night: Night) -> Job:
    """It is for as long as it waits for a server that it shall follow."""
    signal_file, owner = night.postgres.data / "standby.signal", night.postgres.data.stat()
    async with night.held_up(VERDEX_BLOCKED_LIMIT_SECONDS="6") as job:
        _kill(night)
    signal_file.touch()
    os.chown(signal_file, owner.st_uid, owner.st_gid)
    settings = night.postgres.data / "postgresql.auto.conf"
    before = settings.read_text()
    settings.write_text(f"{before}hot_standby = off\n")
    await asyncio.to_thread(night.start_postgres)
    await _given_up(night, job)
    await asyncio.to_thread(night.postgres.stop)
    settings.write_text(before)
    signal_file.unlink()
    await asyncio.to_thread(night.start_postgres)
    return await night.end(job)


def _kill(night: Night) -> None:
    for process in night.stack.family("postgres"):
        process.kill()


async def _given_up(night: Night, job: Job) -> None:
    """Until the workflow does not wait any more for another attempt of the step that failed."""
    async with asyncio.timeout(SECONDS):
        while (await night.events(job, "ACTIVITY_TASK_FAILED")) <= (await night.events(job, "TIMER_STARTED")):
            await asyncio.sleep(0.1)


async def too_many_connections(night: Night) -> Job:
    await night.sql(f"ALTER DATABASE {DATABASE} CONNECTION LIMIT 0")
    await _disconnect(night)
    try:
        return await night.index(night.tree)
    finally:
        await night.sql(f"ALTER DATABASE {DATABASE} CONNECTION LIMIT -1")


async def timeout(night: Night) -> Job:
    await night.sql(f"ALTER DATABASE {DATABASE} SET statement_timeout = 1")
    await _disconnect(night)
    try:
        return await night.index(night.tree)
    finally:
        await night.sql(f"ALTER DATABASE {DATABASE} RESET statement_timeout")
        await _disconnect(night)


async def deadlock(night: Night) -> Job:
    """Two sessions that lock the same two things in a different order; the other one has patience."""
    async with _trigger(night), night.connected(DATABASE) as other:
        await other.execute("SET deadlock_timeout = '1h'; BEGIN; SELECT pg_advisory_xact_lock(2)")
        job = await night.index(night.tree, "--force", "--no-wait")
        await night.until_waiting()
        waiting = asyncio.ensure_future(other.execute("SELECT pg_advisory_xact_lock(1)"))
        found = await night.end(job)
        await waiting
    return found


@asynccontextmanager
async def _trigger(night: Night) -> AsyncIterator[None]:
    await night.sql(
        """
        CREATE FUNCTION lock_both() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM pg_advisory_xact_lock(1), pg_advisory_xact_lock(2);
            RETURN NULL;
        END $$;
        CREATE TRIGGER lock_both BEFORE INSERT ON files FOR EACH STATEMENT EXECUTE FUNCTION lock_both();
        """,
        DATABASE,
    )
    await night.sql(f"ALTER DATABASE {DATABASE} SET deadlock_timeout = '3s'")
    await _disconnect(night)
    yield
    await night.sql(f"ALTER DATABASE {DATABASE} RESET deadlock_timeout")
    await night.sql("DROP TRIGGER lock_both ON files; DROP FUNCTION lock_both", DATABASE)
    await _disconnect(night)


async def bug(night: Night) -> Job:
    """The program and its database do not fit."""
    await night.sql("ALTER TABLE files RENAME COLUMN size TO weight", DATABASE)
    try:
        return await night.index(night.tree)
    finally:
        await night.sql("ALTER TABLE files RENAME COLUMN weight TO size", DATABASE)


async def files(night: Night) -> Job:
    """One of each kind of file that cannot be indexed; the job goes on."""
    root = night.stack.directory / "odd"
    shutil.copytree(night.tree, root)
    (root / "unreadable.py").write_text("unreadable = True\n")
    (root / "unreadable.py").chmod(0)
    (root / "large.py").write_text("large = 1\n" * 20_000)
    (root / "binary.bin").write_bytes(bytes(100))
    (root / "undecodable.py").write_bytes(b"name = '\xff\xfe\xfd\x80'\n" * 10)
    (root / "vanished.py").write_text("vanished = True\n")
    async with night.held_up(root, "LOCK TABLE blobs") as job:
        (root / "vanished.py").unlink()
    return await night.end(job)


FAILURES: Final = {
    "path missing": Failure("RootNotFound", "/srv/no_such_tree does not exist", path_missing),
    "not a directory": Failure("RootNotADirectory", "part_00.py is not a directory", not_a_directory),
    "outside the allowed roots": Failure(
        "OutsideAllowedRoots", "/usr is outside the allowed roots", outside_the_allowed_roots
    ),
    "project unknown": Failure("ProjectNotFound", 'database "cb_proj_nobody" does not exist', unknown_project),
    "database does not exist": Failure("DatabaseNotFound", 'database "cb_proj_gone" does not exist', database_gone),
    "authentication refused": Failure("DatabaseRefused", "pg_hba.conf rejects connection", authentication_refused),
    "disk full": Failure("DatabaseDiskFull", "No space left on device", disk_full),
    "schema newer": Failure("SchemaTooNew", "999", schema_too_new),
    "connection lost": Failure("DatabaseUnavailable", "terminating connection", connection_lost),
    "connection refused": Failure("DatabaseUnavailable", "Connection refused", connection_refused),
    "server starting up": Failure("DatabaseUnavailable", "the database system is", starting_up),
    "too many connections": Failure("DatabaseUnavailable", "too many connections", too_many_connections),
    "timeout": Failure("DatabaseUnavailable", "statement timeout", timeout),
    "deadlock": Failure("DatabaseUnavailable", "deadlock detected", deadlock),
    "bug": Failure("UndefinedColumnError", 'column "size"', bug),
}
POSSIBLE: Final = [name for name in FAILURES if name != "disk full" or DiskFull.possible()]
"""On this machine: only root can mount a small disk."""
