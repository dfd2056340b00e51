"""Repositories of code that is cut and stored as an indexing job does, and searched."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from textwrap import dedent

import pytest

from tests.storage.conftest import File, Tree, new_database
from verdex.indexing.chunking import PIPELINE_VERSION, chunk
from verdex.indexing.languages import language_of
from verdex.local.postgres import Postgres
from verdex.search.ranking import Ranked
from verdex.search.searching import find
from verdex.storage.copying import ChunkRow
from verdex.storage.database import Database
from verdex.storage.searching import Filter, prepare, searched


class CodeTree(Tree):
    """Its files are cut along their syntax."""

    def lines(self, file: File) -> list[ChunkRow]:  # type: ignore[override]
        return list(chunk(file.content, file.language or None))

    async def hold(self, files: Mapping[str, str]) -> None:
        """Publish these files."""
        cut = {path: dedent(content).lstrip("\n") for path, content in files.items()}
        known = {path: File(content, language=language_of(path, b"") or "") for path, content in cut.items()}
        await self.index(known, version=PIPELINE_VERSION)
        await prepare(self.database)

    async def find(self, query: str) -> list[Ranked]:
        async with searched(self.database) as index:
            assert index
            (manifest,) = await index.manifests(self.path)
            return await find(index, query, Filter([manifest.manifest_id]))


@pytest.fixture(scope="session")
async def project(postgres: Postgres) -> AsyncIterator[Database]:
    """A database of a project, in which every test has a repository of its own beside a larger one."""
    async with new_database(postgres, "project") as database:
        await CodeTree(database).hold({f"{number}.txt": f"hay number {number}\n" for number in range(100)})
        yield database


@pytest.fixture
def tree(project: Database) -> CodeTree:
    return CodeTree(project)


Places = Callable[[Mapping[str, str], str], Awaitable[Sequence[tuple[str, str | None]]]]


@pytest.fixture
def places(tree: CodeTree) -> Places:
    """What is found in these files, as file and symbol, the best first."""

    async def found(files: Mapping[str, str], query: str) -> Sequence[tuple[str, str | None]]:
        await tree.hold(files)
        return [(one.file_path, one.chunk.symbol) for one in await tree.find(query)]

    return found
