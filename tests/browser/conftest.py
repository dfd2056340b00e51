"""One stack and one browser for all tests; a page for each."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import BrowserContext

from tests.browser.holdups import Door, closed_door
from tests.browser.web_ui import CHROMIUM, Job, WebUI, chromium, page_of
from tests.chaos.stack import Stack
from tests.chaos.stack import stack as new_stack
from verdex.local.postgres import Postgres
from verdex.local.stack import LocalStack

JobOf = Callable[..., Awaitable[Job]]


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[BrowserContext]:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not there: apt-get install chromium")
    async with chromium() as started:
        yield started


@pytest.fixture(scope="session")
async def stack(browser: BrowserContext) -> AsyncIterator[Stack]:
    async with new_stack() as made:
        up = await made.run("up")
        assert up.code == 0, up.err
        yield made


@pytest.fixture(scope="session")
def postgres(stack: Stack) -> Postgres:
    """That of the stack."""
    return Postgres(stack.home)


@pytest.fixture
async def web_ui(browser: BrowserContext, stack: Stack) -> AsyncIterator[WebUI]:
    async with page_of(browser) as page:
        yield WebUI(page, LocalStack(stack.home).endpoints().ui_url)


@pytest.fixture(scope="session")
def job_of(stack: Stack) -> JobOf:
    """What a command says of its job."""

    async def run(*arguments: Any) -> Job:
        return dict((await stack.run(*arguments, "--json")).json)

    return run


@pytest.fixture(scope="session")
async def completed(stack: Stack, job_of: JobOf) -> Job:
    """The job of a repository of three files."""
    root = stack.directory / "web-shop"
    root.mkdir()
    for name in ("cart.py", "order.py", "README.md"):
        (root / name).write_text(f"# {name}\n")
    return await job_of("index", root)


@pytest.fixture(scope="session")
async def failed(job_of: JobOf) -> Job:
    """The job of a repository that does not exist, with a name that means something in Markdown."""
    return await job_of("index", "/srv/no__such__tree")


@pytest.fixture(scope="session")
async def unknown(stack: Stack, job_of: JobOf) -> Job:
    """The job of a project that does not exist."""
    return await job_of("index", stack.directory, "--project", "nobody")


@pytest.fixture
async def project(stack: Stack, request: pytest.FixtureRequest) -> str:
    """One that no other test uses."""
    name = f"p{len(request.node.name)}_{request.node.name[-20:]}"
    assert (await stack.run("project", "create", name)).code == 0
    return name


@pytest.fixture
async def door(postgres: Postgres, project: str) -> AsyncIterator[Door]:
    """The database of `project`, closed."""
    async with closed_door(postgres, project) as made:
        yield made
