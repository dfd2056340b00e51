"""The commands of a workflow, in order: those that a history holds, and those that the code of today issues for it.

A replay compares them as well, but it only says that they differ at an event with a number. This says which step.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner
from temporalio.workflow import _Definition

OF_EVENTS: Final = {
    "TIMER_STARTED": "start a timer",
    "TIMER_CANCELED": "cancel a timer",
    "MARKER_RECORDED": "mark a patch",
    "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES": "update the search attributes",
    "WORKFLOW_EXECUTION_COMPLETED": "complete the workflow",
    "WORKFLOW_EXECUTION_FAILED": "fail the workflow",
    "WORKFLOW_EXECUTION_CANCELED": "cancel the workflow",
    "WORKFLOW_EXECUTION_CONTINUED_AS_NEW": "continue as new",
}
OF_CODE: Final = {
    "start_timer": "start a timer",
    "cancel_timer": "cancel a timer",
    "set_patch_marker": "mark a patch",
    "upsert_workflow_search_attributes": "update the search attributes",
    "complete_workflow_execution": "complete the workflow",
    "fail_workflow_execution": "fail the workflow",
    "cancel_workflow_execution": "cancel the workflow",
    "continue_as_new_workflow_execution": "continue as new",
}
NO_COMMANDS: Final = {"respond_to_query"}


def of_history(history: Mapping[str, Any]) -> list[str]:
    """The commands that the events of a history, as JSON, came from."""
    return list(_of_events(history["events"]))


def _of_events(events: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    activities = {}
    for event in events:
        kind = event["eventType"].removeprefix("EVENT_TYPE_")
        if local := _local_activity(event):
            yield f"run {local} within the workflow task"
        elif kind == "ACTIVITY_TASK_SCHEDULED":
            activities[event["eventId"]] = name = event["activityTaskScheduledEventAttributes"]["activityType"]["name"]
            yield f"run {name}"
        elif kind == "ACTIVITY_TASK_CANCEL_REQUESTED":
            yield f"cancel {activities[event['activityTaskCancelRequestedEventAttributes']['scheduledEventId']]}"
        elif kind in OF_EVENTS and not _notes_a_patch(event):
            yield OF_EVENTS[kind]


def _notes_a_patch(event: Mapping[str, Any]) -> bool:
    """The SDK writes down by itself, beside the marker, which patches a workflow has."""
    found = event.get("upsertWorkflowSearchAttributesEventAttributes", {}).get("searchAttributes", {})
    return "TemporalChangeVersion" in found.get("indexedFields", {})


def _local_activity(event: Mapping[str, Any]) -> str | None:
    """The type of a local activity, where the event is the marker that it ended."""
    marker = event.get("markerRecordedEventAttributes", {})
    if marker.get("markerName") != "core_local_activity":
        return None
    told = json.loads(base64.b64decode(marker["details"]["data"]["payloads"][0]["data"]))
    return str(told["activity_type"])


class RecordingRunner(WorkflowRunner):
    """Runs workflows as another runner does, and keeps the commands that they issue."""

    def __init__(self, runner: WorkflowRunner) -> None:
        self._runner = runner
        self.commands: list[str] = []
        self._activities: dict[int, str] = {}

    def prepare_workflow(self, defn: _Definition) -> None:
        self._runner.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        instance = self._runner.create_instance(det)
        activate = instance.activate

        def activate_and_keep(act: WorkflowActivation) -> WorkflowActivationCompletion:
            for job in act.jobs:  # a local activity comes into the history when it ends
                if job.HasField("resolve_activity") and job.resolve_activity.is_local:
                    name = self._activities[job.resolve_activity.seq]
                    self.commands.append(f"run {name} within the workflow task")
            completion = activate(act)
            for command in completion.successful.commands:
                self._keep(command)
            return completion

        instance.activate = activate_and_keep  # type: ignore[method-assign]
        return instance

    def _keep(self, command: WorkflowCommand) -> None:
        match command.WhichOneof("variant"):
            case "schedule_activity":
                self._activities[command.schedule_activity.seq] = name = command.schedule_activity.activity_type
                self.commands.append(f"run {name}")
            case "schedule_local_activity":
                self._activities[command.schedule_local_activity.seq] = command.schedule_local_activity.activity_type
            case "request_cancel_activity":
                self.commands.append(f"cancel {self._activities[command.request_cancel_activity.seq]}")
            case variant if variant not in NO_COMMANDS:
                self.commands.append(OF_CODE[str(variant)])


async def of_code(options: Mapping[str, Any], history: WorkflowHistory) -> tuple[list[str], Exception | None]:
    """The commands that the workflows of a replayer issue for a history, as far as they agree, and its complaint."""
    runner = RecordingRunner(options["workflow_runner"])
    replayer = Replayer(**{**options, "workflow_runner": runner})
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    return runner.commands, result.replay_failure


def difference(expected: Sequence[str], found: Sequence[str]) -> str | None:
    """The first command in which the code differs from a history."""
    for number, (one, other) in enumerate(zip_longest(expected, found, fillvalue="nothing more")):
        if one != other:
            before = ", ".join(expected[max(number - 2, 0) : number]) or "the start"
            return f"after {before}: expected {one}, got {other}"
    return None
