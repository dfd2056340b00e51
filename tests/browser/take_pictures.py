"""`python -m tests.browser.take_pictures [DIRECTORY]`: take the pictures of the README from a stack that really works.

It indexes the standard library, parts of it, and this repository, as copies below /srv/code where it may make that.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Final

from playwright.async_api import FloatRect

from tests.browser import terminal
from tests.browser.holdups import closed_door, held
from tests.browser.web_ui import Job, WebUI, chromium, page_of
from tests.chaos.stack import PROGRAMS, Stack, stack
from verdex.local.postgres import Postgres
from verdex.local.stack import LocalStack

ROOT: Final = Path(__file__).parents[2]
PICTURES: Final = ROOT / "docs" / "pictures"
WIDTH: Final = 1500
SHARP: Final = 1.25
"""Pixels of a picture for each of a page."""
PANELS_HEIGHT: Final = 700
"""Of the window, so that it shows the panels of the tab *User Metadata* and little more."""
LEFT: Final = 256
TOP: Final = 48
"""Where the part of a page begins that is not on all pages."""
COLUMNS: Final = ("Status", "VerdexStatus", "VerdexErrorType", "VerdexProject", "VerdexRepository", "Workflow ID")


class Photographer:
    """Makes jobs of every status, and pictures of them."""

    def __init__(self, stack: Stack, code: Path, web_ui: WebUI, directory: Path) -> None:
        """`code` holds the repositories; the pictures go to `directory`."""
        self._stack = stack
        self._code = code
        self._web_ui = web_ui
        self._directory = directory
        self._postgres = Postgres(stack.home)

    async def run(self) -> None:
        """Take them all."""
        for project in ("python", "archive"):
            await self._stack.run("project", "create", project)
        await self._job("index", self._code / "verdex")
        await self._job("index", self._code / "web-shop")
        failed = await self._job("index", self._code / "asyncio", "--project", "payments")
        held_up = await self._while_held_up()
        await self._jobs_of_all_kinds(failed)
        await self._terminal("terminal-status", "status", failed["job_id"][-8:])
        await self._terminal("terminal-trace", "trace", held_up["job_id"][-8:])

    async def _while_held_up(self) -> Job:
        """A job that was cancelled, and one that was held up and then completed."""
        async with closed_door(self._postgres, "python"):
            cancelled = await self._job("index", self._code / "idlelib", "--project", "python", "--no-wait")
            await self._web_ui.current_details(cancelled, lambda text: "blocked" in text)
            await self._stack.run("cancel", cancelled["job_id"])
            held_up = await self._job("index", self._code / "asyncio", "--project", "python", "--no-wait")
            await self._web_ui.current_details(held_up, lambda text: "attempt 4" in text)
        await self._web_ui.current_details(held_up, lambda text: "completed" in text)
        return held_up

    async def _jobs_of_all_kinds(self, failed: Job) -> None:
        async with closed_door(self._postgres, "archive"):
            blocked = await self._job("index", self._code / "idlelib", "--project", "archive", "--no-wait")
            await self._web_ui.current_details(blocked, lambda text: "blocked" in text)
            await self._picture("web-ui-blocked", PANELS_HEIGHT)
            running = await self._picture_of_progress()
            await self._terminal("terminal-jobs", "jobs")
            await self._list("web-ui-list")
            await self._web_ui.open(failed)
            await self._web_ui.page.get_by_text("preflight").first.wait_for()
            await self._picture("web-ui-failed", 850)
        await self._web_ui.current_details(running, lambda text: "completed" in text)

    async def _picture_of_progress(self) -> Job:
        """A job that waited until the picture was taken, and goes on."""
        async with AsyncExitStack() as late_shards:
            async with held(self._postgres, "default", "LOCK TABLE chunks"):
                running = await self._job("index", self._code / "cpython", "--no-wait")
                await self._web_ui.current_details(running, lambda text: "shards" in text)
                late = "SELECT FROM files WHERE shard > 6 FOR UPDATE"
                await late_shards.enter_async_context(held(self._postgres, "default", late))
            await self._web_ui.current_details(running, lambda text: re.search(r"running.* [3-7] of", text))
            await self._picture("web-ui-running", PANELS_HEIGHT)
        return running

    async def _job(self, *arguments: object) -> Job:
        return dict((await self._stack.run(*arguments, "--json")).json)

    async def _list(self, name: str) -> None:
        columns = json.dumps({"default": [{"label": label} for label in COLUMNS]})
        await self._web_ui.page.evaluate(
            "set => localStorage.setItem('namespace-workflow-table-columns', set)", columns
        )
        await self._web_ui.runs('WorkflowType="IndexRepository"')
        await self._web_ui.page.get_by_text("blocked", exact=True).wait_for()
        await self._picture(name, 640)

    async def _picture(self, name: str, height: int) -> None:
        """Of the page that is open, as it is in a window of so many pixels."""
        page = self._web_ui.page
        await page.set_viewport_size({"width": WIDTH, "height": height})
        clip: FloatRect = {"x": LEFT, "y": TOP, "width": WIDTH - LEFT, "height": height - TOP}
        await page.screenshot(path=self._directory / f"{name}.png", clip=clip)

    async def _terminal(self, name: str, *arguments: str) -> None:
        environment = {**os.environ, "VERDEX_HOME": str(self._stack.home)}
        output = await asyncio.to_thread(terminal.shown, PROGRAMS / "verdex", *arguments, environment=environment)
        async with page_of(self._web_ui.page.context) as page:
            await terminal.take(page, f"verdex {' '.join(arguments)}", output, self._directory / f"{name}.png")


@contextmanager
def repositories() -> Iterator[Path]:
    """Copies of real trees, with paths that say nothing of this machine."""
    code = Path("/srv/code")
    try:
        code.mkdir()
    except OSError:
        code = Path(tempfile.mkdtemp(prefix="code-"))
    try:
        library = Path(sysconfig.get_path("stdlib"))
        unwanted = shutil.ignore_patterns("site-packages", "__pycache__")
        for name, source in (("cpython", library), ("asyncio", library / "asyncio"), ("idlelib", library / "idlelib")):
            shutil.copytree(source, code / name, ignore=unwanted)
        _copy_this(code / "verdex")
        yield code
    finally:
        shutil.rmtree(code)


def _copy_this(target: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, target / name)


async def main(directory: Path) -> None:
    """Take the pictures into `directory`, which is there."""
    with repositories() as code:
        async with stack() as made, chromium(device_scale_factor=SHARP) as browser, page_of(browser) as page:
            await made.run("up")
            web_ui = WebUI(page, LocalStack(made.home).endpoints().ui_url)
            await Photographer(made, code, web_ui, directory).run()


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES
    target.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(target))
