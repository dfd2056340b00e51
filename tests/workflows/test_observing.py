"""What a job leaves in traces and logs: one trace from its start to its last step, and one line about its end."""

from opentelemetry import trace
from temporalio import activity

from activities.indexing import IndexingActivities
from verdex.contracts import INDEX_REPOSITORY, IndexRequest, IndexResult, JobIdentity, Manifest, Scan, index_workflow_id
from verdex.telemetry import current_trace_id

STEPS = {"preflight", "scan", "index_shard", "publish", "update_registry"}


async def test_the_trace_of_the_caller_is_the_trace_of_the_job(verdex, worker, repository, finished, spans_of):
    with trace.get_tracer("tests").start_as_current_span("caller"):
        caller = current_trace_id()
        started = await verdex.index(repository)
    job = await finished(started.job_id)
    assert job.trace_id == caller
    spans = {span.name: span for span in spans_of(job)}
    assert {"caller", "start job", INDEX_REPOSITORY, *STEPS} <= set(spans)
    assert spans["start job"].parent_span_id == spans["caller"].span_id
    assert spans[INDEX_REPOSITORY].parent_span_id == spans["start job"].span_id
    assert {spans[step].parent_span_id for step in STEPS} == {spans[INDEX_REPOSITORY].span_id}
    assert spans[INDEX_REPOSITORY].status == "unset"
    for name in (INDEX_REPOSITORY, *STEPS):
        assert spans[name].attributes["verdex.job_id"] == job.job_id
        assert spans[name].attributes["verdex.project_id"] == "default"


async def test_a_job_that_nobody_traces_has_a_trace_of_its_own(
    verdex, client, settings, worker, repository, finished, spans_of
):
    handle = await client.start_workflow(
        INDEX_REPOSITORY,
        IndexRequest(repo_path=str(repository)),
        id=index_workflow_id("default", str(repository)),
        task_queue=settings.task_queue,
    )
    job = await finished(handle.first_execution_run_id)
    assert job.status == "completed"
    spans = spans_of(job)
    assert {INDEX_REPOSITORY, *STEPS} <= {span.name for span in spans}
    assert [span.name for span in spans if span.parent_span_id is None] == [INDEX_REPOSITORY]


async def test_the_spans_of_a_failed_job_hold_the_error_and_its_traceback(
    verdex, run_worker, repository, finished, spans_of
):
    class Failing(IndexingActivities):
        @activity.defn
        async def scan(self, job: JobIdentity) -> Scan:
            raise KeyError("the cause")

    async with run_worker(Failing):
        job = await finished((await verdex.index(repository)).job_id)
    spans = spans_of(job)
    attempts = [span for span in spans if span.name == "scan"]
    assert len(attempts) == 3
    for span in attempts:
        assert span.status == "error"
        error = next(event for event in span.events if event.type == "KeyError")
        assert error.message == "'the cause'"
        assert 'raise KeyError("the cause")' in error.stacktrace
    (root,) = [span for span in spans if span.name == INDEX_REPOSITORY]
    assert root.status == "error"
    assert job.error_message in root.status_message


async def test_a_failed_job_is_one_line_of_level_error(verdex, run_worker, repository, finished, log):
    class Failing(IndexingActivities):
        @activity.defn
        async def publish(self, manifest: Manifest) -> IndexResult:
            return IndexResult(status="failed", errors=["Database error: gone", "another"])

    async with run_worker(Failing):
        job = await finished((await verdex.index(repository)).job_id)
    (line,) = [line for line in log.of(job) if line["level"] == "ERROR"]
    expected = {
        "message": "job failed",
        "job_id": job.job_id,
        "project_id": "default",
        "repo_path": str(repository),
        "trace_id": job.trace_id,
        "error": "Database error: gone",
        "error_type": "IndexingFailed",
        "errors_count": 2,
    }
    assert {name: line.get(name) for name in expected} == expected


async def test_a_step_that_fails_is_one_line_that_says_why(verdex, worker, tmp_path, finished, log):
    job = await finished((await verdex.index(tmp_path / "nowhere")).job_id)
    (step,) = [line for line in log.of(job) if line["message"] == "step failed"]
    assert (step["level"], step["activity"], step["error_type"]) == ("WARNING", "preflight", "RootNotFound")
    assert (step["error"], step["trace_id"]) == (job.error_message, job.trace_id)
    assert "traceback" not in step, "what is foreseen needs none"
    (end,) = [line for line in log.of(job) if line["level"] == "ERROR"]
    assert (end["error"], end["errors_count"]) == (job.error_message, 1)


class Broken(IndexingActivities):
    @activity.defn
    async def preflight(self, job: JobIdentity) -> None:
        raise KeyError("a bug")


async def test_a_bug_is_a_line_with_its_traceback(verdex, run_worker, repository, finished, log):
    async with run_worker(Broken):
        job = await finished((await verdex.index(repository)).job_id)
    steps = [line for line in log.of(job) if line["message"] == "step failed"]
    assert [step["attempt"] for step in steps] == [1, 2, 3]
    assert all('raise KeyError("a bug")' in step["traceback"] for step in steps)


async def test_a_completed_job_is_one_line_of_level_info(verdex, worker, repository, finished, log):
    job = await finished((await verdex.index(repository)).job_id)
    (line,) = log.of(job)
    assert (line["level"], line["message"], line["trace_id"]) == ("INFO", "job completed", job.trace_id)
    assert (line["files_indexed"], line["errors_count"], line["error"]) == (3, 0, None)
