"""Jobs that began under an earlier version go on under this one: the histories kept from then replay.

Beside each history stands its fingerprint: the commands that the workflow issued, one a line.
"""

import base64
import json
import re
import socket
import tempfile
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.contrib.opentelemetry import OpenTelemetryPlugin
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from activities.indexing import IndexingActivities
from tests.workflows import commands
from verdex import temporal
from verdex.contracts import INDEX_REPOSITORY, IndexRequest, IndexResult
from verdex.embedding import Embedders
from worker import build_workers
from workflows import policies
from workflows.index_repository import IndexRepository, _index_shards
from workflows.row import JobRow
from workflows.steps import Steps

HISTORIES = sorted(Path(__file__).with_name("histories").glob("*.json"))


@pytest.fixture
async def config(client, server, pool, settings):
    """What the worker is built of."""
    return build_workers(client, server, pool, Embedders(None), settings).steps.config()


@pytest.fixture
def options(config):
    """What a replayer is built of, so that it does what the worker does."""
    return {
        "workflows": config["workflows"],
        "data_converter": temporal.DATA_CONVERTER,
        "plugins": [OpenTelemetryPlugin()],
        "workflow_runner": config["workflow_runner"],
    }


@pytest.fixture
def replayer(options):
    return Replayer(**options)


def history(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(f"index:default:{path.stem}", path.read_text())


def kept(name: str) -> Path:
    return next(path for path in HISTORIES if path.stem == name)


def fingerprint(path: Path) -> list[str]:
    return path.with_suffix(".txt").read_text().splitlines()


def test_there_is_a_history_of_every_kind_of_end():
    assert {path.stem.partition("-")[0] for path in HISTORIES} == {
        "success",
        "partial",
        "failed_preflight",
        "failed_result",
        "failed_publish",
        "blocked_then_completed",
        "cancelled",
        "held_up_shards",
    }


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_a_fingerprint_is_that_of_its_history(path):
    assert fingerprint(path) == commands.of_history(json.loads(path.read_text()))


async def complaint(options, path) -> str | None:
    """What the workflows of today would do to a job that has come as far as this history, and what to do about it."""
    found, failure = await commands.of_code(options, history(path))
    changed = commands.difference(fingerprint(path), found)
    if changed is None and failure is not None:
        raise failure
    return changed and (
        f"{path.stem}: {changed}.\nA job that an older worker began stops at this point on a worker of this version, "
        f"and only goes on when the older one is back.\nKeep the old way for it under `workflow.patched`, and record "
        f"the new way beside the old: python tests/workflows/record_histories.py {path.stem.partition('-')[0]}"
    )


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_the_workflow_issues_the_commands_of_every_kept_history(options, path):
    if told := await complaint(options, path):
        pytest.fail(told, pytrace=False)


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_kept_history_replays(replayer, path):
    await replayer.replay_workflow(history(path))


async def test_a_history_with_another_order_of_steps_does_not_replay(replayer):
    """Or a replay would prove nothing."""
    text = kept("success").read_text().replace('"publish"', '"abandon"')
    result = await replayer.replay_workflow(
        WorkflowHistory.from_json("index:default:success", text), raise_on_replay_failure=False
    )
    assert "Nondeterminism" in str(result.replay_failure)


@workflow.defn(name=INDEX_REPOSITORY)
class PublishesTooEarly(IndexRepository):
    """An edit that changes the order of two steps."""

    @workflow.run
    async def run(self, request: IndexRequest) -> IndexResult:
        return await super().run(request)

    async def _index(self, row: JobRow, steps: Steps) -> IndexResult:
        await steps.run(IndexingActivities.preflight, row.identity, policies.PREFLIGHT)
        row.enter("scan")
        scan = await steps.run(IndexingActivities.scan, row.identity, policies.SCAN)
        result = await self._publish(steps, scan.manifest)
        await _index_shards(steps, scan, row.display)
        return result


@workflow.defn(name=INDEX_REPOSITORY)
class SkipsPreflight(IndexRepository):
    """An edit that leaves a step out."""

    @workflow.run
    async def run(self, request: IndexRequest) -> IndexResult:
        return await super().run(request)

    async def _index(self, row: JobRow, steps: Steps) -> IndexResult:
        return await self._publish(
            steps, (await steps.run(IndexingActivities.scan, row.identity, policies.SCAN)).manifest
        )


@workflow.defn(name=INDEX_REPOSITORY)
class ScansTwice(IndexRepository):
    """An edit as it should be: jobs that began before go on in the old way."""

    @workflow.run
    async def run(self, request: IndexRequest) -> IndexResult:
        return await super().run(request)

    async def _index(self, row: JobRow, steps: Steps) -> IndexResult:
        if workflow.patched("scan twice"):
            await steps.run(IndexingActivities.scan, row.identity, policies.SCAN)
        return await super()._index(row, steps)


@pytest.mark.parametrize(
    ("edited", "name", "told"),
    [
        (
            PublishesTooEarly,
            "success",
            "after run scan, run update_registry: expected run update_registry, got run publish",
        ),
        (PublishesTooEarly, "failed_preflight", None),
        (SkipsPreflight, "success", "after run update_registry: expected run preflight, got run scan"),
        (SkipsPreflight, "failed_preflight", "after run update_registry: expected run preflight, got run scan"),
        (ScansTwice, "success", None),
    ],
)
async def test_an_edited_workflow_is_told_which_step_it_changed_and_what_to_do(options, edited, name, told):
    options |= {"workflows": [edited], "workflow_runner": UnsandboxedWorkflowRunner()}
    complained = await complaint(options, kept(name))
    if told is None:
        assert complained is None
    else:
        assert str(complained).startswith(f"{name}: {told}.")
        assert str(complained).endswith(f"python tests/workflows/record_histories.py {name}")


def test_no_kept_history_names_a_machine():
    for path in HISTORIES:
        text = path.read_text()
        payloads = [base64.b64decode(data).decode() for data in re.findall(r'"data": "([^"]*)"', text)]
        for place in (tempfile.gettempdir(), str(Path.home()), socket.gethostname()):
            assert not any(place in part for part in (text, *payloads))


def test_the_workflows_run_in_the_sandbox(config):
    runner = config["workflow_runner"]
    assert isinstance(runner, SandboxedWorkflowRunner)
    assert not isinstance(runner, UnsandboxedWorkflowRunner)
    restrictions = runner.restrictions
    assert not restrictions.passthrough_all_modules
    assert "workflows" not in restrictions.passthrough_modules
    assert restrictions.invalid_module_members == type(restrictions).default.invalid_module_members
