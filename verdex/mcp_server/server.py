"""The server: the tools, and their errors as an agent can act on them."""

from inspect import getdoc
from typing import Any, Final

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp_types import CallToolResult, InputRequiredResult, Tool, ToolAnnotations
from pydantic import ValidationError

from verdex import __version__
from verdex.errors import JobNotFound, NotIndexed, TransientError, VerdexError
from verdex.mcp_server.connection import Connection
from verdex.mcp_server.tools import Tools
from verdex.telemetry import redact

INSTRUCTIONS: Final = (
    "verdex searches code repositories that it has indexed: find code with search_code, and heed the warnings in its "
    "answer. If a repository is not indexed, or has changed since, call start_indexing_background with its absolute "
    "path and ask get_indexing_status until the status is completed, failed or cancelled."
)
_ADVICE: Final[dict[type[VerdexError], str]] = {
    JobNotFound: "list_indexing_jobs gives the ids of all jobs",
    NotIndexed: "index it with start_indexing_background, and wait until get_indexing_status says completed",
    TransientError: "this can pass by itself: try again in a few seconds",
}
_READS: Final = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_STARTS: Final = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
_STOPS: Final = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
)


def build(connection: Connection) -> MCPServer[Any]:
    """A server whose tools ask by `connection`."""
    server = _Server("verdex", title="verdex", instructions=INSTRUCTIONS, version=__version__)
    # Its spans would be a trace for each question about a job, and the first of them the root of that of the job.
    server.middleware[:] = [one for one in server.middleware if type(one).__name__ != "OpenTelemetryMiddleware"]
    tools = Tools(connection)
    for tool, title, annotations in (
        (tools.start_indexing_background, "Index a repository", _STARTS),
        (tools.get_indexing_status, "Status of an indexing job", _READS),
        (tools.list_indexing_jobs, "List indexing jobs", _READS),
        (tools.cancel_indexing, "Cancel an indexing job", _STOPS),
        (tools.search_code, "Search code", _READS),
    ):
        server.add_tool(tool, title=title, description=getdoc(tool), annotations=annotations)
    return server


class _Server(MCPServer[Any]):
    """Refuses what no tool has a parameter for, and tells errors in one line each."""

    async def list_tools(self) -> list[Tool]:
        tools = await super().list_tools()
        for tool in tools:
            tool.input_schema["additionalProperties"] = False
        return tools

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        await self._refuse_unknown(name, arguments)
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            raise _told(name, error) from error.__cause__

    async def _refuse_unknown(self, name: str, arguments: dict[str, Any]) -> None:
        """A filter with a wrong name would be none, and nobody would know."""
        for tool in await self.list_tools():
            known = tool.input_schema["properties"]
            if tool.name == name and (unknown := sorted(arguments.keys() - known)):
                raise ToolError(f"{name} has no parameter {', '.join(unknown)}: it takes {', '.join(known)}")


def _told(name: str, error: ToolError) -> ToolError:
    match error.__cause__:
        case VerdexError() as known:
            return ToolError(_in_one_line(redact(f"{known}{_advice(known)}")))
        case ValidationError() as wrong if not isinstance(error, UnexpectedToolError):
            return ToolError("; ".join(_wrong(name, details["loc"], details["msg"]) for details in wrong.errors()))
        case None:  # there is no such tool
            return error
        case unexpected:
            return UnexpectedToolError(
                f"{name} failed by a fault of verdex itself ({type(unexpected).__name__}): "
                "it is told in full on the stderr of the server"
            )


def _advice(error: VerdexError) -> str:
    given = [f"; {advice}" for kind, advice in _ADVICE.items() if isinstance(error, kind)]
    return "".join(given)


def _wrong(name: str, place: tuple[int | str, ...], message: str) -> str:
    where = ".".join(map(str, place))
    return _in_one_line(f"{where} of {name} is wrong: {message[:1].lower()}{message[1:]}")


def _in_one_line(text: str) -> str:
    return " ".join(text.split("\n"))
