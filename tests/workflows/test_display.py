"""What Temporal's lists and its Web UI are told of a job."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from temporalio import activity
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from activities.indexing import IndexingActivities
from tests.conftest import Eventually
from verdex import temporal
from verdex.client import Verdex
from verdex.contracts import JobIdentity, Scan
from verdex.errors import DatabaseUnavailable
from verdex.local.examine_temporal import examine_temporal
from verdex.temporal import search_attributes
from worker import working


def attributes(description) -> dict[str, object]:
    return {
        pair.key.name: pair.value for pair in description.typed_search_attributes if pair.key.name.startswith("Verdex")
    }


@pytest.fixture
def shown(client):
    """The current details of a job, as the Web UI asks for them."""

    async def ask(started) -> str:
        handle = client.get_workflow_handle(started.workflow_id, run_id=started.job_id)
        metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
        return str(metadata.current_details)

    return ask


@pytest.fixture
def searchable(client):
    async def describe(started) -> dict[str, object]:
        return attributes(await client.get_workflow_handle(started.workflow_id, run_id=started.job_id).describe())

    return describe


async def found(client: Client, query: str) -> set[str]:
    return {one.run_id async for one in client.list_workflows(query)}


async def test_a_job_is_found_by_project_repository_status_and_error_type(
    verdex, client, worker, finished, repository, tmp_path, eventually: Eventually
):
    done, lost = await verdex.index(repository), await verdex.index(tmp_path / "nowhere")
    await finished(done.job_id)
    await finished(lost.job_id)

    async def are_listed() -> bool:
        return await found(client, f"VerdexRepository = '{repository}' AND VerdexStatus = 'completed'") == {
            done.job_id
        } and await found(
            client,
            f"VerdexRepository = '{tmp_path / 'nowhere'}' AND VerdexProject = 'default' AND VerdexStatus = 'failed' "
            "AND VerdexErrorType = 'RootNotFound'",
        ) == {lost.job_id}

    await eventually(are_listed)


async def test_a_job_that_nobody_has_taken_up_is_pending_there_too(verdex, searchable, repository):
    assert await searchable(await verdex.index(repository)) == {
        "VerdexProject": "default",
        "VerdexRepository": str(repository),
        "VerdexStatus": "pending",
        "VerdexErrorType": "none",
    }


async def test_of_a_path_that_is_too_long_for_a_keyword_the_end_is_kept(verdex, searchable, tmp_path):
    path = tmp_path.joinpath(*["x" * 200] * 2, "end")
    kept = (await searchable(await verdex.index(path)))["VerdexRepository"]
    assert len(kept) == 255
    assert str(path).endswith(kept)


class Away(IndexingActivities):
    """PostgreSQL is away until somebody says that it is back."""

    back = asyncio.Event()

    @activity.defn
    async def scan(self, job: JobIdentity) -> Scan:
        if not self.back.is_set():
            raise DatabaseUnavailable("PostgreSQL is not available: starting *up*")
        return await super().scan(job)


async def test_the_details_say_what_a_job_waits_for_and_the_status_that_it_is_blocked(
    verdex, run_worker, finished, repository, shown, searchable, eventually: Eventually
):
    Away.back = asyncio.Event()
    async with run_worker(Away):
        started = await verdex.index(repository)

        async def is_blocked() -> bool:
            return bool((await searchable(started))["VerdexStatus"] == "blocked")

        await eventually(is_blocked)
        told = await shown(started)
        assert told.startswith("**blocked**: listing the files\n`PostgreSQL is not available: starting *up* (attempt")
        Away.back.set()
        await finished(started.job_id)
        assert (await searchable(started))["VerdexStatus"] == "completed"


async def test_the_details_follow_the_progress_and_tell_the_result(
    verdex, run_worker, hold, gate, finished, repository, shown
):
    async with run_worker(hold("index_shard")):
        started = await verdex.index(repository)
        await gate.reached()
        assert await shown(started) == "**running**: indexing the files\n3 files, 0 of 1 shards indexed"
        gate.open()
        job = await finished(started.job_id)
        assert await shown(started) == (
            "**completed**\n3 of 3 files indexed (3 added, 0 changed, 0 unchanged), 0 skipped, 0 failed"
            f", {job.chunks_total} chunks"
        )


async def test_the_details_of_a_failed_job_name_the_cause(verdex, worker, finished, shown, tmp_path):
    started = await verdex.index(tmp_path / "no_where")
    job = await finished(started.job_id)
    assert job.error_type == "RootNotFound"
    assert await shown(started) == f"**failed**\n`RootNotFound: {job.error_message}`"


async def test_the_details_of_a_cancelled_job_say_so(verdex, run_worker, hold, gate, finished, repository, shown):
    async with run_worker(hold("index_shard")):
        started = await verdex.index(repository)
        await gate.reached()
        await verdex.cancel(started.job_id)
        await finished(started.job_id)
        assert await shown(started) == "**cancelled**\n`cancelled on request`"


@pytest.fixture
async def bare(client: Client, temporal_environment) -> Client:
    """A connection to a namespace that has none of the search attributes."""
    name = f"bare-{uuid4().hex[:12]}"
    request = RegisterNamespaceRequest(namespace=name)
    request.workflow_execution_retention_period.FromTimedelta(timedelta(days=1))
    await client.workflow_service.register_namespace(request)
    address = client.service_client.config.target_host
    return await temporal.connect(environment={"TEMPORAL_ADDRESS": address, "TEMPORAL_NAMESPACE": name})


async def is_known(client: Client) -> bool:
    """A namespace takes a moment to reach every part of the server."""
    try:
        await client.count_workflows("")
        return await temporal.has_poller(client, "nobody") is False
    except RPCError:
        return False


async def test_a_namespace_without_the_search_attributes_runs_jobs_as_well(
    bare, server, pool, settings, repository, tmp_path, eventually: Eventually
):
    await eventually(lambda: is_known(bare))
    verdex = Verdex(bare, server, settings)
    async with working(bare, server, pool, settings):
        for path, status in ((repository, "completed"), (tmp_path / "nowhere", "failed")):
            started = await verdex.index(path)
            async with asyncio.timeout(30):
                job = [job async for job in verdex.follow(started.job_id)][-1]
            assert job.status == status
            handle = bare.get_workflow_handle(started.workflow_id, run_id=started.job_id)
            assert attributes(await handle.describe()) == {}


async def test_what_a_namespace_lacks_is_registered_and_until_then_doctor_tells(bare, settings, eventually: Eventually):
    await eventually(lambda: is_known(bare))
    names = [key.name for key in search_attributes.KEYS]
    assert await search_attributes.missing(bare) == names
    environment = {
        "TEMPORAL_ADDRESS": bare.service_client.config.target_host,
        "TEMPORAL_NAMESPACE": bare.namespace,
    }
    [finding] = [
        one for one in await examine_temporal(environment, settings.task_queue) if one.part == "search attributes"
    ]
    assert finding.ok
    assert all(name in finding.found for name in names)
    await search_attributes.register(bare)
    await search_attributes.register(bare)
    assert await search_attributes.missing(bare) == []
