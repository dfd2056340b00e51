"""The workflow that indexes a repository: one run is one job."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import assert_never

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from workflows import policies
from workflows.display import Display
from workflows.row import JobRow, uninterrupted
from workflows.steps import Failure, StepFailed, Steps

with workflow.unsafe.imports_passed_through():
    from opentelemetry import trace
    from opentelemetry.trace import Span

    from activities.indexing import IndexingActivities
    from verdex.contracts import (
        INDEX_REPOSITORY,
        JOB_STATE_QUERY,
        Counts,
        IndexRequest,
        IndexResult,
        JobIdentity,
        JobState,
        Manifest,
        Scan,
        Shard,
    )
    from verdex.errors import JobReset
    from verdex.telemetry.spans import record_error, set_error
    from verdex.telemetry.steps import RESULT

_BUGS = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, RuntimeError, TypeError, ValueError)
"""Of the workflow itself, or malformed input: they would be tried again for ever, and the job would look as if it ran.

Not `Exception`: that holds the error of a replay that differs, whose cure is to go back to the older version.
"""


@workflow.defn(name=INDEX_REPOSITORY, failure_exception_types=(*_BUGS, StepFailed))
class IndexRepository:
    """Index one repository, and leave a row that tells the truth about it."""

    def __init__(self) -> None:
        """The job is pending until `run` begins."""
        self._row: JobRow | None = None
        self._published: Manifest | None = None  # or about to be

    @workflow.query(name=JOB_STATE_QUERY)
    def state(self) -> JobState:
        """What the job is doing, also while the registry is away."""
        return self._row.state if self._row else JobState()

    @workflow.run
    async def run(self, request: IndexRequest) -> IndexResult:
        """Record the job, do the work, record what became of it, and end the same way as the row.

        Raises:
            ApplicationError: the job failed.
            CancelledError: the job was cancelled before it was published.
        """
        with _span(request) as span:
            self._row = row = JobRow(_identity(request, span), workflow.now())
            steps = Steps(row, timedelta(seconds=request.blocked_limit_seconds))
            result = self._own(row, await self._outcome(row, steps))
            if result is None:
                with suppress(ActivityError):  # as in `_record_failure`
                    await row.end("cancelled", None, "cancelled on request")
                raise asyncio.CancelledError
            result = await _conclude(row, result)
            span.set_attributes(_told(result))
            return result

    async def _outcome(self, row: JobRow, steps: Steps) -> IndexResult | None:
        """The result of the job, whatever happens; None if it was cancelled."""
        try:
            await row.begin()
            return await self._index(row, steps)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  (a bug is a failed job as well)
            published = await self._withdraw(row, steps)
            if published is not None:
                return published
            return None if is_cancelled_exception(error) else _failed(error)

    async def _index(self, row: JobRow, steps: Steps) -> IndexResult:
        job = row.identity
        await steps.run(IndexingActivities.preflight, job, policies.PREFLIGHT)
        row.enter("scan")
        scan = await steps.run(IndexingActivities.scan, job, policies.SCAN)
        row.enter("index", files_total=scan.files_total)
        row.display.planned(len(scan.shards))
        await _index_shards(steps, scan, row.display)
        row.enter("publish")
        return await self._publish(steps, scan.manifest)

    async def _publish(self, steps: Steps, manifest: Manifest) -> IndexResult:
        self._published = manifest
        return await steps.run(IndexingActivities.publish, manifest, policies.PUBLISH)

    async def _withdraw(self, row: JobRow, steps: Steps) -> IndexResult | None:
        """Before the row says failed or cancelled, make sure that no attempt to publish can still succeed.

        Raises:
            StepFailed: that cannot be told. The workflow fails with it, and the row is left to the reconciler.
        """
        if self._published is None:
            return None
        abandoning = steps.run(IndexingActivities.abandon, row.identity, policies.PUBLISH, retry=policies.WITHOUT_END)
        return await uninterrupted(abandoning)

    def _own(self, row: JobRow, result: IndexResult | None) -> IndexResult | None:
        """The result, unless it was replayed: a workflow that is reset goes on as another job, which did not do it"""
        if result is None or self._published is None or self._published.job_id == row.identity.job_id:
            return result
        reset = JobReset(self._published.job_id)
        return IndexResult(status="failed", errors=[str(reset)], error_type=type(reset).__name__)


async def _index_shards(steps: Steps, scan: Scan, display: Display) -> None:
    """Index the shards, a bounded number at a time; the first that fails for good ends the others."""
    is_shared = len(scan.shards) > policies.CONCURRENT_SHARDS and workflow.patched("shared shards")
    window = asyncio.Semaphore(policies.SHARED_SHARDS if is_shared else policies.CONCURRENT_SHARDS)
    policy = policies.INDEX_SHARED_SHARD if is_shared else policies.INDEX_SHARD

    async def index(number: int) -> None:
        async with window:
            shard = Shard(manifest=scan.manifest, shard=number)
            await steps.run(IndexingActivities.index_shard, shard, policy, summary=f"shard {number}")
        display.shard_done()

    tasks = [asyncio.create_task(index(number)) for number in scan.shards]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _conclude(row: JobRow, result: IndexResult) -> IndexResult:
    """Branch on the status of the result, which is all that decides what the row and Temporal say."""
    duration = (workflow.now() - workflow.info().start_time).total_seconds()
    result = result.model_copy(update={"duration_seconds": duration})
    match result.status:
        case "success" | "partial":
            try:
                await row.end("completed", result)
            except ActivityError as refused:
                raise await _record_failure(row, _failed(refused)) from refused
            return result
        case "failed":
            raise await _record_failure(row, result)
        case unknown:
            assert_never(unknown)


async def _record_failure(row: JobRow, result: IndexResult) -> ApplicationError:
    message, error_type = result.error_message or "", result.error_type or "IndexingFailed"
    errors = tuple(result.errors) if any(result.errors) else (message,)
    with suppress(ActivityError):  # the registry refuses it: the workflow tells, and the row is left to the reconciler
        await row.end("failed", result.model_copy(update={"errors": errors, "error_type": error_type}))
    return ApplicationError(message, type=error_type, non_retryable=True)


def _failed(error: BaseException) -> IndexResult:
    """One branch for both: what an activity raised becomes the result that it could have returned."""
    failure = error.failure if isinstance(error, StepFailed) else Failure.of(getattr(error, "cause", None) or error)
    return IndexResult(status="failed", errors=[failure.message], error_type=failure.error_type)


def _identity(request: IndexRequest, span: Span) -> JobIdentity:
    info = workflow.info()
    return JobIdentity(
        job_id=info.run_id,
        workflow_id=info.workflow_id,
        project_id=request.project_id,
        repo_path=request.repo_path,
        force_reindex=request.force_reindex,
        trace_id=_trace_id(span) or info.run_id.replace("-", ""),  # as long as a trace id
        created_at=info.workflow_start_time if info.run_id == info.first_execution_run_id else workflow.now(),
    )


def _trace_id(span: Span) -> str | None:
    """None where tracing is switched off."""
    context = span.get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


def _told(result: IndexResult) -> dict[str, str | int]:
    """What the span of a job that is completed says of it, and so why a result is partial."""
    counts = {name: getattr(result, name) for name in Counts.model_fields}
    error = {"error_message": result.error_message} if result.error_message else {}
    return {f"{RESULT}{name}": value for name, value in {"status": result.status, **counts, **error}.items()}


@contextmanager
def _span(request: IndexRequest) -> Iterator[Span]:
    """The span of the job; its error is that of the job."""
    attributes = {
        "verdex.job_id": workflow.info().run_id,
        "verdex.project_id": request.project_id,
        "verdex.repo_path": request.repo_path,
    }
    tracer = trace.get_tracer(__name__)
    with tracer.start_as_current_span(
        INDEX_REPOSITORY, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except Exception as error:
            failure = Failure.of(error)
            record_error(span, failure.error_type, failure.message, error)
            raise
        except asyncio.CancelledError:
            set_error(span, "cancelled", "cancelled")
            raise
