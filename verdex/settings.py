"""Every setting of verdex, read from the environment (`VERDEX_…`). Temporal's and OpenTelemetry's are their own."""

import os
import re
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from platformdirs import user_data_path
from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from verdex.contracts import BLOCKED_LIMIT_SECONDS, DEFAULT_TASK_QUEUE
from verdex.errors import SettingsError

MIB = 1024 * 1024
LONGEST_BLOCKED_LIMIT_SECONDS = 30 * 24 * 3600
"""Of a job that was held up for longer, the history would become long."""
_LINK = re.compile(r"https?://[!-~]+")
_WORD = re.compile(r"[!-~]+")


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


class Settings(BaseSettings):
    """The settings of one process; immutable. Sizes are bytes, times are seconds."""

    model_config = SettingsConfigDict(env_prefix="VERDEX_", env_ignore_empty=True, frozen=True)

    home: Path = Field(default_factory=lambda: user_data_path("verdex"))
    """State of the local stack, and the spans that `verdex trace` reads."""
    database_url: SecretStr | None = None
    """The registry. The databases of the projects live on the same server."""
    task_queue: str = Field(default=DEFAULT_TASK_QUEUE, max_length=200, pattern=r"^[\w.:/-]+$")
    allowed_roots: Annotated[tuple[Path, ...], NoDecode] = ()
    """Only repositories below one of these may be indexed; none: any. Separated as in PATH."""
    max_file_bytes: int = Field(default=32 * MIB, gt=0)
    """A larger file is skipped, and its outcome says so."""
    max_failed_ratio: float = Field(default=0.5, ge=0, le=1)
    """A job of which more than this part of the files fails publishes nothing and fails."""
    blocked_limit_seconds: float = Field(default=BLOCKED_LIMIT_SECONDS, ge=0, le=LONGEST_BLOCKED_LIMIT_SECONDS)
    """A job fails when what holds it up has not passed after this time."""
    retention_days: float = Field(default=7, ge=0, le=36500)
    """How long jobs that have ended are kept, with what only they need; the newest ones of a repository stay."""
    processes: int = Field(default_factory=lambda: os.cpu_count() or 1, gt=0)
    """Processes that parse, in each worker, which takes two shards of large jobs for each of them."""
    embedder_api_key: SecretStr | None = None
    """Sent to embedders that speak OpenAI's protocol, and to no others."""
    metrics_address: str | None = None
    """Where a worker serves metrics for Prometheus; none: nowhere."""
    ui_url: str | None = None
    """Where people reach Temporal's Web UI; none: where the local stack serves it. Without a slash at the end."""
    trace_url: str | None = None
    """Where people see a trace, with `{trace_id}` in the place of its id; none: nowhere but by `verdex trace`."""
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)] = "INFO"

    @field_validator("home", mode="after")
    @classmethod
    def _resolve_home(cls, home: Path) -> Path:
        return _resolved(home)

    @field_validator("database_url", mode="after")
    @classmethod
    def _postgresql(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not _is_postgresql(url.get_secret_value()):
            raise ValueError("it should look like postgresql://user:password@host:5432/database")
        return url

    @field_validator("embedder_api_key", mode="after")
    @classmethod
    def _fits_in_a_header(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not _WORD.fullmatch(key.get_secret_value()):
            raise ValueError("it should be printable ASCII without spaces")
        return key

    @field_validator("metrics_address", mode="after")
    @classmethod
    def _address(cls, address: str | None) -> str | None:
        if address is not None and not _is_socket_address(address):
            raise ValueError("it should look like 127.0.0.1:9464, or 0.0.0.0:9464 for all interfaces")
        return address

    @field_validator("ui_url", mode="after")
    @classmethod
    def _page(cls, url: str | None) -> str | None:
        if url is not None and not (_is_page(url) and "?" not in url and "#" not in url):
            raise ValueError("it should look like http://localhost:8080")
        return url and url.rstrip("/")

    @field_validator("trace_url", mode="after")
    @classmethod
    def _page_of_a_trace(cls, url: str | None) -> str | None:
        if url is not None and not (_is_page(url) and "{trace_id}" in url):
            raise ValueError("it should look like http://localhost:16686/trace/{trace_id}")
        return url

    @field_validator("allowed_roots", mode="before")
    @classmethod
    def _split_roots(cls, value: object) -> object:
        return tuple(filter(None, value.split(os.pathsep))) if isinstance(value, str) else value

    @field_validator("allowed_roots", mode="after")
    @classmethod
    def _resolve_roots(cls, roots: tuple[Path, ...]) -> tuple[Path, ...]:
        if relative := [str(root) for root in roots if not str(root).startswith(("/", "~"))]:
            raise ValueError(f"{relative[0]} is not absolute")  # the worker is started in another directory
        return tuple(map(_resolved, roots))

    @classmethod
    def load(cls) -> Self:
        """Read the environment.

        Raises:
            SettingsError: one line that names each variable that is wrong.
        """
        try:
            return cls()
        except ValidationError as error:
            raise SettingsError("; ".join(_explain(details) for details in error.errors())) from None

    @property
    def database_dsn(self) -> str:
        """The address of the registry.

        Raises:
            SettingsError: it is not set.
        """
        if self.database_url is None:
            raise SettingsError(
                "VERDEX_DATABASE_URL is not set: give postgresql://user:password@host/database, "
                'or that of the local stack: eval "$(verdex up --env)"'
            )
        return self.database_url.get_secret_value()

    @property
    def traces_directory(self) -> Path:
        """Where spans are kept, a file a trace."""
        return self.home / "traces"


def _is_postgresql(url: str) -> bool:
    with suppress(ValueError):  # the port is no number
        parts = urlsplit(url)
        return parts.scheme in {"postgresql", "postgres"} and parts.port != 0
    return False


def _is_page(url: str) -> bool:
    with suppress(ValueError):  # the port is no number
        parts = urlsplit(url)
        return bool(_LINK.fullmatch(url) and parts.hostname) and parts.port != 0
    return False


def _is_socket_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    with suppress(ValueError):
        ip_address(host[1:-1] if host.startswith("[") and host.endswith("]") else host)
        return port.isascii() and port.isdigit() and 0 < int(port) < 65536 and (host.startswith("[") == (":" in host))
    return False


def _resolved(path: Path) -> Path:
    """The one name of a directory, however it is written."""
    try:
        return path.expanduser().resolve()
    except (OSError, RuntimeError) as error:  # the home directory of nobody, or a loop of links
        raise ValueError(str(error)) from None


def _explain(details: ErrorDetails) -> str:
    name = "VERDEX_" + "_".join(str(part) for part in details["loc"][:1]).upper()
    secret = name.endswith(("_URL", "_KEY"))  # a URL may hold a password
    given = "is wrong" if secret else f"is {details['input']!r}"
    return f"{name} {given}: {details['msg'].removeprefix('Value error, ').lower()}"
