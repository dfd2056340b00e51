"""verdex on a stack that is up: a tree indexed into a project of its own, its chunks, and its answers."""

from pathlib import Path
from typing import Any, Final

from benchmarks.quality.baselines import Document, System
from benchmarks.quality.metrics import DEPTH
from benchmarks.quality.sets import Place
from tests.chaos.stack import Ended, Stack
from verdex.client import Verdex
from verdex.errors import QueryInvalid
from verdex.storage.published import published

DEADLINE_SECONDS: Final = 7200.0


async def create_project(running: Stack, project: str, embedder: str | None) -> None:
    """Make the project that a tree is indexed into: the one place that knows how to choose an embedder."""
    await verdex(running, "project", "create", project, *(["--embedder", embedder] if embedder else []))


async def index(running: Stack, root: Path, project: str) -> dict[str, Any]:
    """Index a tree, all of it; the job."""
    return dict((await verdex(running, "index", root, "--project", project, "--json")).json)


async def verdex(running: Stack, *arguments: object) -> Ended:
    """Run the command.

    Raises:
        RuntimeError: it does not succeed.
    """
    ended = await running.run(*arguments, seconds=DEADLINE_SECONDS)
    if ended.code:
        raise RuntimeError(f"verdex {' '.join(map(str, arguments))} ended with {ended.code}: {ended.err}{ended.out}")
    return ended


async def stored_chunks(api: Verdex, project: str, root: str) -> list[Document]:
    """The chunks of each file of the published index, in the order of the paths; `root` is without symlinks."""
    database = await api.projects.database(project)
    async with published(database, root) as index:
        if index is None:
            raise RuntimeError(f"nothing is published of {root}")
        files = [file async for file in index.files() if file.blob_id is not None]
        chunks = await index.chunks({file.blob_id for file in files if file.blob_id is not None})
    return [
        Document(Place(file.path, chunk.start_line, chunk.end_line), chunk.content)
        for file in files
        for chunk in chunks.get(file.blob_id, ())
    ]


def search(api: Verdex, project: str) -> System:
    """The product itself. What it refuses to look for, it does not find."""

    async def ask(query: str) -> list[Place]:
        try:
            answer = await api.search(query, project_id=project, limit=DEPTH)
        except QueryInvalid:
            return []
        return [Place(found.file_path, found.start_line, found.end_line) for found in answer.results]

    return ask
