"""An index that is gone since a job published it: the row stays, and everything that shows the job says so."""

import asyncio
import logging
from contextlib import AsyncExitStack
from uuid import UUID

import pytest
from temporalio.client import WorkflowFailureError

from tests.workflows.conftest import tamper
from verdex.client import Verdex
from verdex.presence import PATIENCE, absent
from verdex.reconcile import Reconciler
from verdex.storage.claims import Claim, Repository
from verdex.storage.database import Server
from verdex.temporal.jobs import TemporalJobs


async def drop(server: Server) -> None:
    await server.forget("cb_proj_default")
    async with server.registry.connection() as connection:
        await connection.execute("DROP DATABASE cb_proj_default WITH (FORCE)")


async def assert_shown(verdex: Verdex, job_id: str, message: str | None) -> None:
    """On every read; the rest is as it was."""
    (listed,) = [job for job in await verdex.jobs() if job.job_id == job_id]
    assert (listed.status, listed.status_message) == ("completed", message)
    assert await verdex.job(job_id) == listed


LOSSES = {
    "all tables are empty": ("TRUNCATE repositories, manifests, files, blobs, chunks", "nothing is published any more"),
    "there is no schema": ("DROP SCHEMA public CASCADE; CREATE SCHEMA public", "nothing is published any more"),
    "nothing is published": (
        "UPDATE repositories SET generation = 0, manifest_id = NULL; DELETE FROM manifests",
        "nothing is published any more"),
    "the manifest is gone": ("DELETE FROM manifests", "nothing is published any more"),
    "a file is gone": ("DELETE FROM files WHERE path = 'README.md'", "1 of 3 files are missing"),
    "the chunks are gone": ("TRUNCATE chunks", "all 3 chunks are missing"),
}  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES)
async def test_an_index_that_is_gone_is_shown_at_its_job_until_it_is_made_anew(
    verdex, worker, repository, index, project, loss
):
    statement, message = LOSSES[loss]
    job = await index(repository)
    await assert_shown(verdex, job.job_id, None)
    await tamper(project, statement)
    await assert_shown(verdex, job.job_id, f"the index is gone: {message}")
    assert not (await verdex.verify(repository)).ok
    again = await index(repository)
    assert (again.status, again.files_indexed, again.chunks_total) == ("completed", 3, 3)
    assert again.files_added or again.force_reindex
    assert (await verdex.verify(repository)).ok
    await assert_shown(verdex, again.job_id, None)
    await assert_shown(verdex, job.job_id, None)


async def test_a_database_that_was_dropped_is_shown_at_its_jobs(verdex, worker, repository, server, index):
    job = await index(repository)
    await drop(server)
    await assert_shown(verdex, job.job_id, 'the index is gone: PostgreSQL: database "cb_proj_default" does not exist')
    again = await index(repository)
    assert (again.status, again.error_type) == ("failed", "DatabaseNotFound")


async def test_an_index_that_was_restored_from_before_is_shown(verdex, worker, repository, index, project):
    old = await index(repository)
    (repository / "README.md").write_text("# Another\n")
    new = await index(repository)
    await tamper(
        project,
        "UPDATE repositories SET generation = 1, manifest_id = (SELECT id FROM manifests WHERE generation = 1);"
        "DELETE FROM files USING manifests WHERE manifests.id = manifest_id AND generation = 2;"
        "DELETE FROM manifests WHERE generation = 2",
    )
    message = "the index is gone: generation 1 is published, which is older than 2"
    await assert_shown(verdex, new.job_id, message)
    await assert_shown(verdex, old.job_id, None)
    assert (await index(repository)).status == "completed"
    assert (await verdex.verify(repository)).ok


async def test_where_the_database_does_not_answer_it_is_not_said_that_the_index_is_gone(
    verdex, worker, repository, server, index
):
    job = await index(repository)
    await server.forget("cb_proj_default")
    async with server.registry.connection() as connection:
        await connection.execute("ALTER DATABASE cb_proj_default ALLOW_CONNECTIONS false")
        shown = await verdex.job(job.job_id)
        await connection.execute("ALTER DATABASE cb_proj_default ALLOW_CONNECTIONS true")
    assert shown.status_message.startswith("whether the index is there cannot be told: ")
    await assert_shown(verdex, job.job_id, None)


async def test_reconciliation_warns_once_of_an_index_that_is_gone(
    verdex, worker, repository, index, project, reconcile, caplog
):
    job = await index(repository)
    caplog.set_level(logging.WARNING, logger="verdex.reconcile")
    await tamper(project, "DELETE FROM files")
    for _ in range(2):
        await reconcile()
    (line,) = [record for record in caplog.records if record.name == "verdex.reconcile"]
    assert (line.job_id, line.repo_path) == (job.job_id, str(repository))
    assert line.error == "the index is gone: 3 of 3 files are missing"


async def test_nobody_is_warned_of_the_index_of_a_project_that_was_dropped_on_purpose(
    verdex, client, worker, repository, server, index, caplog
):
    job = await index(repository)
    await verdex.projects.drop("default")
    await Reconciler(TemporalJobs(client), server).warn_of_absent()
    assert not caplog.records
    await assert_shown(verdex, job.job_id, 'the index is gone: PostgreSQL: database "cb_proj_default" does not exist')


async def test_a_database_that_does_not_answer_in_time_does_not_hold_up_what_is_shown(
    verdex, worker, repository, index, project
):
    job = await index(repository)
    async with project.transaction() as somebody:
        await somebody.execute("LOCK TABLE files IN ACCESS EXCLUSIVE MODE")
        await assert_shown(verdex, job.job_id, "whether the index is there cannot be told in time")
    await assert_shown(verdex, job.job_id, None)


async def test_databases_that_do_not_answer_are_waited_for_together(verdex, server):
    claims = {Repository(f"p{number}", "/r"): Claim(str(UUID(int=number)), 1, 1, 0, 0, 1, "") for number in range(4)}
    async with AsyncExitStack() as somebody:
        for project, _ in claims:
            await verdex.projects.create(project)
            held = await somebody.enter_async_context(server.database(f"cb_proj_{project}").transaction())
            await held.execute("LOCK TABLE repositories IN ACCESS EXCLUSIVE MODE")
        async with asyncio.timeout(2 * PATIENCE):
            found = await absent(server, claims)
    assert {absence.is_certain for absence in found.values()} == {False}
    assert found.keys() == {claim.job_id for claim in claims.values()}


async def test_a_row_that_somebody_completed_by_hand_is_found_out_and_its_workflow_does_not_agree(
    verdex, client, server, run_worker, hold, gate, repository, finished
):
    lie = """
        UPDATE indexing_jobs SET status = 'completed', result_status = 'success', completed_at = now(), files_total = 3,
            files_done = 3, files_indexed = 3, files_added = 3, generation = 1, manifest_digest = repeat('a', 64)
        WHERE id = $1
    """
    async with run_worker():
        await finished((await verdex.index(repository)).job_id)
    async with run_worker(hold("publish")):
        started = await verdex.index(repository, force_reindex=True)
        await gate.reached()
        async with server.registry.connection() as connection:
            await connection.execute(lie, UUID(started.job_id))
        message = "the row is not true: the job never published an index"
        await assert_shown(verdex, started.job_id, message)
        gate.open()
        handle = client.get_workflow_handle(started.workflow_id, run_id=started.job_id)
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
    assert "completed already, with another index than the one that it published" in str(failed.value.cause)
