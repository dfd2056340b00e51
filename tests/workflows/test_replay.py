"""Jobs that began under an earlier version go on under this one: the histories kept from then replay."""

import base64
import re
import socket
import tempfile
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.opentelemetry import OpenTelemetryPlugin
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from worker import build_worker

HISTORIES = sorted(Path(__file__).with_name("histories").glob("*.json"))


@pytest.fixture
async def config(client, server, pool, settings):
    """What the worker is built of."""
    return build_worker(client, server, pool, settings).config()


@pytest.fixture
def replayer(config):
    return Replayer(
        workflows=config["workflows"],
        data_converter=pydantic_data_converter,
        plugins=[OpenTelemetryPlugin()],
        workflow_runner=config["workflow_runner"],
    )


def test_there_is_a_history_of_every_kind_of_end():
    assert {path.stem for path in HISTORIES} == {
        "success",
        "partial",
        "failed_preflight",
        "failed_result",
        "failed_publish",
        "blocked_then_completed",
        "cancelled",
    }


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_kept_history_replays(replayer, path):
    await replayer.replay_workflow(WorkflowHistory.from_json(f"index:default:{path.stem}", path.read_text()))


async def test_a_history_with_another_order_of_steps_does_not_replay(replayer):
    """Or a replay would prove nothing."""
    text = next(path for path in HISTORIES if path.stem == "success").read_text().replace('"publish"', '"abandon"')
    result = await replayer.replay_workflow(
        WorkflowHistory.from_json("index:default:success", text), raise_on_replay_failure=False
    )
    assert "Nondeterminism" in str(result.replay_failure)


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
