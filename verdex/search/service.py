"""A whole search: what was found, in which indexes, and what is to be known of these."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from verdex.contracts import DEFAULT_PROJECT, Job, SearchRequest, SearchResponse, SearchResult
from verdex.embedding import Embedders
from verdex.errors import NotIndexed, ProjectNotFound, QueryInvalid
from verdex.indexing.languages import GRAMMARS, kinds
from verdex.search.freshness import described
from verdex.search.meaning import ByMeaning, by_meaning
from verdex.search.ranking import Ranked
from verdex.search.searching import find
from verdex.sources.gitignore import path_expression
from verdex.storage.database import Server
from verdex.storage.projects import Project, Projects
from verdex.storage.registry import Registry
from verdex.storage.searching import Filter, SearchedManifest, searched

Current = Callable[[Job], Awaitable[Job]]
"""A job that has not ended, compared with whoever runs it."""


class _Found(NamedTuple):
    manifests: Sequence[SearchedManifest]
    places: Sequence[Ranked]
    by_meaning: ByMeaning


async def search(server: Server, request: SearchRequest, current: Current, embedders: Embedders) -> SearchResponse:
    """Search the published indexes of a project, and say what they are.

    Where the project has an embedder, it is opened among `embedders`.

    Raises:
        QueryInvalid, NotIndexed, ProjectNotFound
        DatabaseNotFound, DatabaseUnavailable, …: see `verdex.errors`.
    """
    began = time.perf_counter()
    registry, expected = Registry(server.registry), set[str]()
    while True:
        found = await _found(server, request, embedders)
        manifests, places = found.manifests, found.places
        published_by, newest = await _jobs(registry, request.project_id, manifests, current)
        completed = {job.job_id for job in newest.values() if job.status == "completed"}
        missing = completed - {one.job_id for one in manifests}
        if missing <= expected:
            break
        expected = missing  # or they published after the snapshot was taken: the next one has to show them
    repositories = [
        described(
            one,
            published_by.get(one.job_id),
            newest.get(one.repo_path),
            request.project_id,
            lacks_vectors=one.manifest_id in found.by_meaning.lacking,
        )
        for one in manifests
    ]
    of_repositories = [f"{one.repo_path}: {warning}" for one in repositories for warning in one.warnings]
    return SearchResponse(
        query=request.query,
        project_id=request.project_id,
        results=[_result(place) for place in places[request.offset : request.offset + request.limit]],
        total_count=len(places),
        offset=request.offset,
        repositories=repositories,
        warnings=[*filter(None, [found.by_meaning.warning]), *of_repositories],
        latency_ms=round((time.perf_counter() - began) * 1000, 1),
    )


async def _project(server: Server, project_id: str) -> Project:
    try:
        return await Projects(server).find(project_id, create_default=False)
    except ProjectNotFound:
        if project_id != DEFAULT_PROJECT:
            raise
        raise _nothing_indexed(project_id, None) from None


async def _found(server: Server, request: SearchRequest, embedders: Embedders) -> _Found:
    expression = _checked(request)
    project = await _project(server, request.project_id)
    async with searched(server.database(project.database_name)) as index:
        manifests = await index.manifests(request.repo_path) if index else []
        if index is None or not manifests:
            raise _nothing_indexed(request.project_id, request.repo_path)
        asked = await by_meaning(index, manifests, request.query, project.embedder, embedders)
        accepted = Filter([one.manifest_id for one in manifests], expression, request.language, request.kind)
        places = await find(index, _relative(request.query, manifests), accepted, asked.meaning)
        return _Found(manifests, places, asked)


def _checked(request: SearchRequest) -> str | None:
    """The expression for the paths that are searched; what nothing can pass is refused, and says what can be given."""
    expression = path_expression(request.path) if request.path is not None else None
    if request.path is not None and expression is None:
        raise QueryInvalid(f"{request.path!r} is no glob of paths, as src/**/*.py is")
    for what, given, known in (("language", request.language, GRAMMARS), ("kind", request.kind, kinds())):
        if given is not None and given not in known:
            raise QueryInvalid(f"there is no {what} {given!r}: give one of {', '.join(sorted(known))}")
    return expression


def _relative(query: str, manifests: Sequence[SearchedManifest]) -> str:
    """Paths are found as they are within their repository; those of tracebacks are whole."""
    for manifest in manifests:
        query = query.replace(f"{manifest.repo_path}/", "") if manifest.repo_path != "/" else query
    return query


def _nothing_indexed(project_id: str, repo_path: str | None) -> NotIndexed:
    what = f"{repo_path} is not" if repo_path else "nothing is"
    option = "" if project_id == DEFAULT_PROJECT else f" --project {project_id}"
    return NotIndexed(
        f'{what} indexed in project "{project_id}": verdex index {repo_path or "PATH"}{option} '
        "(what was asked for already: verdex jobs)"
    )


async def _jobs(
    registry: Registry, project_id: str, manifests: Sequence[SearchedManifest], current: Current
) -> tuple[Mapping[str, Job], Mapping[str, Job]]:
    """The jobs that published manifests, by id, and the newest of each repository, by path."""
    published_by, newest = await asyncio.gather(
        registry.with_ids([manifest.job_id for manifest in manifests]),
        registry.newest_of(project_id, [manifest.repo_path for manifest in manifests]),
    )
    compared = [job if job.is_terminal else await current(job) for job in newest]
    return {job.job_id: job for job in published_by}, {job.repo_path: job for job in compared}


def _result(place: Ranked) -> SearchResult:
    chunk = place.chunk
    return SearchResult(
        chunk_id=f"{chunk.key.blob_id}-{chunk.key.ordinal}",
        repo_path=place.repo_path,
        file_path=place.file_path,
        start_line=chunk.start_line,
        end_line=chunk.end_line,
        language=chunk.language,
        kind=chunk.kind,
        symbol=chunk.symbol,
        content=chunk.content,
        copies=[f"{repo_path}/{path}" for repo_path, path in place.copies],
        similarity_score=round(place.score, 4),
    )
