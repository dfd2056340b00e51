"""Where a job can be looked at in a browser."""

from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote

from verdex.contracts import Job


class Pages(NamedTuple):
    """The pages of one job; None where nobody said where they are."""

    web_ui: str | None = None
    trace: str | None = None


PagesOf = Callable[[Job], Pages]


def pages(job: Job, *, ui_url: str | None, namespace: str, trace_url: str | None) -> Pages:
    """The pages of a job: below `ui_url` in Temporal's Web UI, and at the template `trace_url`."""
    workflow = f"namespaces/{quote(namespace, safe='')}/workflows/{quote(job.workflow_id, safe=':')}/{job.job_id}"
    return Pages(
        f"{ui_url}/{workflow}" if ui_url else None,
        trace_url.replace("{trace_id}", job.trace_id) if trace_url and job.trace_id else None,
    )
