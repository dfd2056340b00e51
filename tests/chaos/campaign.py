"""A stream of jobs, each with a fault at some instant, each judged by the oracle."""

from collections.abc import AsyncIterator, Sequence
from random import Random
from typing import Final, NamedTuple

from tests.chaos.evidence import Place, temporal_status
from tests.chaos.faults.base import Fault, Scene
from tests.chaos.oracle import Finding, judge
from tests.chaos.stack import Stack
from tests.chaos.trees import Tree
from tests.chaos.trial import Told, Trial

REPOSITORIES: Final[tuple[Place, ...]] = (("one", "left"), ("one", "right"), ("two", "left"))
"""Project and directory; each has a tree of its own."""

CLOSED_SECONDS: Final = 30.0
"""Longest that a workflow may stay open after its row is terminal."""


class Outcome(NamedTuple):
    """What came of one job."""

    number: int
    fault: Fault
    story: str
    """What was done, for a person."""
    told: Told
    findings: list[Finding]


class Campaign:
    """Jobs on one stack, without the faults that are not possible here.

    The same seed and faults give the same trees, edits and, as far as clocks go, instants.
    """

    def __init__(self, stack: Stack, url: str, seed: int, faults: Sequence[type[Fault]]) -> None:
        """`url` is the registry; the projects exist."""
        self.stack = stack
        self.url = url
        self._seed = seed
        self._faults = [fault for fault in faults if fault.possible()]
        self.impossible = [fault.name for fault in faults if fault not in self._faults]
        self._databases = {project: f"cb_proj_{project}" for project, _ in REPOSITORIES}
        self._trees = [
            Tree(stack.directory / "trees" / project / name, self._random("tree", project, name))
            for project, name in REPOSITORIES
        ]

    async def run(self, jobs: int, only: int | None = None) -> AsyncIterator[Outcome]:
        """One job after the other; the next one does not wait until the workflow of one that has ended is closed.

        With `only`, one job again, by its number: on the same tree, which is indexed once before its last edits.
        """
        if only is not None:
            await self._go_to(only)
        open_ones: list[Outcome] = []
        for number in range(1, jobs + 1) if only is None else [only]:
            outcome = await self.job(number)
            for one in open_ones:
                yield await self._closed(one)
            open_ones = [outcome] if outcome.told.case.temporal == "RUNNING" else []
            if not open_ones:
                yield outcome
        for one in open_ones:
            yield await self._closed(one)

    async def job(self, number: int, fault: Fault | None = None) -> Outcome:
        """Edit a tree, index it under a fault, and judge what is said of it."""
        random, fault = self._random("job", number), fault or self._fault(number)
        (project, name), tree, edits = self._edit(random)
        scene = Scene(self.stack, self.url, random, tree, project, self._databases)
        async with scene.beside:
            await fault.prepare(scene)
            told = await Trial(scene, fault).told()
            findings = judge(told.case)
        struck = told.instant if told.struck else f"too late: {told.instant}"
        return Outcome(number, fault, f"{project}/{name}, {len(edits)} edits, {struck}", told, findings)

    async def _go_to(self, number: int) -> None:
        for earlier in range(1, number):
            self._edit(self._random("job", earlier))
        for (project, _), tree in zip(REPOSITORIES, self._trees, strict=True):
            await self.stack.run("index", tree.root, "--project", project)

    def _edit(self, random: Random) -> tuple[Place, Tree, list[str]]:
        """Which repository a job is for, and what was done to its tree."""
        place, tree = random.choice(list(zip(REPOSITORIES, self._trees, strict=True)))
        return place, tree, tree.edit(random)

    async def _closed(self, outcome: Outcome) -> Outcome:
        """Judge again, once a worker that was killed right after it wrote the row has been replaced."""
        case = outcome.told.case
        workflow_id = case.row["workflow_id"] if case.row else ""
        temporal = await temporal_status(self.stack, workflow_id, case.job_id, CLOSED_SECONDS)
        case = case._replace(temporal=temporal)
        return outcome._replace(told=outcome.told._replace(case=case), findings=judge(case))

    def _random(self, *what: object) -> Random:
        """Numbers of their own for each purpose, so that what one job draws does not depend on another."""
        return Random(":".join(map(str, (self._seed, *what))))  # noqa: S311

    def _fault(self, number: int) -> Fault:
        """Each fault once in every round, in an order by chance."""
        turn, place = divmod(number - 1, len(self._faults))
        return self._random("round", turn).sample(self._faults, len(self._faults))[place]()


async def begin(stack: Stack, seed: int, faults: Sequence[type[Fault]]) -> Campaign:
    """A campaign on a stack that is brought up for it.

    Raises:
        RuntimeError: that does not succeed.
    """
    up = await stack.run("up", "--json")
    if up.code != 0:
        raise RuntimeError(f"the stack does not come up: {up.err}")
    for project in sorted({project for project, _ in REPOSITORIES}):
        await stack.run("project", "create", project)
    return Campaign(stack, up.json["database_url"], seed, faults)
