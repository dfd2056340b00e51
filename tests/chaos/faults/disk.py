"""The disk of a database fills up."""

import asyncio
import os
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.chaos import evidence
from tests.chaos.faults.base import COMPLETED_OR_FAILED, Fault, Scene, alter_alone, standing_still

ROOM: Final = 32 * 1024 * 1024
"""Bytes that are free on the small disk before it is filled."""
SPACE: Final = "small"


class DiskFull(Fault):
    """The database of the project is moved to a small disk, on which something else takes all that is free."""

    name = "disk full"
    quick = True
    ends = COMPLETED_OR_FAILED
    causes = "No space left on device"

    @classmethod
    def possible(cls) -> bool:
        """Whether file systems can be mounted."""
        with tempfile.TemporaryDirectory() as place, suppress(OSError, subprocess.CalledProcessError):
            mount(Path(place), 2**20)
            unmount(Path(place))
            return True
        return False

    async def prepare(self, scene: Scene) -> None:
        disk, database = self._disk(scene), scene.database
        async with evidence.connected(scene.url) as registry:
            size = await registry.fetchval("SELECT pg_database_size($1)", database)
            disk.mkdir()
            scene.beside.callback(disk.rmdir)
            mount(disk, size + ROOM)
            scene.beside.callback(unmount, disk)
            await registry.execute(f"CREATE TABLESPACE {SPACE} LOCATION '{self._folder(scene)}'")
        scene.beside.push_async_callback(self._drop, scene)
        await alter_alone(scene, database, f"SET TABLESPACE {SPACE}")
        scene.beside.push_async_callback(alter_alone, scene, database, "SET TABLESPACE pg_default")

    async def strike(self, scene: Scene) -> None:
        ballast = self._disk(scene) / "ballast"
        with standing_still(scene):
            fill(ballast)
        try:
            await asyncio.sleep(scene.random.uniform(0.5, 3))
        finally:
            ballast.unlink()

    @staticmethod
    def _disk(scene: Scene) -> Path:
        return scene.stack.directory / "disk"

    def _folder(self, scene: Scene) -> Path:
        """One that belongs to whoever runs PostgreSQL."""
        folder, owner = self._disk(scene) / "tablespace", (scene.stack.home / "postgres" / "data").stat()
        folder.mkdir()
        os.chown(folder, owner.st_uid, owner.st_gid)
        return folder

    @staticmethod
    async def _drop(scene: Scene) -> None:
        async with evidence.connected(scene.url) as registry:
            await registry.execute(f"DROP TABLESPACE {SPACE}")


def mount(place: Path, size: int) -> None:
    command = ("mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "verdex-campaign", place)
    subprocess.run(command, check=True, capture_output=True)


def unmount(place: Path) -> None:
    """Also while somebody still holds a file of it open."""
    subprocess.run(("umount", "--lazy", place), check=True, capture_output=True)


def fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
