from datetime import UTC, datetime
from typing import Any

import pytest

from verdex.contracts import Job, JobStatus
from verdex.mcp_server.sentences import POLL, cancelling, sentence, started


def job(status: JobStatus, **fields: Any) -> Job:
    return Job(
        job_id="1",
        project_id="p",
        repo_path="/r",
        status=status,
        workflow_id="w",
        created_at=datetime.now(UTC),
        **fields,
    )


@pytest.mark.parametrize(
    ("told", "part"),
    [
        (job("pending", status_message="none is polling"), "No worker has taken the job up yet: none is polling"),
        (job("running"), "The job runs; "),
        (job("running", phase="index", files_done=1, files_total=2000), "(index, 1 of 2,000 files done)"),
        (job("blocked", status_message="starting up"), "goes on by itself: starting up"),
        (job("completed", result_status="success", files_indexed=1), "can be searched (files: 1, chunks: 0)"),
        (job("completed", result_status="partial", error_message="a.py failed"), "not whole: a.py failed"),
        (job("completed", result_status="success", status_message="its database is gone"), "): its database is gone"),
        (job("failed", error_message="/r does not exist"), "published nothing, so searches see the index as it was"),
        (job("cancelled"), "was cancelled and published nothing"),
    ],
)  # fmt: skip
def test_an_agent_is_told_what_a_status_means_and_to_ask_again_until_the_end(told, part):
    assert part in sentence(told)
    assert (POLL in sentence(told)) == (not told.is_terminal)


def test_who_asks_for_what_is_done_already_is_told_so():
    assert "started" in started(job("pending"), already_running=False, forced=True)
    assert "this is it: nothing was started" in started(job("running"), already_running=True, forced=False)
    assert "then start again with force_reindex" in started(job("running"), already_running=True, forced=True)
    assert "this is it" in started(job("running", force_reindex=True), already_running=True, forced=True)


def test_who_cancels_is_told_whether_there_was_something_to_stop():
    assert POLL in cancelling(job("running"))
    assert cancelling(job("failed")).endswith("nothing was cancelled: it is failed.")
