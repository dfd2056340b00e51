"""What an agent reads when a tool fails: one line that says what is wrong and what to do."""

import logging
from datetime import UTC, datetime
from unittest.mock import AsyncMock, Mock

import pytest
from mcp import Client

from verdex import telemetry
from verdex.client import Verdex
from verdex.contracts import SearchedRepository, SearchResponse, SearchResult
from verdex.errors import DatabaseUnavailable, JobNotFound, NotIndexed, VerdexError
from verdex.mcp_server.connection import Connection
from verdex.mcp_server.server import _ADVICE, build


@pytest.fixture
def failing():
    """The answer to a search over a connection at which all that is asked raises `error`."""

    async def call(error: Exception) -> str:
        server = build(Mock(Connection, ask=Mock(side_effect=error)))
        async with Client(server) as client:
            answer = await client.call_tool("search_code", {"query": "one"})
        assert (answer.is_error, len(answer.content), answer.structured_content) == (True, 1, None)
        return str(getattr(answer.content[0], "text", None))

    return call


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (VerdexError("two\nlines"), "two lines"),
        (JobNotFound("there is no job 1"), "there is no job 1; list_indexing_jobs gives the ids of all jobs"),
        (DatabaseUnavailable("away"), "away; this can pass by itself: try again in a few seconds"),
        (NotIndexed("nothing"), f"nothing; {_ADVICE[NotIndexed]}"),
    ],
)  # fmt: skip
async def test_an_error_says_in_one_line_what_to_do(failing, error, text):
    assert await failing(error) == text


async def test_an_error_tells_no_secrets(failing):
    telemetry.keep_secret("hunter2-of-the-tests")
    assert "hunter2" not in await failing(VerdexError("no login as verdex:hunter2-of-the-tests"))


async def test_a_fault_of_the_program_is_told_by_its_type_and_logged_in_full(failing, caplog):
    with caplog.at_level(logging.ERROR):
        text = await failing(ZeroDivisionError("inside"))
    assert text.startswith("search_code failed by a fault of verdex itself (ZeroDivisionError)")
    assert "inside" not in text
    assert "ZeroDivisionError: inside" in caplog.text


PLACE = SearchResult(
    chunk_id="1",
    repo_path="/r",
    file_path="src/one.py",
    start_line=1,
    end_line=2,
    language="python",
    kind="function",
    symbol="one",
    content="def one():\n    return 1\n",
    similarity_score=0.5,
)
FOUND = SearchResponse(
    query="one",
    project_id="web",
    results=[PLACE],
    total_count=1,
    repositories=[SearchedRepository(repo_path="/r", job_id="2", indexed_at=datetime.now(UTC), files_indexed=1)],
    warnings=["/r: the newest job failed"],
    latency_ms=1.5,
)


async def test_a_search_is_asked_and_answered_as_in_the_python_api():
    verdex = Mock(Verdex, search=AsyncMock(return_value=FOUND))
    async with Client(build(Mock(Connection, ask=lambda question: question(verdex)))) as client:
        filters = {
            "project_id": "web",
            "repo_path": "/r",
            "language": "python",
            "kind": "function",
            "limit": 5,
            "offset": 1,
        }
        arguments = {"query": "one", "directory": "src", "file_type": "py", **filters}
        answer = await client.call_tool("search_code", arguments)
        assert answer.structured_content == FOUND.model_dump(mode="json")
        verdex.search.assert_awaited_once_with("one", path="src/**/*.py", **filters)
        await client.call_tool("search_code", {"query": "one"})
        assert verdex.search.await_args.kwargs["project_id"] == "default"
