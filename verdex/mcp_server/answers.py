"""What the tools answer. The names are part of the contract with agents."""

from collections.abc import Sequence
from datetime import datetime
from typing import Self

from verdex.contracts import Job, JobStatus, Model, Phase, ResultStatus
from verdex.mcp_server.sentences import sentence


class StartedJob(Model):
    """A job that was started, or that ran already."""

    job_id: str
    status: JobStatus
    message: str
    project_id: str
    database_name: str
    repo_path: str


class JobAnswer(Model):
    """A job as it is now."""

    job_id: str
    status: JobStatus
    message: str
    repo_path: str
    project_id: str
    files_indexed: int
    chunks_created: int
    error_message: str | None
    error_type: str | None
    result_status: ResultStatus | None
    phase: Phase | None
    files_total: int
    files_done: int
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None

    @classmethod
    def of(cls, job: Job, message: str | None = None) -> Self:
        """The job, with what its status means in one sentence, or with `message`."""
        told = job.model_dump(include=set(cls.model_fields))
        return cls(**told, message=message or sentence(job))


class JobList(Model):
    """The newest jobs first."""

    jobs: Sequence[JobAnswer]
    total_count: int
    """Number of jobs in the answer."""
