from datetime import timedelta

import click
import pytest
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.client import Client

from tests.conftest import Eventually
from verdex import temporal
from verdex.cli.stack import _line
from verdex.local.doctor import _home, examine_services
from verdex.local.findings import Finding, bad, clock, size, well, worrying
from verdex.settings import Settings
from verdex.storage.database import Server
from verdex.storage.migrations import newest
from verdex.storage.projects import Projects


def line(finding) -> str:
    return click.unstyle(_line(finding))


def test_what_is_well_has_no_advice_and_a_warning_is_no_failure():
    assert line(well("git", "git version 2")) == "ok   git: git version 2"
    assert line(worrying("clock", "odd", "mend it")) == "warn clock: odd\n     → mend it"
    assert line(bad("git", "not\ninstalled", "install git")) == "BAD  git: not\\ninstalled\n     → install git"
    assert worrying("clock", "odd", "mend it").ok


@pytest.mark.parametrize(
    ("seconds", "found"),
    [
        (1.9, "as that of this machine"),
        (2.5, "2.5 s ahead of that of this machine"),
        (-90, "90.0 s behind that of this machine"),
    ],
)
def test_clocks_that_differ_by_more_than_two_seconds_are_a_warning(seconds, found):
    finding = clock("PostgreSQL", timedelta(seconds=seconds))
    assert (finding.ok, finding.found, bool(finding.advice)) == (True, found, abs(seconds) > 2)


def test_sizes_have_a_unit_that_fits():
    assert [size(5 * 2**20), size(1536 * 2**20)] == ["5 MiB", "1.5 GiB"]


@pytest.fixture
def environment(client: Client, settings: Settings) -> dict[str, str]:
    return {
        "VERDEX_DATABASE_URL": settings.database_dsn,
        "TEMPORAL_ADDRESS": client.service_client.config.target_host,
        "TEMPORAL_NAMESPACE": client.namespace,
    }


@pytest.fixture
async def worker(worker: None, client: Client, settings: Settings, eventually: Eventually) -> None:
    """It takes workflows and activities by now."""

    async def polls() -> bool:
        kinds = (TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY)
        return all([await temporal.pollers(client, settings.task_queue, kind) for kind in kinds])

    await eventually(polls)


async def found(environment: dict[str, str], settings: Settings) -> dict[str, Finding]:
    return {finding.part: finding for finding in await examine_services(environment, settings.task_queue)}


async def test_services_that_are_well_tell_versions_pollers_migrations_and_clocks(
    environment, settings, server: Server, worker
):
    await Projects(server).create("web")
    findings = await found(environment, settings)
    assert {part for part, finding in findings.items() if finding.advice} == set()
    assert findings["PostgreSQL"].found.startswith("18")
    assert findings["Temporal"].found.startswith("1.")
    assert findings["workers"].found.startswith(f'1 polled "{settings.task_queue}" in the last 75 s: ')
    assert findings["projects"].found == f"1, all with schema version {newest('project')}"
    assert findings["clock of Temporal"].found == findings["clock of PostgreSQL"].found == "as that of this machine"


async def test_a_project_that_is_behind_newer_or_without_its_database_is_named(environment, settings, server: Server):
    for name, statement in (("behind", "DELETE FROM schema_migrations"), ("well", "SELECT 1")):
        project = await Projects(server).create(name)
        async with server.database(project.database_name).connection() as connection:
            await connection.execute(statement)
    warning = (await found(environment, settings))["projects"]
    assert (warning.ok, warning.found) == (True, f"behind: schema version 0 of {newest('project')}")
    async with server.database("cb_proj_behind").connection() as connection:
        await connection.execute("INSERT INTO schema_migrations (version, name) VALUES (99, 'newer')")
    lost = await Projects(server).create("lost")
    await server.forget(lost.database_name)
    async with server.registry.connection() as connection:
        await connection.execute(f"DROP DATABASE {lost.database_name} WITH (FORCE)")
    wrong = (await found(environment, settings))["projects"]
    assert not wrong.ok
    assert f"behind: schema version 99 of {newest('project')}" in wrong.found
    assert 'lost: PostgreSQL: database "cb_proj_lost" does not exist' in wrong.found


async def test_a_project_whose_database_takes_no_connections_is_named_and_the_rest_is_looked_at(
    environment, settings, server: Server
):
    project = await Projects(server).create("closed")
    await server.forget(project.database_name)
    async with server.registry.connection() as connection:
        await connection.execute(f"ALTER DATABASE {project.database_name} ALLOW_CONNECTIONS false")
    findings = await found(environment, settings)
    assert "closed: " in findings["projects"].found
    assert "not currently accepting connections" in findings["projects"].found
    assert findings["leftovers"].ok


async def test_a_database_of_no_project_is_a_leftover(environment, settings, server: Server):
    async with server.registry.connection() as connection:
        await connection.execute("CREATE DATABASE cb_proj_left")
    leftovers = (await found(environment, settings))["leftovers"]
    assert (leftovers.ok, leftovers.found) == (True, "databases of no project: cb_proj_left")


async def test_without_a_worker_and_without_a_schema_it_says_what_to_do(environment, settings):
    findings = await found(environment, settings)
    assert findings["workers"].advice == "start a worker: verdex worker"
    assert (findings["registry"].ok, findings["registry"].found) == (False, f"schema version 0 of {newest('registry')}")


async def test_a_server_that_does_not_answer_is_one_finding(environment, settings):
    away = {
        **environment,
        "VERDEX_DATABASE_URL": "postgresql://a:hunter2@127.0.0.1:1/b",
        "TEMPORAL_ADDRESS": "127.0.0.1:1",
    }
    findings = await found(away, settings)
    assert findings.keys() == {"registry", "Temporal"}
    assert not any("hunter2" in finding.found for finding in findings.values())


async def test_a_registry_and_a_temporal_that_do_not_belong_together_are_told(
    environment, settings, server: Server, worker
):
    assert (await found(environment, settings))["registry and Temporal"].ok
    async with server.registry.connection() as connection:
        await connection.execute("INSERT INTO temporal_namespace (id, name) VALUES ('another', 'default')")
    finding = (await found(environment, settings))["registry and Temporal"]
    assert not finding.ok
    assert 'this registry belongs to the Temporal namespace "default" (another)' in finding.found
    assert "TEMPORAL_ADDRESS" in finding.advice


def test_a_home_that_is_no_directory_is_told(tmp_path):
    (tmp_path / "file").touch()
    finding = _home(tmp_path / "file")
    assert (finding.ok, finding.found) == (False, f"{tmp_path / 'file'} is not a directory")
