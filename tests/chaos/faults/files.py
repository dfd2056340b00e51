"""The tree that is indexed goes away, cannot be read, or changes all the time."""

import sys
from pathlib import Path
from typing import Final

from tests.chaos.faults.apart import IS_ROOT, SETPRIV, FaultApart
from tests.chaos.faults.base import COMPLETED_OR_FAILED, Fault, Scene
from tests.chaos.stack import Running

CHURN: Final = Path(__file__).parents[1] / "churn.py"


class RepositoryDeleted(Fault):
    """The tree is gone, from one moment to the next."""

    name = "repository deleted"
    quick = True
    ends = COMPLETED_OR_FAILED
    causes = "does not exist"

    async def strike(self, scene: Scene) -> None:
        hidden = scene.tree.root.with_name("hidden")
        scene.tree.hide(hidden)
        scene.beside.callback(scene.tree.put_back, hidden)


class Unreadable(FaultApart):
    """A file or a directory cannot be read: an outcome of that file, and no more."""

    name = "unreadable"
    quick = True
    early = True

    @classmethod
    def possible(cls) -> bool:
        """Root can read everything, unless that is taken from it."""
        return not IS_ROOT or SETPRIV is not None

    async def prepare(self, scene: Scene) -> None:
        await super().prepare(scene)
        path = scene.random.choice(scene.tree.candidates())
        _close(scene, path)
        scene.beside.callback(setattr, scene.tree, "unreadable", None)
        scene.tree.unreadable = path


class DirectoryClosed(Unreadable):
    """A directory cannot be read any more from one moment to the next; what was read before stays."""

    name = "directory closed"
    early = False

    async def prepare(self, scene: Scene) -> None:
        await FaultApart.prepare(self, scene)

    async def strike(self, scene: Scene) -> None:
        path = scene.random.choice(scene.tree.leaves())
        _close(scene, path)
        scene.beside.callback(setattr, scene.tree, "closed", None)
        scene.tree.closed = path


class FileChanges(Fault):
    """A file changes all the time: each state that it had is true of it, and so is that it could not be read."""

    name = "file changes"
    quick = True
    early = True

    async def prepare(self, scene: Scene) -> None:
        way, pause = scene.random.choice(["grows", "grows", "is replaced"]), scene.random.choice([0, 0, 0.002])
        text = scene.stack.directory / "text"
        path = scene.tree.let_change(scene.random, text, way)
        scene.beside.callback(scene.tree.let_rest)
        arguments = ("-P", CHURN, scene.tree.root / path, text, way, pause)
        running = await scene.stack.start(
            *arguments, program=Path(sys.executable), err=scene.stack.directory / "churn.err"
        )
        scene.beside.push_async_callback(_end, running)


def _close(scene: Scene, path: str) -> None:
    place = scene.tree.root / path
    scene.beside.callback(place.chmod, place.stat().st_mode & 0o777)
    place.chmod(0)


async def _end(running: Running) -> None:
    """It does not end by itself."""
    running.process.kill()
    await running.end()
