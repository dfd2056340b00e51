"""What the trace of a job says of the database, of errors, and of attempts."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from opentelemetry.trace import SpanKind
from temporalio import activity
from temporalio.client import Client

from activities.indexing import IndexingActivities
from tests.workflows.conftest import SpansOf
from verdex.contracts import JobIdentity, Scan, Shard
from verdex.storage.database import Server
from verdex.telemetry.store import StoredSpan


def statements(spans: Sequence[StoredSpan]) -> dict[str, set[str]]:
    """The names of the statements below each step."""
    names, found = {span.span_id: span.name for span in spans}, defaultdict(set)
    for span in spans:
        if span.kind is SpanKind.CLIENT:
            found[names[span.parent_span_id or ""]].add(span.name)
    return found


async def test_each_step_shows_the_statements_that_matter(
    verdex, server: Server, worker, repository: Path, finished, spans_of: SpansOf
):
    job = await finished((await verdex.index(repository)).job_id)
    spans = spans_of(job)
    found = statements(spans)
    assert {"CREATE DATABASE", "BATCH schema_migrations", "SELECT schema_migrations"} <= found["preflight"]
    assert {"COPY scanned", "SELECT manifests repositories", "INSERT files", "COMMIT"} <= found["scan"]
    assert {"SELECT blobs manifests", "INSERT blobs", "COPY chunks", "UPDATE files", "COMMIT"} <= found["index_shard"]
    assert found["publish"] >= {
        "SELECT manifests repositories",
        "SELECT files blobs chunks",
        "SELECT files blobs",
        "UPDATE manifests",
        "UPDATE repositories",
        "COMMIT",
    }
    rows = {span.name: span.attributes.get("verdex.rows") for span in spans}
    assert (rows["COPY scanned"], rows["INSERT files"], rows["UPDATE files"]) == (3, 3, 3)
    assert rows["COPY chunks"] == job.chunks_created


async def test_a_shard_has_a_bounded_number_of_spans_however_many_batches_it_has(
    verdex, worker, python_files, finished, spans_of: SpansOf
):
    job = await finished((await verdex.index(python_files(300, 60))).job_id)
    spans = spans_of(job)
    (shard,) = [span for span in spans if span.name == "index_shard"]
    below = Counter(span.name for span in spans if span.parent_span_id == shard.span_id and span.name[:7] != "connect")
    assert max(below.values()) == 1
    (copy,) = [span for span in spans if span.name == "COPY chunks"]
    assert copy.attributes["verdex.statements"] == 10
    assert copy.attributes["verdex.rows"] == job.chunks_created


async def test_the_statement_that_failed_is_found_below_the_step_that_failed_of_it(
    verdex, server: Server, run_worker, repository: Path, finished, spans_of: SpansOf
):
    class Sabotaged(IndexingActivities):
        @activity.defn
        async def index_shard(self, shard: Shard) -> None:
            async with server.database(shard.manifest.database_name).connection() as connection:
                await connection.execute("ALTER TABLE chunks ADD CONSTRAINT saboteur CHECK (ordinal < 0)")
            await super().index_shard(shard)

    async with run_worker(Sabotaged):
        job = await finished((await verdex.index(repository)).job_id)
    spans = spans_of(job)
    failed = {span.name: span for span in spans if span.status == "error"}
    assert failed.keys() == {"IndexRepository", "index_shard", "COPY chunks"}
    copy, step, root = failed["COPY chunks"], failed["index_shard"], failed["IndexRepository"]
    assert (copy.attributes["error.type"], copy.attributes["db.response.status_code"]) == ("23514", "23514")
    assert step.attributes["error.type"] == root.attributes["error.type"] == job.error_type
    for span in failed.values():
        assert span.events[-1].stacktrace
    assert "saboteur" in (copy.events[0].message or "")
    assert "_copy_chunks" in (step.events[0].stacktrace or "")
    assert job.error_message in root.status_message


async def test_each_attempt_has_its_number(verdex, run_worker, repository: Path, finished, spans_of: SpansOf):
    class Failing(IndexingActivities):
        @activity.defn
        async def scan(self, job: JobIdentity) -> Scan:
            raise KeyError("the cause")

    async with run_worker(Failing):
        job = await finished((await verdex.index(repository)).job_id)
    attempts = [span.attributes["verdex.attempt"] for span in spans_of(job) if span.name == "scan"]
    assert attempts == [1, 2, 3]


async def test_what_schedules_run_is_in_no_trace(reconcile, worker, tracing, short_directory: Path):
    tracing.flush()
    before = set((short_directory / "traces").glob("*"))
    await reconcile()
    tracing.flush()
    assert set((short_directory / "traces").glob("*")) == before


async def test_the_trace_of_a_job_that_was_terminated_says_so_in_the_words_of_its_row(
    verdex, client: Client, run_worker, hold, gate, repository: Path, spans_of: SpansOf
):
    async with run_worker(hold("index_shard")):
        started = await verdex.index(repository)
        await gate.reached()
        await client.get_workflow_handle(started.workflow_id).terminate("for a test")
        job = await verdex.job(started.job_id)
        gate.open()
    [span] = [span for span in spans_of(job) if span.name == "reconcile"]
    assert (job.status, job.error_type) == ("failed", "WorkflowTerminated")
    assert (span.status, span.status_message) == ("error", job.error_message)
    [event] = span.events
    assert (event.type, event.message) == (job.error_type, job.error_message)
    assert span.attributes["error.type"] == job.error_type
