"""What somebody sees of jobs who has only Temporal's Web UI open."""

import json
import re
from asyncio import timeout
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.browser.conftest import JobOf
from tests.browser.holdups import Door, held
from tests.browser.web_ui import SECONDS, Job, WebUI
from tests.chaos.stack import Stack
from verdex.local.postgres import Postgres

FILES = 1100
"""More than two shards can hold."""
INSIDES = ("Traceback", 'File "', "stackTrace", "site-packages", "temporalio", ".py", "postgresql://")


async def eventually_listed(web_ui: WebUI, query: str, wanted: dict[str, str]) -> None:
    """Temporal writes its lists a little after what they tell of."""
    async with timeout(SECONDS):
        while await web_ui.runs(query) != wanted:
            pass


@pytest.mark.parametrize(
    ("attribute", "value", "found"),
    [
        ("VerdexProject", "project_id", {"unknown"}),
        ("VerdexRepository", "repo_path", {"unknown"}),
        ("VerdexStatus", "status", {"failed", "unknown"}),
        ("VerdexErrorType", "error_type", {"unknown"}),
    ],
)
async def test_the_list_of_workflows_can_be_filtered_by_what_a_job_is(
    web_ui, completed: Job, failed: Job, unknown: Job, attribute, value, found
):
    """As the job in a project that does not exist is; its error type is not that of the other failed job."""
    jobs = {"completed": completed, "failed": failed, "unknown": unknown}
    wanted = {jobs[name]["job_id"]: "FAILED" for name in found}
    await eventually_listed(web_ui, f'{attribute}="{unknown[value]}"', wanted)


@pytest.mark.parametrize("which", ["failed", "unknown"])
async def test_the_page_of_a_failed_job_says_what_failed_and_nothing_of_the_insides(web_ui, request, which):
    job = request.getfixturevalue(which)
    await web_ui.open(job)
    assert await web_ui.status() == "FAILED"
    result = web_ui.page.get_by_test_id("input-and-result")
    await result.get_by_text(json.dumps(job["error_message"])[1:-1]).wait_for()
    await result.get_by_text(f'"{job["error_type"]}"').wait_for()
    said = await web_ui.whole(job)
    assert [inside for inside in INSIDES if inside in said] == []


async def test_the_current_details_of_a_failed_job_name_the_cause_word_for_word(web_ui, failed: Job, unknown: Job):
    for job in (failed, unknown):
        details = await web_ui.current_details(job, lambda text: "failed" in text)
        assert job["error_message"] in details
        assert job["error_type"] in details


async def test_the_metadata_of_a_job_name_the_repository_and_the_project(web_ui, completed: Job):
    await web_ui.current_details(completed, lambda text: "3 of 3 files indexed" in text)
    assert await web_ui.panel("summary") == f"Index {completed['repo_path']}"
    details = await web_ui.panel("details")
    assert completed["repo_path"] in details
    assert "default" in details


async def test_the_link_that_the_command_prints_leads_to_the_page_of_the_job(web_ui, stack: Stack, completed: Job):
    printed = await stack.run("status", completed["job_id"])
    link = re.search(r"https?://\S+", printed.out)
    assert link, printed.out
    await web_ui.page.goto(link[0])
    await web_ui.page.get_by_text(completed["workflow_id"]).first.wait_for()
    assert await web_ui.status() == "COMPLETED"


@pytest.fixture
def large(stack: Stack) -> Path:
    root = stack.directory / "large"
    root.mkdir()
    for number in range(FILES):
        (root / f"part_{number}.py").write_text(f"number = {number}\n")
    return root


async def test_the_current_details_of_a_running_job_show_its_progress(
    web_ui, job_of: JobOf, postgres: Postgres, project: str, large: Path
):
    async with AsyncExitStack() as last_shard:
        async with held(postgres, project, "LOCK TABLE chunks"):
            job = await job_of("index", large, "--project", project, "--no-wait")
            details = await web_ui.current_details(job, lambda text: "0 of 3 shards" in text)
            assert "indexing the files" in details
            assert f"{FILES:,} files" in details
            await last_shard.enter_async_context(
                held(postgres, project, "SELECT FROM files WHERE shard = 2 FOR UPDATE")
            )
        await web_ui.current_details(job, lambda text: "2 of 3 shards" in text)
    await web_ui.current_details(job, lambda text: f"{FILES:,} of {FILES:,} files indexed" in text)
    await web_ui.open(job)
    assert await web_ui.status() == "COMPLETED"


async def test_the_page_of_a_blocked_job_says_why_and_then_that_it_goes_on(web_ui, job_of, door: Door, completed: Job):
    job = await job_of("index", completed["repo_path"], "--project", door.project, "--no-wait")
    details = await web_ui.current_details(job, lambda text: "blocked" in text)
    reason = f'database "{door.database}" is not currently accepting connections'
    assert f"PostgreSQL is not available: {reason}" in details
    await eventually_listed(web_ui, 'VerdexStatus="blocked"', {job["job_id"]: "RUNNING"})
    await door.open()
    await web_ui.current_details(job, lambda text: "completed" in text)


async def test_the_page_of_a_cancelled_job_says_so(web_ui, stack: Stack, job_of, door: Door, completed: Job):
    job = await job_of("index", completed["repo_path"], "--project", door.project, "--no-wait")
    await web_ui.current_details(job, lambda text: "blocked" in text)
    assert (await stack.run("cancel", job["job_id"])).code == 0
    details = await web_ui.current_details(job, lambda text: "cancelled" in text)
    assert "cancelled on request" in details
    await web_ui.open(job)
    assert await web_ui.status() == "CANCELED"
    await eventually_listed(web_ui, 'VerdexStatus="cancelled"', {job["job_id"]: "CANCELED"})
