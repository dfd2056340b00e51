"""For each kind of failure, every window that somebody may have open names the same cause.

Each was really produced, at night: row, command, Web UI, trace, metric and log line are then compared.
"""

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from tests.browser.failures import FAILURES, POSSIBLE, files
from tests.browser.night import Night, night
from tests.browser.web_ui import Job, WebUI, page_of


@pytest.fixture(scope="module")
async def at_night(browser) -> AsyncIterator[Night]:
    async with night() as made:
        yield made


@pytest.fixture(scope="module")
async def jobs(at_night: Night) -> Mapping[str, Job]:
    """Every job that failed, by the kind of its failure."""
    return {name: await FAILURES[name].produce(at_night) for name in POSSIBLE}


@pytest.fixture
async def web_ui(browser, at_night: Night) -> AsyncIterator[WebUI]:
    async with page_of(browser) as page:
        yield WebUI(page, at_night.ui_url)


@pytest.mark.parametrize("name", POSSIBLE)
async def test_every_window_names_the_cause(at_night: Night, jobs, web_ui, name):
    failure, job = FAILURES[name], jobs[name]
    row = await at_night.row(job)
    assert (row["status"], row["error_type"]) == ("failed", failure.error_type)
    assert failure.cause in row["error_message"]
    await the_command_says(at_night, row)
    await the_trace_says(at_night, row)
    the_log_says(at_night, row)
    await the_web_ui_says(web_ui, row)


async def the_command_says(at_night: Night, row: Job) -> None:
    told = await at_night.command("status", row["job_id"], "--json")
    assert (told.code, told.json["status"]) == (1, "failed")
    assert (told.json["error_type"], told.json["error_message"]) == (row["error_type"], row["error_message"])
    shown = await at_night.command("status", row["job_id"])
    assert row["error_type"] in shown.out
    assert plain(row["error_message"]) in plain(shown.out)


async def the_trace_says(at_night: Night, row: Job) -> None:
    told = (await at_night.command("trace", row["job_id"], "--json")).json
    [root] = [span for span in spans(told) if span["name"] == "IndexRepository"]
    assert root["status"] == {"code": 2, "message": row["error_message"]}
    assert attributes(root)["error.type"] == row["error_type"]
    [event] = [attributes(event) for event in root["events"] if event["name"] == "exception"]
    assert (event["exception.type"], event["exception.message"]) == (row["error_type"], row["error_message"])
    shown = await at_night.command("trace", row["job_id"])
    assert plain(row["error_message"])[:100] in plain(re.sub("[│├└─]", "", shown.out))


def the_log_says(at_night: Night, row: Job) -> None:
    [line] = [line for line in at_night.lines(row) if line["level"] == "ERROR"]
    assert (line["error_type"], line["error"]) == (row["error_type"], row["error_message"])
    assert line["trace_id"] == row["trace_id"]


async def the_web_ui_says(web_ui: WebUI, row: Job) -> None:
    await web_ui.open(row)
    assert await web_ui.status() == "FAILED"
    result = web_ui.page.get_by_test_id("input-and-result")
    await result.get_by_text(json.dumps(row["error_message"], ensure_ascii=False)[1:-1]).wait_for()
    await result.get_by_text(f'"{row["error_type"]}"').wait_for()


async def test_the_metrics_count_each_failure_under_its_type(at_night: Night, jobs, eventually):
    failed = Counter(FAILURES[name].error_type for name in jobs)

    async def are_counted() -> bool:
        found = at_night.metrics()
        return all(
            found.get(f'verdex_jobs_total{{error_type="{error_type}",status="failed"}}') == count
            for error_type, count in failed.items()
        )

    await eventually(are_counted)
    assert at_night.metrics()["verdex_completed_zero_files_total"] == 0


async def test_every_window_names_the_files_that_could_not_be_indexed(at_night: Night, web_ui, eventually):
    row = await at_night.row(await files(at_night))
    assert (row["status"], row["result_status"]) == ("completed", "partial")
    assert (row["files_indexed"], row["files_skipped"], row["files_failed"]) == (41, 3, 1)
    cause = "1 of 45 files could not be indexed: unreadable.py: cannot be read: Permission denied"
    assert row["error_message"] == cause
    shown = await at_night.command("status", row["job_id"])
    assert shown.code == 0
    assert cause in plain(shown.out)
    [line] = [line for line in at_night.lines(row) if line["level"] == "WARNING" and "activity" in line]
    assert line["error"] == cause
    assert cause in await web_ui.current_details(row, lambda text: "completed" in text)
    told = (await at_night.command("trace", row["job_id"], "--json")).json
    [root] = [span for span in spans(told) if span["name"] == "IndexRepository"]
    assert cause[:60] in plain(re.sub("[│├└─]", "", (await at_night.command("trace", row["job_id"])).out))
    assert attributes(root)["verdex.result.error_message"] == cause

    async def is_counted() -> bool:
        return at_night.metrics()['verdex_files_total{outcome="failed"}'] == 1

    await eventually(is_counted)


def spans(told: Any) -> list[dict[str, Any]]:
    return [span for one in told["resourceSpans"] for scope in one["scopeSpans"] for span in scope["spans"]]


def attributes(of: Mapping[str, Any]) -> dict[str, Any]:
    return {one["key"]: next(iter(one["value"].values())) for one in of.get("attributes", ())}


def plain(text: str) -> str:
    """With one blank between words, however it is wrapped."""
    return " ".join(text.split())
