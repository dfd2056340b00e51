"""A registry that is led to another Temporal than its own: nothing is ended, and everything says what is wrong."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from tests.conftest import Eventually
from verdex.client import Verdex
from verdex.errors import SettingsError
from verdex.reconcile import Reconciler
from verdex.storage.database import Server
from verdex.storage.namespaces import Namespace, owner
from verdex.temporal.jobs import TemporalJobs


@pytest.fixture
async def other_client(client: Client, eventually: Eventually) -> Client:
    """Another namespace, which knows no job."""
    request = RegisterNamespaceRequest(namespace=f"other-{uuid4().hex[:12]}")
    request.workflow_execution_retention_period.FromTimedelta(timedelta(days=1))
    await client.workflow_service.register_namespace(request)
    config = client.config()
    config["namespace"] = request.namespace
    other = Client(**config)

    async def is_ready() -> bool:
        try:
            await anext(other.list_workflows("WorkflowType = 'X'"), None)
        except RPCError:
            return False
        return True

    await eventually(is_ready)
    return other


@pytest.fixture
def elsewhere(other_client: Client, server, settings) -> Verdex:
    """The right registry with the wrong Temporal."""
    return Verdex(other_client, server, settings)


async def test_in_another_temporal_no_job_is_taken_for_lost(
    verdex, elsewhere, other_client, server, run_worker, held_up, gate, repository, finished
):
    async with run_worker(held_up):
        started = await verdex.index(repository)
        await gate.reached()
        for work in (
            elsewhere.job(started.job_id),
            elsewhere.jobs(),
            elsewhere.index(repository),
            elsewhere.job(str(uuid4())),
            Reconciler(TemporalJobs(other_client), server).reconcile_all(),
        ):
            with pytest.raises(SettingsError, match=r'belongs to the Temporal namespace "default" \(.* set them right'):
                await work
        assert (await verdex.job(started.job_id)).status == "running"
        gate.open()
        job = await finished(started.job_id)
    assert job.status == "completed"
    assert await elsewhere.job(started.job_id) == job


async def test_when_its_temporal_is_lost_and_that_was_said_its_jobs_are_ended_as_lost(
    verdex, elsewhere, server, run_worker, held_up, gate, repository
):
    async with run_worker(held_up):
        started = await verdex.index(repository)
        await gate.reached()
    with pytest.raises(SettingsError, match="DELETE FROM temporal_namespace"):
        await elsewhere.jobs()
    async with server.registry.connection() as connection:
        await connection.execute("DELETE FROM temporal_namespace")
    (job,) = await elsewhere.jobs()
    assert (job.job_id, job.status, job.error_type) == (started.job_id, "failed", "WorkflowLost")
    with pytest.raises(SettingsError):
        await verdex.index(repository)


async def test_a_registry_keeps_one_namespace_whoever_comes_first(server):
    first, second = Namespace("1", "default"), Namespace("2", "default")
    owners = set(await asyncio.gather(*(owner(server.registry, one) for one in (first, second) * 5)))
    assert len(owners) == 1
    assert owners < {first, second}


async def test_a_registry_that_is_not_migrated_yet_belongs_to_nobody(registry_url):
    async with Server(registry_url) as server:
        assert await owner(server.registry, Namespace("1", "default")) == Namespace("1", "default")
