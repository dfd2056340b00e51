"""Projects: a row in the registry and a database each, whatever breaks off in between."""

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from tests.storage.conftest import ENDED, job_record, success
from verdex.contracts import JobStatus
from verdex.errors import DatabaseNotFound, ProjectExists, ProjectInUse, ProjectNameInvalid, ProjectNotFound
from verdex.local.postgres import Postgres
from verdex.storage.database import Server
from verdex.storage.migrations import newest, version
from verdex.storage.projects import Projects, database_name
from verdex.storage.registry import Registry

_UNFINISHED: tuple[JobStatus, ...] = ("pending", "running", "blocked")


@pytest.fixture
def projects(server: Server) -> Projects:
    return Projects(server)


async def _databases(server: Server) -> set[str]:
    async with server.registry.connection() as connection:
        rows = await connection.fetch("SELECT datname FROM pg_database WHERE datname LIKE 'cb\\_proj\\_%'")
    return {row["datname"] for row in rows}


async def _schema_version(server: Server, name: str) -> int:
    async with server.database(name).connection() as connection:
        return await version(connection)


async def test_a_project_is_a_row_and_a_database_of_the_newest_schema(projects: Projects, server: Server):
    created = await projects.create("web-shop")
    assert (created.id, created.database_name) == ("web-shop", "cb_proj_web_shop")
    assert await projects.list() == [created]
    assert await _databases(server) == {"cb_proj_web_shop"}
    assert await _schema_version(server, "cb_proj_web_shop") == newest("project")
    assert (await projects.database("web-shop")) is server.database("cb_proj_web_shop")


async def test_projects_are_listed_by_name(projects: Projects):
    for name in ("b", "a"):
        await projects.create(name)
    assert [project.id for project in await projects.list()] == ["a", "b"]


async def test_only_the_default_project_comes_by_itself(projects: Projects, server: Server):
    assert (await projects.database("default")).name == "cb_proj_default"
    assert (await projects.database("default")).name == "cb_proj_default"
    with pytest.raises(ProjectNotFound, match='"other" does not exist: database "cb_proj_other" does not exist'):
        await projects.database("other")
    assert [project.id for project in await projects.list()] == ["default"]


async def test_many_may_ask_for_the_default_project_first(projects: Projects, server: Server):
    found = await asyncio.gather(*(projects.database("default") for _ in range(20)))
    assert {database.name for database in found} == {"cb_proj_default"}
    assert await _schema_version(server, "cb_proj_default") == newest("project")


async def test_many_projects_may_be_created_and_dropped_at_once(projects: Projects, server: Server):
    names = [f"p{number}" for number in range(9)]  # one more than the pool has connections
    await asyncio.gather(*map(projects.create, names))
    assert await _databases(server) == set(map(database_name, names))
    await asyncio.gather(*map(projects.drop, names))
    assert await _databases(server) == set()


async def test_workers_of_several_processes_create_a_project_once(registry_url: str, server: Server):
    async with Server(registry_url) as one, Server(registry_url) as other:
        results = await asyncio.gather(
            Projects(one).create("shared"), Projects(other).create("shared"), return_exceptions=True
        )
    assert sorted(type(result).__name__ for result in results) == ["Project", "ProjectExists"]


async def test_a_project_exists_once(projects: Projects):
    await projects.create("one")
    with pytest.raises(ProjectExists, match='project "one" exists already'):
        await projects.create("one")


async def test_two_names_cannot_share_a_database(projects: Projects):
    await projects.create("a-b")
    with pytest.raises(ProjectExists, match='"a_b" would share database "cb_proj_a_b" with project "a-b"'):
        await projects.create("a_b")
    with pytest.raises(ProjectNotFound):
        await projects.database("a_b")


async def test_a_name_that_no_database_can_have_is_refused(projects: Projects, server: Server):
    for name in ("", "A", "-a", "_a", "a b", "a" * 56, "ä", "a\n", 'a"; DROP DATABASE postgres; --'):
        with pytest.raises(ProjectNameInvalid, match="use 1 to 55"):
            await projects.create(name)
        with pytest.raises(ProjectNotFound):
            await projects.drop(name)
    assert await _databases(server) == set()


async def test_a_name_may_be_as_long_as_postgresql_allows(projects: Projects, server: Server):
    await projects.create("a-_-" + "9" * 51)
    assert await _databases(server) == {"cb_proj_a___" + "9" * 51}


async def test_a_dropped_project_is_gone_but_its_jobs_are_kept(projects: Projects, server: Server, registry: Registry):
    await projects.create("old")
    await registry.record(job_record("completed", project_id="old", result=success()))
    await registry.record(other := job_record("running", project_id="other", created_at=ENDED))
    await projects.drop("old")
    assert (await projects.list(), await _databases(server)) == ([], set())
    with pytest.raises(ProjectNotFound):
        await projects.database("old")
    with pytest.raises(ProjectNotFound):
        await projects.drop("old")
    assert [job.project_id for job in await registry.jobs()] == [other.identity.project_id, "old"]


async def test_a_project_is_not_dropped_while_a_job_works_on_it(projects: Projects, server: Server, registry: Registry):
    await projects.create("busy")
    job_id = str(uuid4())
    for revision, status in enumerate(_UNFINISHED):
        record = job_record(status, revision=revision, job_id=job_id, project_id="busy", status_message="waiting")
        await registry.record(record)
        with pytest.raises(ProjectInUse, match=job_id):
            await projects.drop("busy")
    assert [project.id for project in await projects.list()] == ["busy"]
    assert await _schema_version(server, "cb_proj_busy") == newest("project")


async def test_open_connections_do_not_keep_a_project(projects: Projects, server: Server, postgres: Postgres):
    await projects.create("watched")
    somebody = await asyncpg.connect(postgres.url("cb_proj_watched"))
    async with server.database("cb_proj_watched").connection() as own:
        await own.execute("SELECT 1")
    held = server.database("cb_proj_watched")
    await projects.drop("watched")
    assert await _databases(server) == set()
    somebody.terminate()
    with pytest.raises(DatabaseNotFound, match="cb_proj_watched"):
        async with held.connection():
            pass


async def test_what_an_interrupted_creation_left_is_taken_up(projects: Projects, server: Server):
    async with server.registry.connection() as connection:
        await connection.execute("CREATE DATABASE cb_proj_half")
    with pytest.raises(ProjectNotFound):
        await projects.database("half")
    await projects.create("half")
    assert await _schema_version(server, "cb_proj_half") == newest("project")


async def test_what_an_interrupted_drop_left_can_be_dropped_again(projects: Projects, server: Server):
    await projects.create("half")
    await server.forget("cb_proj_half")
    async with server.registry.connection() as connection:
        await connection.execute("DROP DATABASE cb_proj_half")
    await projects.drop("half")
    assert await projects.list() == []
    await projects.create("half")
    assert await _databases(server) == {"cb_proj_half"}
