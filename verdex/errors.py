"""The errors of verdex. The docstring of a class says when it is raised; its message is for the user.

VerdexError
├── TransientError            can pass by itself: the step is tried again and the job says `blocked`
│   ├── DatabaseUnavailable
│   │   └── SchemaMissing
│   ├── EmbedderUnavailable
│   └── TemporalUnavailable
└── PermanentError            trying again cannot help: the job fails with this message
    ├── SettingsError
    ├── RepositoryError       the source tree cannot be indexed (its subclasses are in `verdex.sources.errors`)
    ├── ProjectNotFound, ProjectExists, ProjectNameInvalid, ProjectInUse
    ├── DatabaseNotFound, DatabaseRefused, DatabaseDiskFull
    ├── SchemaTooNew
    ├── StateRefused
    ├── JobNotFound, JobConflict, JobReset
    ├── JobFailed, JobCancelled    how a job ended that was waited for; `job` has the rest
    ├── QueryInvalid, NotIndexed
    ├── EmbedderInvalid, EmbedderMismatch, VectorsUnsupported
    ├── EmbedderRefused
    │   └── VectorUnusable
    └── StackError
        └── StackDown
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from verdex.contracts import Job


class VerdexError(Exception):
    """Base of everything that verdex raises on purpose; `str()` is one line that a user can act on."""


class TransientError(VerdexError):
    """A condition outside the program that can pass by itself."""


class PermanentError(VerdexError):
    """A condition that stays until somebody changes something."""


class DatabaseUnavailable(TransientError):
    """PostgreSQL does not answer, is starting up or shutting down, is out of connections, or broke off a statement."""


class SchemaMissing(DatabaseUnavailable):
    """No worker has set up the database yet, or it is being restored."""


class ParserUnavailable(TransientError):
    """The processes of a worker that parse cannot be started."""


class EmbedderUnavailable(TransientError):
    """The embedder does not answer, is overloaded, or has trouble of its own."""


class TemporalUnavailable(TransientError):
    """The Temporal service does not answer."""


class SettingsError(PermanentError):
    """A setting is missing or malformed."""


class RepositoryError(PermanentError):
    """The repository cannot be indexed as a whole."""


class ProjectNotFound(PermanentError):
    """The project is not in the registry."""

    def __init__(self, project_id: str, database_name: str, *, alike: str | None = None) -> None:
        """Name the database too, which a person looks for on the server; unless it is that of a project `alike`."""
        missing = f'did you mean "{alike}"?' if alike else f'database "{database_name}" does not exist'
        advice = "" if alike else f" (create it with: verdex project create {project_id})"
        super().__init__(f'project "{project_id}" does not exist: {missing}{advice}')


class ProjectExists(PermanentError):
    """A project of this name, or one whose database would have the same name, exists already."""


class ProjectNameInvalid(PermanentError):
    """The name cannot be the name of a project."""


class ProjectInUse(PermanentError):
    """The project has jobs that run."""


class DatabaseNotFound(PermanentError):
    """PostgreSQL says that the database does not exist."""


class DatabaseRefused(PermanentError):
    """PostgreSQL refuses the login or the right to do what was asked."""


class DatabaseDiskFull(PermanentError):
    """The disk of the PostgreSQL server is full."""


class StateRefused(PermanentError):
    """A constraint of the database refuses what was to be stored: it would be a lie."""


class SchemaTooNew(PermanentError):
    """The database was migrated by a newer verdex than this one."""

    def __init__(self, database: str, found: int, known: int) -> None:
        """`found` is the version of the database, `known` the newest that this program has."""
        super().__init__(
            f'database "{database}" has schema version {found}, this verdex knows {known}: install a newer verdex'
        )


class JobNotFound(PermanentError):
    """Neither the registry nor Temporal knows the job."""


class JobConflict(PermanentError):
    """The row of a job is terminal already and says something else."""


class JobReset(PermanentError):
    """The workflow of a job was reset, and would go on with what it planned as another job."""

    def __init__(self, job_id: str) -> None:
        """Name the job of which the plan is."""
        super().__init__(
            f"the workflow was reset to a point after its scan, which was that of job {job_id}: "
            "start a new job (what was indexed is kept for it)"
        )


class JobFailed(PermanentError):
    """The job that was waited for failed."""

    def __init__(self, job: "Job") -> None:
        """The message is that of the job."""
        super().__init__(job.error_message)
        self.job = job


class JobCancelled(PermanentError):
    """The job that was waited for was cancelled."""

    def __init__(self, job: "Job") -> None:
        """Name the job: somebody else may have cancelled it."""
        super().__init__(f"job {job.job_id} was cancelled")
        self.job = job


class QueryInvalid(PermanentError):
    """A search that cannot be done: nothing to look for, or a filter that nothing can pass."""


class NotIndexed(PermanentError):
    """There is nothing to search: no job has published an index of what is to be searched."""


class EmbedderInvalid(PermanentError):
    """What was given names no embedder."""


class VectorsUnsupported(PermanentError):
    """PostgreSQL cannot store vectors: it lacks the extension for that, or has an old one."""


class EmbedderRefused(PermanentError):
    """The embedder refuses what was asked, lacks the model, or answers something other than a vector for each text."""


class VectorUnusable(EmbedderRefused):
    """The vector of one text has no direction, so nothing can be near to it: it is zero, or not finite."""

    def __init__(self, embedder: str, position: int, reason: str) -> None:
        """`position` is that of the text among those that were to be embedded, from 0."""
        super().__init__(f"embedder {embedder}: the vector of text {position + 1} is {reason}")
        self.position = position
        self.reason = reason


class EmbedderMismatch(PermanentError):
    """The vectors have other dimensions than those of the project."""

    def __init__(self, embedder: str, found: int, expected: int) -> None:
        """`expected` is what the project was set up for."""
        super().__init__(
            f"embedder {embedder} gives vectors of {found} dimensions, and the project was set up for {expected}: "
            "bring back the model of that time, or give the project its embedder anew"
        )


class StackError(PermanentError):
    """A part of the local stack cannot be started or stopped."""


class StackDown(StackError):
    """Somebody took the local stack down on purpose."""

    def __init__(self) -> None:
        """Say how to bring it up."""
        super().__init__("the local stack was taken down (verdex up starts it)")
