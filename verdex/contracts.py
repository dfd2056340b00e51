"""What starters, workers and readers of jobs share: names, ids, inputs and results."""

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

INDEX_REPOSITORY: Final = "IndexRepository"
RECONCILE_JOBS: Final = "ReconcileJobs"
COLLECT_GARBAGE: Final = "CollectGarbage"
JOB_STATE_QUERY: Final = "job_state"
DEFAULT_TASK_QUEUE: Final = "verdex"
DEFAULT_PROJECT: Final = "default"
UNKNOWN_ERROR: Final = "Unknown indexing error"
BLOCKED_LIMIT_SECONDS: Final = 1800.0
OLLAMA_URL: Final = "http://127.0.0.1:11434"
MAX_DIMENSIONS: Final = 4_000
"""Of a vector; PostgreSQL (pgvector) has no index for more."""

JobStatus = Literal["pending", "running", "blocked", "completed", "failed", "cancelled"]
ResultStatus = Literal["success", "partial", "failed"]
Phase = Literal["preflight", "scan", "index", "publish"]
Outcome = Literal["indexed", "skipped", "failed"]
Provider = Literal["ollama", "openai", "model2vec"]
"""How an embedder is spoken to: by Ollama's protocol, by OpenAI's (which many servers speak), or as a local model."""
FailureKind = Literal["transient", "permanent", "bug", "lost"]
"""Whether what failed can pass by itself, cannot, is a fault of the program, or its worker never answered."""

TERMINAL: Final[frozenset[JobStatus]] = frozenset({"completed", "failed", "cancelled"})


def index_workflow_id(project_id: str, repo_path: str) -> str:
    """Id of the workflow that indexes a repository: readable, bounded, one for each project and path.

    >>> index_workflow_id("default", "/srv/code/verdex")
    'index:default:verdex:eaa93f9ac69e'
    """
    digest = hashlib.sha256(f"{project_id}\0{repo_path}".encode()).hexdigest()[:12]
    name = PurePosixPath(repo_path).name.encode()[:80].decode(errors="ignore")  # Temporal allows 255 bytes
    return f"index:{project_id}:{name}:{digest}"


def project_of(workflow_id: str) -> str | None:
    """The project in the id of an indexing workflow; None for other ids.

    >>> project_of("index:default:verdex:eaa93f9ac69e")
    'default'
    """
    kind, _, rest = workflow_id.partition(":")
    return rest.split(":")[0] if kind == "index" and rest else None


class Model(BaseModel):
    """Base of everything that crosses a process: immutable, and nothing unknown is accepted in silence."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def plain(text: str) -> str:
    """`text` as PostgreSQL and JSON can hold it: without NUL and lone surrogates."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\0")


Message = Annotated[str, AfterValidator(plain)]
"""Text that can be stored and shown, whatever was given."""


def _storable_path(path: str) -> str:
    """A path is part of an index of the database, whose entries are limited, and of ids, whose text is UTF-8."""
    if not path.startswith("/"):
        raise ValueError("the path of a repository is absolute")
    if plain(path) != path:
        raise ValueError("the path of a repository is text without NUL")
    if len(path.encode()) > 2000:
        raise ValueError("the path of a repository has at most 2,000 bytes")
    return path


class IndexRequest(Model):
    """Input of the workflow `IndexRepository`."""

    repo_path: Annotated[str, AfterValidator(_storable_path)]
    project_id: str = Field(default=DEFAULT_PROJECT, min_length=1, max_length=100, pattern=r"^[^:\s\x00]+$")
    force_reindex: bool = False
    blocked_limit_seconds: float = Field(default=BLOCKED_LIMIT_SECONDS, ge=0)
    """How long a step may be held up by what can pass, before the job fails."""


# Host, port and path only: what is stored with the project must hold no secret.
_BASE_URL: Final = re.compile(
    r"https?://(?:[\w.-]+|\[[\da-f:.]+\])(?::(\d{1,5}))?(?:/[\w.~%+,:@/-]*)?", re.ASCII | re.IGNORECASE
)


class EmbeddingModel(Model):
    """What turns texts into vectors: a model, and who serves it."""

    model_config = ConfigDict(hide_input_in_errors=True)  # a URL that is refused may hold a password

    provider: Provider
    model: str = Field(min_length=1, max_length=2000)
    """Its name at the provider; of model2vec, the absolute path of a directory where the worker runs."""
    url: str | None = Field(default=None, validate_default=True)
    """What the paths of the protocol are appended to, without a slash at the end; None for model2vec only."""

    @field_validator("model", mode="after")
    @classmethod
    def _named(cls, model: str, info: ValidationInfo) -> str:
        if not model.isprintable() or model != model.strip():
            raise ValueError("it should be printable text, without spaces around it")
        if info.data.get("provider") == "model2vec" and not model.startswith("/"):
            raise ValueError("it should be the absolute path of a directory where the worker runs")
        return model

    @field_validator("url", mode="after")
    @classmethod
    def _served(cls, url: str | None, info: ValidationInfo) -> str | None:
        match info.data.get("provider"), url:
            case "model2vec", str():
                raise ValueError("model2vec has none, as its model is a directory")
            case "openai", None:
                raise ValueError("openai needs one, such as https://api.openai.com/v1")
            case "ollama", None:
                return OLLAMA_URL
        return None if url is None else _base_url(url)

    def with_dimensions(self, dimensions: int) -> "Embedder":
        """The embedder of a project, whose vectors have `dimensions` numbers."""
        return Embedder(provider=self.provider, model=self.model, url=self.url, dimensions=dimensions)

    def __str__(self) -> str:
        """For messages: `ollama:nomic-embed-text at http://127.0.0.1:11434`."""
        return f"{self.provider}:{self.model}" + (f" at {self.url}" if self.url else "")


class Embedder(EmbeddingModel):
    """What the vectors of a project are made with; stored with the project, which is bound to their dimensions."""

    dimensions: int = Field(ge=1, le=MAX_DIMENSIONS)


def _base_url(url: str) -> str:
    found = _BASE_URL.fullmatch(url)
    if found is None or not 0 < int(found[1] or 1) < 65536:
        raise ValueError(
            f"it should look like {OLLAMA_URL}, without user, password and query "
            "(a key belongs into VERDEX_EMBEDDER_API_KEY)"
        )
    return url.rstrip("/")


class Started(NamedTuple):
    """What became of a request to index a repository: its job, and whether that ran already."""

    job_id: str
    workflow_id: str
    already_running: bool


class Counts(Model):
    """Counts of a job. Every file that the scan saw is in exactly one of indexed, skipped and failed.

    `files_indexed` is what the index holds for the repository after the job, and equals added + changed +
    unchanged. `chunks_created` counts the chunks that this job wrote, `chunks_total` those of the whole repository.
    """

    files_total: int = 0
    files_indexed: int = 0
    files_added: int = 0
    files_changed: int = 0
    files_deleted: int = 0
    files_unchanged: int = 0
    files_skipped: int = 0
    files_failed: int = 0
    chunks_created: int = 0
    chunks_total: int = 0


class IndexResult(Counts):
    """What became of an indexing run; with `failed`, `errors` names the causes, the root cause first."""

    status: ResultStatus
    duration_seconds: float = 0.0
    errors: Sequence[Message] = ()
    error_type: str | None = None
    generation: int | None = None
    manifest_digest: str | None = None
    """Of what was published, in hex; `verdex.storage.publish` says of what. None where nothing was."""

    @property
    def error_message(self) -> str | None:
        """One text for the row of the job; never empty when the result is `failed`."""
        named = next((error.strip() for error in self.errors if error.strip()), None)
        return named or (UNKNOWN_ERROR if self.status == "failed" else None)


class JobIdentity(Model):
    """What of a job never changes. `job_id` is the run id of its workflow."""

    job_id: str
    workflow_id: str
    project_id: str
    repo_path: str
    force_reindex: bool
    trace_id: str
    created_at: datetime


class JobState(Model):
    """What a job that has not ended is doing. `attempt` counts the tries of the step under way."""

    status: JobStatus = "pending"
    phase: Phase | None = None
    status_message: Message | None = None
    attempt: int = 1
    files_total: int = 0


class JobRecord(Model):
    """What the row of a job shall say; input of the registry-update activity.

    `revision` orders the records of a job, so that one which arrives late changes nothing.
    """

    identity: JobIdentity
    revision: int
    state: JobState
    started_at: datetime
    completed_at: datetime | None = None
    result: IndexResult | None = None


class Job(Model):
    """A job as every surface shows it; the fields are the columns of `indexing_jobs`."""

    job_id: str
    project_id: str
    repo_path: str
    status: JobStatus
    result_status: ResultStatus | None = None
    status_message: str | None = None
    phase: Phase | None = None
    error_message: str | None = None
    error_type: str | None = None
    errors: Sequence[str] = ()
    files_total: int = 0
    files_done: int = 0
    files_indexed: int = 0
    files_added: int = 0
    files_changed: int = 0
    files_deleted: int = 0
    files_unchanged: int = 0
    files_skipped: int = 0
    files_failed: int = 0
    chunks_created: int = 0
    chunks_total: int = 0
    force_reindex: bool = False
    attempt: int = 1
    trace_id: str | None = None
    workflow_id: str
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    duration_seconds: float | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended, for good."""
        return self.status in TERMINAL


class JobEvent(Model):
    """Something that happened to a job: it was created, changed its status or phase, or was held up again."""

    at: datetime
    event: Literal["created", "running", "blocked", "completed", "failed", "cancelled"]
    phase: Phase | None = None
    attempt: int = 1
    message: str | None = None


class Manifest(Model):
    """Where the work of a job is kept in the database of its project; what the steps of a job hand on."""

    database_name: str
    manifest_id: int
    repo_path: str
    job_id: str


class Scan(Model):
    """Result of the step *scan*: how many files there are, and the shards that are left to index."""

    manifest: Manifest
    files_total: int
    shards: Sequence[int] = ()


class Shard(Model):
    """Input of the step *index shard*."""

    manifest: Manifest
    shard: int


class Collected(Model):
    """What a run of the workflow `CollectGarbage` removed. A project that could not be collected counts as nothing."""

    jobs_removed: int
    manifests_removed: int
    blobs_removed: int


class FileOutcome(Model):
    """What became of one file of a job."""

    path: str
    size: int = Field(description="bytes")
    outcome: Outcome
    reason: str | None = None


class Verification(Model):
    """Whether what the last completed job of a repository claimed is true now. Counts and digest are the index's."""

    job_id: str
    project_id: str
    repo_path: str
    files: int
    chunks: int
    manifest_digest: str | None
    """None where nothing is published."""
    differences: Sequence[str] = ()
    """Between the job, the index and the source; the first of them, for people."""
    differences_total: int = 0
    warnings: Sequence[str] = ()
    """What makes nothing untrue, but should be known: a newer job did not complete."""

    @property
    def ok(self) -> bool:
        """Whether the job, the index and the source agree."""
        return self.differences_total == 0


MAX_RESULTS: Final = 100
"""Places that a search ranks, and so the most that one can page through."""


class SearchRequest(Model):
    """What is searched for, and where."""

    query: Message
    project_id: Message = DEFAULT_PROJECT
    repo_path: str | None = None
    path: Message | None = Field(default=None, max_length=2000)
    """A glob over paths within a repository, as in .gitignore: `*.py`, `src/`, `docs/**/*.md`."""
    language: Message | None = None
    kind: Message | None = None
    limit: int = Field(default=10, ge=1, le=MAX_RESULTS)
    offset: int = Field(default=0, ge=0)


class SearchResult(Model):
    """A place that a search found: a run of lines of a file, numbered from 1, the last one included."""

    chunk_id: str
    repo_path: str
    file_path: str
    """Relative to the repository."""
    start_line: int
    end_line: int
    language: str | None
    kind: str
    """What the lines are: `function`, `class`, `method`, …; `module` or `text` outside of definitions."""
    symbol: str | None
    """The definition that they belong to, after the scopes it is nested in: `Parser.feed`."""
    content: str
    copies: Sequence[str] = ()
    """Other files that hold the same lines, some of them, with their repositories."""
    similarity_score: float = Field(ge=0, le=1)
    """How well it matches, relative to the best that a place could match this query."""


class SearchedRepository(Model):
    """A repository that was searched, and which index of it."""

    repo_path: str
    job_id: str
    """The job that published the index."""
    indexed_at: datetime | None
    """When that ended; None if the registry does not know the job."""
    files_indexed: int
    warnings: Sequence[str] = ()
    """Why the index may not be what the repository holds: the newest job failed, is partial, or still runs."""


class SearchResponse(Model):
    """What a search found, the best first, and what it searched."""

    query: str
    project_id: str
    results: Sequence[SearchResult]
    total_count: int
    """Number of places that were ranked; with `offset` and `limit`, one can page through them."""
    offset: int = 0
    repositories: Sequence[SearchedRepository]
    warnings: Sequence[str] = ()
    """Those of the repositories, each with its repository, and whatever else makes the answer less than whole."""
    latency_ms: float
