"""What a coding agent does with verdex, over both ways to reach it."""

import asyncio
import json
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from mcp import Client, StdioServerParameters, stdio_client

from tests.conftest import DEADLINE
from tests.e2e.conftest import VERDEX, Command
from tests.e2e.test_elsewhere import NOWHERE

TOOLS = {
    "start_indexing_background": ["repo_path", "project_id", "force_reindex"],
    "get_indexing_status": ["job_id", "project_id"],
    "list_indexing_jobs": ["project_id", "status", "repo_path", "limit"],
    "cancel_indexing": ["job_id", "project_id"],
    "search_code": [
        "query", "project_id", "repo_path", "path", "file_type", "directory", "language", "kind", "limit", "offset",
    ],
}  # fmt: skip
JOB = {
    "job_id", "status", "message", "repo_path", "project_id", "files_indexed", "chunks_created", "error_message",
    "error_type", "result_status", "phase", "files_total", "files_done", "created_at", "started_at", "completed_at",
}  # fmt: skip


class Agent:
    """A client of the server."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """What a tool answers, as structure and as text."""
        answer = await self.client.call_tool(tool, arguments)
        assert not answer.is_error, answer.content
        told: dict[str, Any] = answer.structured_content
        assert json.loads(answer.content[0].text) == told  # type: ignore[union-attr]
        return told

    async def refused(self, tool: str, **arguments: Any) -> str:
        """The one line of an error."""
        answer = await self.client.call_tool(tool, arguments)
        assert answer.is_error
        (content,) = answer.content
        text: str = content.text  # type: ignore[union-attr]
        assert "\n" not in text
        assert "Traceback" not in text
        return text

    async def ended(self, job_id: str) -> dict[str, Any]:
        """The job at its end."""
        async with asyncio.timeout(DEADLINE):
            while True:
                job = await self("get_indexing_status", job_id=job_id)
                if job["status"] in {"completed", "failed", "cancelled"}:
                    return job
                await asyncio.sleep(0.05)

    async def index(self, path: object, **options: Any) -> dict[str, Any]:
        return await self.ended((await self("start_indexing_background", repo_path=str(path), **options))["job_id"])


Connect = Callable[[Command], AbstractAsyncContextManager[Agent]]


@asynccontextmanager
async def by_stdio(command: Command, **options: Any) -> AsyncIterator[Agent]:
    parameters = StdioServerParameters(command=str(VERDEX), args=["mcp"], env=command.environment)
    async with Client(stdio_client(parameters), **options) as client:
        yield Agent(client)


def serve(command: Command) -> tuple["subprocess.Popen[str]", str]:
    """A server and its URL."""
    process = command.start("mcp", "--http", "--port", 0)
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.fullmatch(r"verdex: serving MCP at (http://127\.0\.0\.1:\d+/mcp)\n", line):
            return process, found[1]
    raise AssertionError("it does not serve")


@asynccontextmanager
async def by_http(command: Command, **options: Any) -> AsyncIterator[Agent]:
    process, url = serve(command)
    async with Client(url, **options) as client:
        yield Agent(client)
    assert stopped(process, signal.SIGTERM) == (0, "", "")


def stopped(process: "subprocess.Popen[str]", number: signal.Signals) -> tuple[int, str, str]:
    process.send_signal(number)
    out, err = process.communicate(timeout=DEADLINE)
    return process.returncode, out, err


@pytest.fixture(params=[by_stdio, by_http], ids=["stdio", "http"])
def connect(request) -> Connect:
    """A connection of an agent."""
    transport: Connect = request.param
    return transport


async def test_an_agent_sees_the_tools_and_how_to_use_them(stack, connect):
    async with connect(stack) as agent:
        tools = {tool.name: tool for tool in (await agent.client.list_tools()).tools}
        assert {name: list(tool.input_schema["properties"]) for name, tool in tools.items()} == TOOLS
        for tool in tools.values():
            assert tool.description
            assert tool.output_schema
            assert all(parameter["description"] for parameter in tool.input_schema["properties"].values())
        reading = {name for name, tool in tools.items() if tool.annotations and tool.annotations.read_only_hint}
        assert reading == {"get_indexing_status", "list_indexing_jobs", "search_code"}
        assert "search_code" in (agent.client.instructions or "")


@pytest.mark.parametrize("way", [by_stdio, by_http], ids=["stdio", "http"])
async def test_an_agent_of_an_older_protocol_is_served_too(stack, way):
    async with way(stack, mode="legacy") as agent:
        assert (await agent("list_indexing_jobs", limit=1))["total_count"] == 1


async def test_an_agent_starts_a_job_follows_it_and_finds_it_in_the_list(stack, connect, write, tmp_path):
    repository = write(tmp_path / "repository", {"a.py": "a = 1\n", "b.py": "b = 2\n"})
    async with connect(stack) as agent:
        started = await agent("start_indexing_background", repo_path=str(repository))
        assert started["repo_path"] == str(repository)
        assert (started["project_id"], started["database_name"]) == ("default", "cb_proj_default")
        assert "goes on in the background" in started["message"]
        job = await agent.ended(started["job_id"])
        assert job.keys() == JOB
        assert (job["status"], job["result_status"], job["files_indexed"]) == ("completed", "success", 2)
        assert "can be searched" in job["message"]
        assert await agent("list_indexing_jobs", repo_path=str(repository)) == {"jobs": [job], "total_count": 1}
        assert (await agent("list_indexing_jobs", repo_path=str(repository), status="failed"))["jobs"] == []
        assert "nothing was cancelled" in (await agent("cancel_indexing", job_id=job["job_id"]))["message"]


async def test_a_job_that_failed_says_why(stack, connect, tmp_path):
    async with connect(stack) as agent:
        job = await agent.index(tmp_path / "nowhere")
        assert (job["status"], job["error_type"]) == ("failed", "RootNotFound")
        assert job["error_message"] == f"{tmp_path}/nowhere does not exist"
        assert job["error_message"] in job["message"]
        job = await agent.index(tmp_path, project_id="not_created")
        assert (job["status"], job["error_type"]) == ("failed", "ProjectNotFound")
        assert 'database "cb_proj_not_created" does not exist' in job["message"]


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("get_indexing_status", {"job_id": "17"}, '"17" is not the id of a job'),
        ("get_indexing_status", {"job_id": str(uuid4())}, "list_indexing_jobs gives the ids"),
        ("cancel_indexing", {"job_id": str(uuid4())}, "there is no job"),
        ("cancel_indexing", {}, "job_id of cancel_indexing is wrong: field required"),
        ("start_indexing_background", {"repo_path": "src"}, "give the absolute path of the repository"),
        ("start_indexing_background", {"repo_path": "/src", "project_id": "a b"}, "'a b' cannot name a project"),
        ("list_indexing_jobs", {"limit": 0}, "limit of list_indexing_jobs is wrong: input should be greater"),
        ("list_indexing_jobs", {"status": "done"}, "status of list_indexing_jobs is wrong: input should be 'pending'"),
        ("list_indexing_jobs", {"repo_path": "."}, "give the absolute path of the repository"),
        ("search_code", {"query": "one", "limit": 0}, "limit of search_code is wrong"),
        ("search_code", {"query": "one", "directory": "/src"}, "relative to its root"),
        ("search_code", {"query": "one", "top_k": 5}, "search_code has no parameter top_k: it takes query, project_id"),
        ("search", {"query": "one"}, "Unknown tool: search"),
    ],
)
async def test_what_cannot_be_done_is_an_error_of_the_tool_in_one_line(stack, tool, arguments, told):
    async with by_stdio(stack) as agent:
        assert told in await agent.refused(tool, **arguments)


async def test_the_job_of_another_project_is_not_shown(stack, first):
    async with by_stdio(stack) as agent:
        assert await agent("get_indexing_status", job_id=first.json["job_id"], project_id="default")
        told = await agent.refused("get_indexing_status", job_id=first.json["job_id"], project_id="web")
        assert 'is of project "default", not "web"' in told


async def test_an_agent_that_starts_a_job_again_gets_the_one_that_runs_and_can_cancel_it(stack, connect, tree):
    worker = stack.processes()["worker"]
    async with connect(stack) as agent:
        await agent("list_indexing_jobs")
        worker.suspend()
        try:
            first = await agent("start_indexing_background", repo_path=str(tree))
            second = await agent("start_indexing_background", repo_path=str(tree), force_reindex=True)
            asked = await agent("cancel_indexing", job_id=first["job_id"])
        finally:
            worker.resume()
        assert second["job_id"] == first["job_id"] == asked["job_id"]
        assert "then start again with force_reindex" in second["message"]
        assert "asked to stop" in asked["message"]
        job = await agent.ended(first["job_id"])
        assert (job["status"], job["error_message"]) == ("cancelled", None)


async def test_an_agent_finds_what_was_indexed(stack, connect, tree):
    async with connect(stack) as agent:
        job = await agent.index(tree)
        found = await agent("search_code", query="one", repo_path=str(tree))
        assert found["results"][0]["file_path"] == "package/one.py"
        assert found["results"][0]["repo_path"] == str(tree)
        assert [(one["repo_path"], one["files_indexed"]) for one in found["repositories"]] == [(str(tree), 4)]
        assert (found["project_id"], found["warnings"]) == ("default", [])
        within = await agent("search_code", query="one", repo_path=str(tree), directory="package/", file_type=".py")
        assert {place["file_path"] for place in within["results"]} <= {"package/one.py", "package/two.py"}
        assert job["status"] == "completed"


async def test_an_agent_that_searches_what_is_not_indexed_is_told_to_index_it(stack, tmp_path):
    async with by_stdio(stack) as agent:
        told = await agent.refused("search_code", query="one", repo_path=str(tmp_path))
        assert "index it with start_indexing_background" in told


async def test_a_stack_that_dies_under_the_server_is_started_again(command, write, tmp_path):
    home = command("mcp-revived")
    repository = write(tmp_path / "repository", {"a.py": "a = 1\n"})
    async with by_stdio(home) as agent:
        job = await agent.index(repository)
        home.kill("postgres", "temporal", "worker")
        assert await agent("get_indexing_status", job_id=job["job_id"]) == job
        assert (await agent.index(repository))["status"] == "completed"
        assert home("down").code == 0
        assert "the local stack was taken down (verdex up starts it)" in await agent.refused("list_indexing_jobs")
        assert home("up").code == 0
        assert (await agent("list_indexing_jobs"))["total_count"] == 2


async def test_services_that_do_not_answer_are_an_error_that_tells_no_password(command):
    async with by_stdio(command("mcp-away", **NOWHERE)) as agent:
        told = await agent.refused("list_indexing_jobs")
        assert "127.0.0.1" in told
        assert "try again" in told
        assert "hunter2" not in told


class Raw:
    """The protocol by hand; every line of stdout has to be a part of it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process, self._in, self._out = process, process.stdin, process.stdout
        self._number = 0

    def tell(self, method: str, **message: Any) -> None:
        self._in.write(json.dumps({"jsonrpc": "2.0", "method": method, **message}) + "\n")
        self._in.flush()

    def ask(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        self.tell(method, id=self._number, params=parameters)
        for line in self._out:
            message = json.loads(line)
            assert message["jsonrpc"] == "2.0"
            if message.get("id") == self._number:
                return message["result"]
        raise AssertionError("no answer")


@pytest.fixture
def raw(command) -> Raw:
    """A server that was started and has its stack to start."""
    return Raw(command(f"mcp-{uuid4().hex[:6]}").start("mcp", stdin=subprocess.PIPE))


def greet(raw: Raw) -> None:
    greeting = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
    assert raw.ask("initialize", **greeting)["serverInfo"]["name"] == "verdex"
    raw.tell("notifications/initialized")


def test_nothing_but_the_protocol_is_on_stdout_and_the_server_ends_with_its_client(raw):
    greet(raw)
    assert len(raw.ask("tools/list")["tools"]) == len(TOOLS)
    listed = raw.ask("tools/call", name="list_indexing_jobs", arguments={})
    assert listed["structuredContent"] == {"jobs": [], "total_count": 0}
    out, err = raw.process.communicate(timeout=DEADLINE)
    assert (raw.process.returncode, out) == (0, "")
    assert "verdex: starting PostgreSQL" in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_cleanly(stack, number):
    raw = Raw(stack.start("mcp", stdin=subprocess.PIPE))
    greet(raw)
    assert stopped(raw.process, number) == (0, "", "")
    process, _ = serve(stack)
    assert stopped(process, number) == (0, "", "")


def test_a_port_that_is_in_use_is_one_line(stack):
    process, url = serve(stack)
    port = url.removesuffix("/mcp").rpartition(":")[2]
    ended = stack("mcp", "--http", "--port", port)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use (choose" in ended.err
    assert process.poll() is None


def test_wrong_settings_and_options_are_told_at_once(command):
    half = command("mcp-half", TEMPORAL_ADDRESS=NOWHERE["TEMPORAL_ADDRESS"])
    assert "VERDEX_DATABASE_URL and TEMPORAL_ADDRESS go together" in half("mcp").err
    assert half("mcp").code == half("mcp", "--port", 1).code == 2
    assert not half.home.exists()
