"""People do something to a job."""

import asyncio
import sys
from pathlib import Path
from typing import Final

from tests.chaos.faults.base import COMPLETED_OR_FAILED, Fault, Scene, has_ended, standing_still

STARTER: Final = Path(__file__).parents[1] / "starter.py"
STARTS: Final = 50
COMMANDS: Final = 3
"""So many of the starts come from processes of their own."""
REASON: Final = "by the fault campaign"


class Cancelled(Fault):
    """Somebody cancels the job."""

    name = "cancel"
    quick = True
    needs_job = True
    ends = frozenset({"completed", "cancelled"})

    async def strike(self, scene: Scene) -> None:
        with standing_still(scene):
            asking = await scene.stack.start("cancel", scene.job_id, err=scene.stack.directory / "cancel.err")
            await asyncio.sleep(scene.random.uniform(0, 3))
        await asking.end()


class Terminated(Fault):
    """Somebody terminates the workflow behind the back of verdex."""

    name = "terminate"
    quick = True
    needs_job = True
    ends = COMPLETED_OR_FAILED
    causes = f"terminated.*{REASON}"

    async def strike(self, scene: Scene) -> None:
        with standing_still(scene):
            named = ("--workflow-id", await _workflow_id(scene), "--run-id", scene.job_id)
            await scene.stack.temporal("workflow", "terminate", *named, "--reason", REASON)


class Duplicates(Fault):
    """Fifty others start the same job at once, while it stands still: all must be told of the one that runs."""

    name = "duplicate starts"
    needs_job = True

    async def strike(self, scene: Scene) -> None:
        with standing_still(scene):
            if not await has_ended(scene):
                await asyncio.gather(self._by_the_api(scene), *(self._by_command(scene) for _ in range(COMMANDS)))

    @staticmethod
    async def _by_command(scene: Scene) -> None:
        told = await scene.stack.run("index", scene.tree.root, "--project", scene.project, "--no-wait", "--json")
        scene.claims.add(str(told.json.get("job_id", told.err)))

    @staticmethod
    async def _by_the_api(scene: Scene) -> None:
        arguments = ("-P", STARTER, scene.tree.root, scene.project, STARTS - COMMANDS)
        there = scene.stack.endpoints(scene.url)
        told = await scene.stack.run(*arguments, program=Path(sys.executable), environment=there)
        ids = told.json or [told.err]
        scene.claims.update(ids if len(ids) == STARTS - COMMANDS else [*ids, "too few answers"])


async def _workflow_id(scene: Scene) -> str:
    """By Temporal's own list, which comes a moment after the start; there may be no row yet."""
    async with asyncio.timeout(30):
        while True:
            told = await scene.stack.temporal("workflow", "list", "--query", f"RunId = '{scene.job_id}'")
            if told.json:
                return str(told.json[0]["execution"]["workflowId"])
