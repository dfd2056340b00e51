import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.testing import WorkflowEnvironment

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
WEEK = 7 * 24 * 60 * 60


def environments() -> Iterator[tuple[str, str]]:
    for service in SERVICES.values():
        yield from service.get("environment", {}).items()


def images() -> Iterator[str]:
    yield from (service["image"] for service in SERVICES.values() if "image" in service)
    yield from re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)


def run(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env={"PATH": PATH, **environment}, capture_output=True, text=True, check=False)


def run_script(name: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return run(["/bin/sh", str(ROOT / "temporal" / name)], environment)


@pytest.fixture
def compose() -> list[str]:
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    if shutil.which("docker") and run(["docker", "compose", "version"], {}).returncode == 0:
        return ["docker", "compose"]
    pytest.skip("neither docker-compose nor docker compose is installed")


def test_every_published_port_is_bound_to_loopback() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(re.fullmatch(r"127\.0\.0\.1:\$\{\w+:-\d+\}:\d+", port) for port in ports), ports


def test_a_service_joins_no_network_of_the_host() -> None:
    assert not any("network_mode" in service for service in SERVICES.values())


def test_every_password_comes_from_the_environment_and_has_no_default() -> None:
    passwords = [value for name, value in environments() if re.search("PASS|PWD", name)]
    passwords += [found for _, value in environments() for found in re.findall(r"://\w+:(.*)@", value)]
    assert len(passwords) >= 5
    assert all(re.fullmatch(r"\$\{\w+PASSWORD(:-|:\?[^}]+)?\}", password) for password in passwords), passwords


def test_the_example_environment_holds_no_password() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert [line for line in lines if "PASSWORD" in line] == ["POSTGRES_PASSWORD=", "TEMPORAL_POSTGRES_PASSWORD="]


def test_the_example_environment_names_every_variable() -> None:
    example = (ROOT / ".env.example").read_text()
    named = set(re.findall(r"^#?(\w+)=", example, re.MULTILINE))
    assert named == set(re.findall(r"(?<!\$)\$\{(\w+)", yaml.safe_dump(SERVICES)))


def test_every_image_is_pinned_to_a_version() -> None:
    tags = [image.partition(":")[2] for image in images()]
    assert tags
    assert all(re.match(r"v?\d+\.\d+", tag) for tag in tags), tags


def test_postgres_alone_needs_one_variable_and_no_other_service() -> None:
    assert set(re.findall(r"(?<!\$)\$\{(\w+):?\?", yaml.safe_dump(SERVICES))) == {"POSTGRES_PASSWORD"}
    assert "depends_on" not in SERVICES["postgres"]


def test_the_worker_has_the_environment_of_the_contract() -> None:
    environment = SERVICES["worker"]["environment"]
    assert environment["VERDEX_DATABASE_URL"] == "postgresql://verdex:${POSTGRES_PASSWORD}@postgres:5432/verdex"
    assert environment["TEMPORAL_ADDRESS"] == "temporal:7233"
    assert {"TEMPORAL_NAMESPACE", "VERDEX_ALLOWED_ROOTS", "VERDEX_HOME", "VERDEX_TASK_QUEUE"} < environment.keys()
    assert f"verdex:{environment['VERDEX_HOME']}" in SERVICES["worker"]["volumes"]


def test_the_worker_sees_the_repositories_read_only_at_the_path_of_the_host() -> None:
    (mount,) = (volume for volume in SERVICES["worker"]["volumes"] if isinstance(volume, dict))
    assert mount["read_only"] is True
    variables = {re.findall(r"\w+", text)[0] for text in (mount["source"], mount["target"])}
    assert variables == {"VERDEX_REPOSITORIES"}


def test_the_worker_refuses_to_start_without_repositories() -> None:
    command = [part.replace("$$", "$") for part in SERVICES["worker"]["command"]]
    ended = run(command, {"VERDEX_ALLOWED_ROOTS": ""})
    assert ended.returncode != 0
    assert "set VERDEX_REPOSITORIES" in ended.stderr


def test_what_only_watches_runs_when_it_is_asked_for() -> None:
    watching = {name for name, service in SERVICES.items() if service.get("profiles") == ["observability"]}
    assert watching == {"prometheus", "grafana", "jaeger"}
    assert not any(watching & set(service.get("depends_on", ())) for service in SERVICES.values())


def test_prometheus_reads_the_worker_where_it_serves_metrics() -> None:
    configured = yaml.safe_load((ROOT / "observability" / "prometheus.yml").read_text())
    (scraped,) = configured["scrape_configs"]
    (found,) = scraped["dns_sd_configs"]
    (worker,) = found["names"]
    assert SERVICES[worker]["environment"]["VERDEX_METRICS_ADDRESS"] == f"0.0.0.0:{found['port']}"
    mounted = {volume.split(":")[1] for volume in SERVICES["prometheus"]["volumes"]}
    assert {f"/etc/prometheus/{name}" for name in configured["rule_files"]} < mounted


def test_grafana_finds_its_sources_at_services_and_its_dashboard_at_a_mount() -> None:
    folder = ROOT / "observability" / "grafana"
    sources = yaml.safe_load((folder / "datasources.yml").read_text())["datasources"]
    assert {urlsplit(source["url"]).hostname for source in sources} == {"prometheus", "jaeger"} <= SERVICES.keys()
    (provider,) = yaml.safe_load((folder / "dashboards.yml").read_text())["providers"]
    targets = [volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/verdex.json" in targets
    assert SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] in targets


def test_every_mounted_file_exists() -> None:
    mounts = [volume for service in SERVICES.values() for volume in service.get("volumes", [])]
    sources = [mount.split(":")[0] for mount in mounts if isinstance(mount, str) and mount.startswith("./")]
    assert len(sources) >= 4
    assert all((ROOT / source).exists() for source in sources), sources


def check_with(compose: list[str], env_file: Path) -> subprocess.CompletedProcess[str]:
    return run([*compose, "--env-file", str(env_file), "-f", str(ROOT / "docker-compose.yml"), "config", "-q"], {})


def test_compose_accepts_the_file_with_one_variable_set(compose: list[str], tmp_path: Path) -> None:
    (tmp_path / "env").write_text("POSTGRES_PASSWORD=p\n")
    ended = check_with(compose, tmp_path / "env")
    assert ended.returncode == 0, ended.stderr


def test_compose_says_that_the_password_is_missing(compose: list[str], tmp_path: Path) -> None:
    (tmp_path / "env").touch()
    ended = check_with(compose, tmp_path / "env")
    assert ended.returncode != 0
    assert "set POSTGRES_PASSWORD" in ended.stderr


@pytest.mark.parametrize(
    ("script", "missing", "environment"),
    [
        ("setup-namespace.sh", "TEMPORAL_ADDRESS", {}),
        ("setup-namespace.sh", "TEMPORAL_NAMESPACE", {"TEMPORAL_ADDRESS": "127.0.0.1:7233"}),
        ("setup-schema.sh", "SQL_PASSWORD", dict.fromkeys(("SQL_PLUGIN", "SQL_HOST", "SQL_PORT", "SQL_USER"), "x")),
    ],
)
def test_a_script_names_the_variable_that_is_missing(script: str, missing: str, environment: dict[str, str]) -> None:
    ended = run_script(script, environment)
    assert ended.returncode != 0
    assert f"{missing}: is not set" in ended.stderr


@pytest.fixture
async def temporal() -> AsyncIterator[WorkflowEnvironment]:
    server = shutil.which("temporal", path=PATH)
    assert server, "the extra `local` is not installed"
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=server) as environment:
        yield environment


async def test_the_namespace_is_set_up_once_however_often_the_script_runs(temporal: WorkflowEnvironment) -> None:
    address = temporal.client.service_client.config.target_host
    environment = {"TEMPORAL_ADDRESS": address, "TEMPORAL_NAMESPACE": "verdex"}
    for said in ("verdex successfully registered", "verdex exists"):
        ended = run_script("setup-namespace.sh", environment)
        assert ended.returncode == 0, ended.stderr
        assert said in ended.stdout

    namespace = DescribeNamespaceRequest(namespace="verdex")
    described = await temporal.client.workflow_service.describe_namespace(namespace)
    assert described.config.workflow_execution_retention_ttl.seconds == WEEK

    attributes = ListSearchAttributesRequest(namespace="verdex")
    listed = (await temporal.client.operator_service.list_search_attributes(attributes)).custom_attributes
    wanted = ("VerdexProject", "VerdexRepository", "VerdexStatus", "VerdexErrorType")
    assert [listed.get(name) for name in wanted] == [IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD] * len(wanted)
