"""Temporal's Web UI in a real browser, as a person reads it."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from playwright.async_api import BrowserContext, Page, async_playwright

Job = dict[str, Any]
"""As `verdex index --json` tells it."""

CHROMIUM: Final = Path("/usr/bin/chromium")
SECONDS: Final = 60.0
"""Longest that a page may need to show what is true."""
TABS: Final = {"history": "Workflow Execution Started", "search-attributes": "VerdexErrorType"}
"""What each of them shows when it shows everything."""
PANELS: Final = ("summary", "details", "current-details")
"""Of the tab `user-metadata`, each in a frame of its own."""

_FLAGS: Final = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # the Web UI asks for the news of its makers
)


@asynccontextmanager
async def chromium(**options: Any) -> AsyncIterator[BrowserContext]:
    """Debian's, without a window; it reaches this machine only. `options` are those of Playwright's contexts."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        context = await browser.new_context(**{"viewport": {"width": 1440, "height": 1000}, **options})
        context.set_default_timeout(1000 * SECONDS)
        yield context
        await browser.close()


@asynccontextmanager
async def page_of(browser: BrowserContext) -> AsyncIterator[Page]:
    """A page of its own."""
    page = await browser.new_page()
    yield page
    await page.close()


class WebUI:
    """The pages that tell of jobs."""

    def __init__(self, page: Page, address: str) -> None:
        """`address` is where the Web UI is served, such as http://127.0.0.1:8233."""
        self.page = page
        self._namespace = f"{address}/namespaces/default"

    async def runs(self, query: str) -> dict[str, str]:
        """The workflows that a query finds: Temporal's status by run id."""
        url = f"{self._namespace}/workflows?query={quote(query)}"
        await self.page.goto(url, wait_until="networkidle")
        rows = self.page.get_by_test_id("workflows-summary-configurable-table-row")
        texts = [re.split(r"\s+", (await row.inner_text()).strip()) for row in await rows.all()]
        return {run_id: status for _, _, _, status, _, run_id, *_ in texts}

    async def open(self, job: Job, tab: str = "timeline") -> None:
        """One tab of the page of a job."""
        await self.page.goto(f"{self._namespace}/workflows/{job['workflow_id']}/{job['job_id']}/{tab}")
        await self.page.get_by_test_id("workflow-id-heading").wait_for()

    async def status(self) -> str:
        """Of the page that is open: what Temporal says of the workflow."""
        return await self.page.get_by_test_id("execution-status").first.inner_text()

    async def panel(self, kind: str) -> str:
        """Of the tab `user-metadata`: what is in one of the PANELS."""
        return _plain(await self.page.frame_locator(f"#user-metadata-{kind}").locator("main").inner_text())

    async def current_details(self, job: Job, are: Callable[[str], object]) -> str:
        """The current details of a job, when they are so at last; they are asked for anew as a person does it.

        Raises:
            AssertionError: they never are.
        """
        await self.open(job, "user-metadata")
        found = ""
        try:
            async with asyncio.timeout(SECONDS):
                while not are(found := await self.panel("current-details")):
                    await self.page.keyboard.press("r")
        except TimeoutError:
            raise AssertionError(f"the current details are: {found}") from None
        return found

    async def whole(self, job: Job) -> str:
        """All that the page of a job says in its tabs."""
        await self.open(job)
        said = []
        for tab, text in TABS.items():
            await self.page.get_by_test_id(f"{tab}-tab").click()
            await self.page.get_by_text(text).first.wait_for()
            said.append(await self.page.locator("body").inner_text())
        await self.page.get_by_test_id("user-metadata-tab").click()
        said += [await self.panel(kind) for kind in PANELS]
        return _plain(" ".join(said))


def _plain(text: str) -> str:
    """With one blank between words."""
    return " ".join(text.split())
