"""A whole search: what was found, in which indexes, and what is to be known of these."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from verdex.contracts import DEFAULT_PROJECT, Job, SearchRequest, SearchResponse, SearchResult
from verdex.embedding import Embedders
from verdex.errors import NotIndexed, ProjectNotFound, QueryInvalid
from verdex.indexing.languages import GRAMMARS, kinds
from verdex.search.freshness import command, described, outdated, told, without_vectors
from verdex.search.meaning import ByMeaning, by_meaning
from verdex.search.ranking import Ranked
from verdex.search.searching import find
from verdex.search.staleness import changed
from verdex.sources.gitignore import path_expression
from verdex.storage.database import Server
from verdex.storage.projects import Project, Projects
from verdex.storage.registry import Registry
from verdex.storage.searching import Filter, SearchedIndex, SearchedManifest, searched

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
        results = [_result(place) for place in places[request.offset : request.offset + request.limit]]
        (published_by, newest), begun, outdated_files = await asyncio.gather(
            _jobs(registry, request.project_id, manifests, current),
            _begun(registry, request, manifests, current),
            asyncio.to_thread(changed, results),
        )
        completed = {job.job_id for job in newest.values() if job.status == "completed"}
        missing = completed - {one.job_id for one in manifests}
        if missing <= expected:
            break
        expected = missing  # or they published after the snapshot was taken: the next one has to show them
    more = _more(request.project_id, found, outdated_files)
    repositories = [
        described(
            one, (published_by.get(one.job_id), newest.get(one.repo_path)), request.project_id, more[one.repo_path]
        )
        for one in manifests
    ]
    warned = [(one.repo_path, warning) for one in repositories for warning in one.warnings] + begun
    return SearchResponse(
        query=request.query,
        project_id=request.project_id,
        results=results,
        total_count=len(places),
        offset=request.offset,
        repositories=repositories,
        warnings=[
            *filter(None, [found.by_meaning.warning]),
            *(f"{repo_path}: {warning}" for repo_path, warning in warned),
        ],
        latency_ms=round((time.perf_counter() - began) * 1000, 1),
    )


def _more(project_id: str, found: _Found, outdated_files: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """What is to be known of each repository beside its jobs."""
    more: dict[str, list[str]] = {one.repo_path: [] for one in found.manifests}
    for one in found.manifests:
        if one.manifest_id in found.by_meaning.lacking:
            more[one.repo_path].append(without_vectors(one.repo_path, project_id))
    for repo_path, paths in outdated_files.items():
        more[repo_path].append(outdated(paths, repo_path, project_id))
    return more


async def _project(server: Server, request: SearchRequest) -> Project:
    try:
        return await Projects(server).find(request.project_id, create_default=False)
    except ProjectNotFound:
        if request.project_id != DEFAULT_PROJECT:
            raise
        newest = await _newest(server, request)
        raise _nothing_indexed(request.project_id, request.repo_path, None, newest) from None


async def _indexed_around(index: SearchedIndex | None, repo_path: str | None) -> str | None:
    """The repository that is indexed and that a path is in."""
    above = [one.repo_path for one in await index.manifests()] if index and repo_path else []
    return max((path for path in above if f"{repo_path}/".startswith(f"{path}/")), key=len, default=None)


async def _newest(server: Server, request: SearchRequest) -> Job | None:
    """The newest job of a repository that is not indexed: it may be why."""
    asked = [request.repo_path] if request.repo_path else []
    return next(iter(await Registry(server.registry).newest_of(request.project_id, asked)), None)


async def _begun(
    registry: Registry, request: SearchRequest, manifests: Sequence[SearchedManifest], current: Current
) -> list[tuple[str, str]]:
    """Repositories of the project that a job indexes for the first time, so that nothing of them is found yet."""
    searched_paths = {one.repo_path for one in manifests}
    begun = [
        await current(job)
        for job in (await registry.unfinished() if request.repo_path is None else [])
        if job.project_id == request.project_id and job.repo_path not in searched_paths
    ]
    return [(job.repo_path, f"nothing of it is found yet: {told(job)}") for job in begun if not job.is_terminal]


async def _found(server: Server, request: SearchRequest, embedders: Embedders) -> _Found:
    request = request.model_copy(update={"language": _lower(request.language), "kind": _lower(request.kind)})
    _check(request)
    project = await _project(server, request)
    async with searched(server.database(project.database_name)) as index:
        manifests = await index.manifests(request.repo_path) if index else []
        if index is None or not manifests:
            around = await _indexed_around(index, request.repo_path)
            newest = await _newest(server, request)
            raise _nothing_indexed(request.project_id, request.repo_path, around, newest)
        asked = await by_meaning(index, manifests, request.query, project.embedder, embedders)
        expression = path_expression(_relative(request.path, manifests)) if request.path else None
        accepted = Filter([one.manifest_id for one in manifests], expression, request.language, request.kind)
        places = await find(index, _relative(request.query, manifests), accepted, asked.meaning)
        return _Found(manifests, places, asked)


def _lower(text: str | None) -> str | None:
    return text and text.lower()


def _check(request: SearchRequest) -> None:
    """Refuse filters that nothing can pass, and say what can be given."""
    if request.language is not None:
        _check_known("language", request.language, GRAMMARS)
    if request.kind is not None:
        _check_known("kind", request.kind, kinds())  # which are read from files, and not for every search
    if request.path is not None and path_expression(request.path) is None:
        raise QueryInvalid(f"{request.path!r} is no glob of paths, as src/**/*.py is")


def _check_known(what: str, given: str, known: Collection[str]) -> None:
    if given not in known:
        raise QueryInvalid(f"there is no {what} {given!r}: give one of {', '.join(sorted(known))}")


def _relative(query: str, manifests: Sequence[SearchedManifest]) -> str:
    """Paths are found as they are within their repository; those of tracebacks, and what people paste, are whole."""
    for manifest in manifests:
        query = query.replace(f"{manifest.repo_path}/", "") if manifest.repo_path != "/" else query
    return query


def _nothing_indexed(project_id: str, repo_path: str | None, around: str | None, newest: Job | None) -> NotIndexed:
    what = f"{repo_path} is not" if repo_path else "nothing is"
    if around and repo_path:
        within = repo_path.removeprefix(around).strip("/")
        return NotIndexed(f"{repo_path} is a part of {around}, which is indexed: --repo {around} --path {within}/")
    if newest and newest.status != "completed":
        return NotIndexed(f'{what} indexed in project "{project_id}": {told(newest)}')
    return NotIndexed(
        f'{what} indexed in project "{project_id}": {command("index", repo_path or "PATH", project_id)} '
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
