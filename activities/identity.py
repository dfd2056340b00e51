"""Which job a log line belongs to, whoever logs it: a step, a library in it, the workflow, or Temporal's SDK."""

import logging
import re
from typing import Final

from temporalio import activity, workflow

from verdex.contracts import project_of

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Ids = dict[str, str | None]


class JobIds(logging.Filter):
    """Adds the ids of the job, the workflow and the activity to each record that has none of its own.

    On the handler, in the thread that logs: so it needs nobody to bind them.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the ids; False for what has a line already."""
        for name, value in _ids(record).items():
            if value is not None:
                vars(record).setdefault(name, value)
        return not _is_told(record)


def _is_told(record: logging.LogRecord) -> bool:
    """That an activity failed is told by the interceptor; the SDK tells it again, and of those that are cancelled."""
    return vars(record).get("__temporal_error_identifier") == "ActivityFailure"


def _ids(record: logging.LogRecord) -> Ids:
    if activity.in_activity():
        return of_activity(activity.info())
    if workflow.in_workflow():
        info = workflow.info()
        return _of_workflow(info.workflow_id, info.run_id)
    told = getattr(record, "temporal_workflow", None)
    if isinstance(told, dict) and "workflow_id" in told:
        return _of_workflow(told["workflow_id"], told.get("run_id"))
    return _of_message(record) if record.name.startswith("temporalio") else {}


def of_activity(info: activity.Info) -> Ids:
    """The ids of an activity; None where it belongs to no job.

    But for the attempt, which the interceptor binds: Temporal counts anew where a workflow tries again itself.
    """
    return {**_of_workflow(info.workflow_id, info.workflow_run_id), "activity": info.activity_type}


def _of_workflow(workflow_id: str | None, run_id: str | None) -> Ids:
    """The job id of a job is the run id; other workflows belong to no job."""
    project_id = project_of(workflow_id or "")
    return {
        "job_id": run_id if project_id else None,
        "project_id": project_id,
        "workflow_id": workflow_id,
        "run_id": run_id,
    }


def _of_message(record: logging.LogRecord) -> Ids:
    """Outside the workflow, the SDK names its run in the text only, at the end."""
    last = record.args[-1] if isinstance(record.args, tuple) and record.args else None
    if isinstance(last, str) and _UUID.fullmatch(last) and "run ID" in str(record.msg):
        return {"run_id": last}
    return {}
