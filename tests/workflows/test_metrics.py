"""What Prometheus reads of a worker is what the rows say; and the rules and the dashboard ask for nothing else."""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen
from uuid import UUID, uuid4

import pytest
import yaml
from temporalio.client import Client
from temporalio.common import MetricMeter

import worker as worker_module
from activities import metrics
from activities.metrics import BUCKETS, OTHER, EndMetrics
from activities.observer import Observer
from verdex import __version__, temporal
from verdex.contracts import RECONCILE_JOBS
from verdex.indexing.pool import ChunkPool
from verdex.indexing.shard import BATCH_FILES
from verdex.storage.observation import Ended
from verdex.temporal.jobs import TemporalJobs
from worker import working

OBSERVABILITY = Path(__file__).parents[2] / "observability"
RULES = OBSERVABILITY / "verdex.rules.yml"
NAME = re.compile(r"\b((?:verdex|temporal)[_:][\w:]+)")
END = "UPDATE indexing_jobs SET status = 'cancelled', completed_at = now() WHERE id = $1"

Scrape = Callable[[], Awaitable[list[str]]]


@pytest.fixture
def address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
async def measured(client: Client, address: str) -> Client:
    """A connection whose metrics are served."""
    return await temporal.connect(
        environment={"TEMPORAL_ADDRESS": client.service_client.config.target_host},
        runtime=temporal.serving_runtime(address, BUCKETS),
    )


@pytest.fixture
async def scrape(measured: Client, server, settings, address: str) -> Scrape:
    """Measure, and give what Prometheus then reads: each line a sample."""
    observer = Observer(temporal.meter(measured), server.registry, TemporalJobs(measured), settings.task_queue)
    await observer.read()

    async def read() -> list[str]:
        await observer.read()
        return await asyncio.to_thread(served, address)

    return read


def served(address: str) -> list[str]:
    with urlopen(f"http://{address}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text.splitlines()


def value(lines: list[str], sample: str) -> float:
    (line,) = (line for line in lines if line.startswith(f"{sample} "))
    return float(line.rpartition(" ")[2])


@pytest.fixture
async def story(
    measured, server, pool, settings, verdex, repository, tmp_path, finished, held_up, gate, scrape, monkeypatch
) -> list[str]:
    """What is served after one job was terminated and reconciled, one completed, and one failed."""
    monkeypatch.setattr(worker_module, "IndexingActivities", held_up)
    (tmp_path / "other").mkdir()
    async with working(measured, server, pool, settings):
        lost = await verdex.index(tmp_path / "other")
        await gate.reached()
        await measured.get_workflow_handle(lost.workflow_id, run_id=lost.job_id).terminate()
        gate.open()
        queue = settings.task_queue
        assert await measured.execute_workflow(RECONCILE_JOBS, id=f"{queue}-reconcile", task_queue=queue) == 1
        for path in (repository, tmp_path / "nowhere"):
            await finished((await verdex.index(path)).job_id)
        lines: list[str] = await scrape()
    return lines


async def test_every_job_is_counted_once_by_its_status_and_type_of_error(story):
    assert [line for line in story if line.startswith("verdex_jobs_")] == [
        "verdex_jobs_reconciled_total 1",
        'verdex_jobs_total{error_type="",status="cancelled"} 0',
        'verdex_jobs_total{error_type="",status="completed"} 1',
        'verdex_jobs_total{error_type="RootNotFound",status="failed"} 1',
        'verdex_jobs_total{error_type="WorkflowTerminated",status="failed"} 1',
    ]
    assert "verdex_completed_zero_files_total 0" in story


def size_of(tree: Path) -> int:
    return sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())


async def test_work_is_measured_in_base_units(story, repository: Path):
    assert {
        f"verdex_read_bytes_total {size_of(repository)}",
        "verdex_chunks_created_total 3",
        'verdex_files_total{outcome="failed"} 0',
        'verdex_files_total{outcome="indexed"} 3',
        'verdex_files_total{outcome="skipped"} 0',
        "verdex_shard_duration_seconds_count 1",
        'verdex_shard_duration_seconds_bucket{le="300"} 1',
        'verdex_phase_duration_seconds_count{phase="scan"} 1',
        'verdex_phase_duration_seconds_bucket{phase="scan",le="7200"} 1',
        'verdex_job_duration_seconds_count{status="completed"} 1',
        'verdex_job_duration_seconds_count{status="failed"} 2',
        f'verdex_build_info{{version="{__version__}"}} 1',
    } <= set(story)


async def test_what_was_read_is_counted_also_of_a_shard_that_breaks_off(
    measured, server, settings, verdex, tmp_path, finished, address
):
    class FirstBatch(ChunkPool):
        async def chunk(self, sources):
            if len(sources) < BATCH_FILES:
                raise RuntimeError("the shard breaks off")
            return await super().chunk(sources)

    for number in range(BATCH_FILES + 1):
        (tmp_path / f"{number:02}.py").write_text(f"x = {number:02}\n")
    pool = FirstBatch(1)
    async with working(measured, server, pool, settings):
        job = await finished((await verdex.index(tmp_path)).job_id)
    pool.close()
    assert job.status == "failed"
    lines = served(address)
    assert value(lines, "verdex_read_bytes_total") == BATCH_FILES * len("x = 00\n")
    assert not [line for line in lines if line.startswith("verdex_shard_duration_seconds_count")]


async def test_the_state_of_jobs_and_repositories_is_that_of_the_registry(story, server):
    assert {
        'verdex_unfinished_jobs{status="pending"} 0',
        'verdex_unfinished_jobs{status="running"} 0',
        'verdex_unfinished_jobs{status="blocked"} 0',
        "verdex_queue_age_seconds 0",
        "verdex_blocked_age_seconds 0",
        'verdex_failing_repositories{project="default"} 2',
    } <= set(story)
    async with server.registry.connection() as connection:
        succeeded, failed = await connection.fetchrow(
            """
            SELECT extract(epoch FROM max(completed_at) FILTER (WHERE status = 'completed'))::float8,
                   extract(epoch FROM min(completed_at) FILTER (WHERE status = 'failed'))::float8
            FROM indexing_jobs
            """
        )
    assert value(story, 'verdex_oldest_success_timestamp_seconds{project="default"}') == pytest.approx(succeeded)
    assert value(story, 'verdex_failing_since_timestamp_seconds{project="default"}') == pytest.approx(failed)


async def test_temporals_own_metrics_come_along(story, settings):
    labels = f'namespace="default",task_queue="{settings.task_queue}",workflow_type="IndexRepository"'
    assert f"temporal_workflow_completed_total{{{labels}}} 1" in story
    assert f"temporal_workflow_failed_total{{{labels}}} 1" in story


async def test_no_label_holds_a_job_or_a_path(story, tmp_path: Path):
    assert not [line for line in story if str(tmp_path) in line or re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", line)]


async def test_rules_and_dashboard_ask_only_for_what_a_worker_serves(story):
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    known = {line.partition("{")[0].partition(" ")[0] for line in story if not line.startswith("#")}
    recorded = {rule["record"] for rule in rules if "record" in rule}
    wanted = {name for text in (*(rule["expr"] for rule in rules), *panels()) for name in NAME.findall(text)}
    assert len(wanted) >= 20
    assert wanted <= known | recorded


def panels() -> Iterator[str]:
    for panel in json.loads((OBSERVABILITY / "grafana" / "verdex.json").read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    return found


def test_prometheus_accepts_the_rules_and_their_tests_pass(promtool: str):
    run(promtool, "check", "rules", RULES)
    run(promtool, "test", "rules", OBSERVABILITY / "verdex.rules.test.yml")
    run(promtool, "check", "config", OBSERVABILITY / "prometheus.yml")


def test_prometheus_accepts_what_the_dashboard_asks(promtool: str, tmp_path: Path):
    asked = [expression.replace("$__rate_interval", "1m") for expression in panels()]
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(asked)]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    run(promtool, "check", "rules", "--lint-fatal", tmp_path / "panels.yml")


async def test_prometheus_finds_nothing_to_lint_in_what_is_served(story, promtool: str):
    own = "\n".join(line for line in story if "verdex_" in line.partition("{")[0])
    run(promtool, "check", "metrics", text=f"{own}\n")


def run(*command: object, text: str | None = None) -> None:
    done = subprocess.run([*map(str, command)], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_that_fires_it_and_one_that_does_not():
    alerts = {
        rule["alert"]
        for group in yaml.safe_load(RULES.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    tests = yaml.safe_load((OBSERVABILITY / "verdex.rules.test.yml").read_text())["tests"]
    checks = [check for test in tests for check in test["alert_rule_test"]]
    assert {check["alertname"] for check in checks if check.get("exp_alerts")} == alerts
    assert {check["alertname"] for check in checks if not check.get("exp_alerts")} == alerts


async def test_a_job_that_the_status_read_of_a_command_ends_is_counted(verdex, client, repository, scrape):
    lost = await verdex.index(repository)
    await client.get_workflow_handle(lost.workflow_id, run_id=lost.job_id).terminate()
    assert (await verdex.job(lost.job_id)).status == "failed"
    lines = await scrape()
    assert 'verdex_jobs_total{error_type="WorkflowTerminated",status="failed"} 1' in lines
    assert "verdex_jobs_reconciled_total 1" in lines


async def test_a_job_that_no_worker_takes_up_is_pending(verdex, repository, scrape, eventually):
    await verdex.index(repository)

    async def is_shown() -> bool:  # Temporal's lists lag behind a little
        return 'verdex_unfinished_jobs{status="pending"} 1' in await scrape()

    await eventually(is_shown)
    assert value(await scrape(), "verdex_queue_age_seconds") > 0


async def begin(connection) -> UUID:
    job_id = uuid4()
    await connection.execute(
        """
        INSERT INTO indexing_jobs (id, workflow_id, project_id, repo_path, force_reindex, trace_id, created_at, status)
        VALUES ($1, 'w', 'default', '/r', false, repeat('a', 32), now(), 'pending')
        """,
        job_id,
    )
    await connection.execute("UPDATE indexing_jobs SET status = 'running', started_at = now() WHERE id = $1", job_id)
    return job_id


async def test_a_blocked_job_is_counted_with_the_time_since_it_was_blocked_last(server, scrape):
    async with server.registry.connection() as connection:
        job_id = await begin(connection)
        for status in ("blocked", "running", "blocked", "blocked"):
            why = f"because {uuid4()}"
            await connection.execute(
                "UPDATE indexing_jobs SET status = $2, status_message = $3 WHERE id = $1", job_id, status, why
            )
        since = await connection.fetchval(
            "SELECT extract(epoch FROM at)::float8 FROM job_events WHERE event = 'blocked' ORDER BY id OFFSET 1 LIMIT 1"
        )
        lines = await scrape()
        now = await connection.fetchval("SELECT extract(epoch FROM now())::float8")
    assert 'verdex_unfinished_jobs{status="blocked"} 1' in lines
    assert 0 < value(lines, "verdex_blocked_age_seconds") <= now - since


async def test_a_job_is_counted_though_its_event_is_committed_after_later_ones(server, scrape):
    async with server.registry.transaction() as slow, server.registry.connection() as quick:
        await slow.execute(END, await begin(slow))
        await quick.execute(END, await begin(quick))
        assert 'verdex_jobs_total{error_type="",status="cancelled"} 1' in await scrape()
    for _ in range(2):
        assert 'verdex_jobs_total{error_type="",status="cancelled"} 2' in await scrape()


async def test_what_ended_before_the_worker_started_is_there_and_not_counted(server, measured, settings, address):
    async with server.registry.connection() as connection:
        await connection.execute(
            """
            UPDATE indexing_jobs SET status = 'failed', completed_at = now(), result_status = 'failed',
                   error_message = 'm', error_type = 'DatabaseDiskFull' WHERE id = $1
            """,
            await begin(connection),
        )
    meter = temporal.meter(measured)
    await Observer(meter, server.registry, TemporalJobs(measured), settings.task_queue).read()
    assert 'verdex_jobs_total{error_type="DatabaseDiskFull",status="failed"} 0' in served(address)


async def test_a_completed_job_without_files_is_counted_and_warned_of(server, scrape, caplog):
    async with server.registry.connection() as connection:  # what the database refuses, unless somebody lets it
        await connection.execute("ALTER TABLE indexing_jobs DROP CONSTRAINT completed_holds_files")
        job_id = await begin(connection)
        await connection.execute(
            """
            UPDATE indexing_jobs SET status = 'completed', result_status = 'success', completed_at = now(),
                   generation = 1, manifest_digest = repeat('0', 64) WHERE id = $1
            """,
            job_id,
        )
    assert "verdex_completed_zero_files_total 1" in await scrape()
    (warning,) = (record for record in caplog.records if record.levelname == "WARNING")
    assert (warning.getMessage(), warning.job_id) == ("job is completed and holds no files", str(job_id))


async def test_while_the_registry_is_away_the_metrics_say_how_old_they_are(server, scrape, caplog):
    before = await scrape()
    async with server.registry.connection() as connection:
        await connection.execute("ALTER TABLE job_events RENAME TO away")
    for _ in range(2):
        after = await scrape()
    sample = 'verdex_observed_timestamp_seconds{source="registry"}'
    assert value(after, sample) == value(before, sample)
    said = [record for record in caplog.records if record.name == "activities.observer"]
    assert [(record.getMessage(), record.source) for record in said] == [
        ("nothing can be measured", "registry"),
        ("nothing can be measured", "queue"),
    ]


def test_types_of_errors_are_bounded(measured: Client, address: str):
    ends = EndMetrics(temporal.meter(measured))
    for number in range(metrics.NAMED_ERROR_TYPES + 2):
        ends.ended(Ended(number, "j", "failed", f"Bug{number}", 1, 1.0, 0, 0, 0, 0), reconciled=False)
    failed = [line for line in served(address) if line.startswith("verdex_jobs_total{") and 'status="failed"' in line]
    assert len(failed) == metrics.NAMED_ERROR_TYPES + 1
    assert f'verdex_jobs_total{{error_type="{OTHER}",status="failed"}} 2' in failed


async def test_a_command_serves_no_metrics(client: Client):
    address = client.service_client.config.target_host
    assert temporal.meter(await temporal.connect(environment={"TEMPORAL_ADDRESS": address})) is MetricMeter.noop


@contextmanager
def polling_worker(environment: dict[str, str]) -> Iterator[list[dict[str, str]]]:
    """A worker in a process of its own, and the lines that it logged until it polled."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "worker"], env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    with process, process.stderr:
        try:
            lines: list[dict[str, str]] = []
            for line in process.stderr:
                lines.append(json.loads(line))
                if lines[-1]["message"] == "worker is polling":
                    break
            yield lines
        finally:
            process.terminate()


def test_a_worker_whose_address_is_taken_says_so_in_one_line_and_works(client, settings, registry_url, address):
    environment = {
        "VERDEX_DATABASE_URL": registry_url,
        "VERDEX_HOME": str(settings.home),
        "VERDEX_TASK_QUEUE": settings.task_queue,
        "VERDEX_METRICS_ADDRESS": address,
        "TEMPORAL_ADDRESS": client.service_client.config.target_host,
    }
    with polling_worker(environment) as first, polling_worker(environment) as second:
        assert [line["message"] for line in first] == ["worker is polling"]
        assert [line["level"] for line in second] == ["ERROR", "INFO"]
        assert second[0]["message"].startswith(f"no metrics: VERDEX_METRICS_ADDRESS is '{address}': ")
        assert "traceback" not in second[0]
        assert 'verdex_unfinished_jobs{status="running"} 0' in served(address)
