from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from verdex.contracts import Job


@pytest.fixture(autouse=True)
def _no_wishes_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests see the colours that a terminal gets by default, whatever the shell has set."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture(scope="session")
def job() -> Callable[..., Job]:
    """Makes a job that was asked for and started just now."""

    def make(**fields: Any) -> Job:
        now = datetime.now(UTC)
        given = {
            "job_id": "01a2047f-c334-70e2-b8d3-3b579153e592",
            "project_id": "default",
            "repo_path": "/srv/code",
            "status": "running",
            "workflow_id": "index:default:code:0",
            "created_at": now,
            "started_at": now,
        }
        return Job.model_validate({**given, **fields})

    return make
