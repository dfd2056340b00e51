"""What an agent is told of a job, in one sentence: what its status means, and what to do next."""

from verdex.contracts import Job

POLL = "ask get_indexing_status again until the status is completed, failed or cancelled"


def sentence(job: Job) -> str:
    """What the status of a job means."""
    match job.status:
        case "pending":
            return f"No worker has taken the job up yet{_why(job)}; {POLL}."
        case "running":
            return f"The job runs{_progress(job)}; {POLL}."
        case "blocked":
            return f"The job is held up by what can pass, and goes on by itself{_why(job)}; {POLL}."
        case "completed":
            return f"{_published(job)}{_why(job)}."
        case "failed":
            return f"The job failed and published nothing, so searches see the index as it was before: {_error(job)}."
        case "cancelled":
            return "The job was cancelled and published nothing, so searches see the index as it was before."


def _progress(job: Job) -> str:
    done = f"{job.files_done:,} of {job.files_total:,} files done" if job.files_total else None
    told = ", ".join(filter(None, [job.phase, done]))
    return f" ({told})" if told else ""


def _published(job: Job) -> str:
    held = f"files: {job.files_indexed:,}, chunks: {job.chunks_total:,}"
    if job.result_status == "partial":
        return f"The index is published ({held}), but it is not whole: {_error(job)}"
    return f"The index is published and can be searched ({held})"


def _error(job: Job) -> str:
    return (job.error_message or "").rstrip(".")


def _why(job: Job) -> str:
    return f": {job.status_message}" if job.status_message else ""


def started(job: Job, *, already_running: bool, forced: bool) -> str:
    """What became of a request to index."""
    if not already_running:
        return f"The job is started and goes on in the background; {POLL}."
    if forced and not job.force_reindex:
        return (
            "A job indexes this repository already, and it does not do everything anew: nothing was started; "
            "wait for its end, then start again with force_reindex."
        )
    return f"A job indexes this repository already, and this is it: nothing was started; {POLL}."


def cancelling(job: Job) -> str:
    """What becomes of a job that was asked to stop."""
    if job.is_terminal:
        return f"The job had ended before, so nothing was cancelled: it is {job.status}."
    return (
        "The job is asked to stop, which it does as soon as a worker hears of it; searches see the index as it was "
        f"before; {POLL}."
    )
