"""A search says which index it read, and whether that is what the repository holds; and it is never a mixture."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity

from activities.indexing import IndexingActivities
from tests.workflows.conftest import fail_file, tamper
from verdex.client import Verdex
from verdex.contracts import IndexResult, Manifest, SearchedRepository, SearchResponse
from verdex.errors import DatabaseNotFound, NotIndexed, ProjectNotFound, QueryInvalid, RepositoryError
from verdex.search import service
from verdex.storage.database import Server
from verdex.storage.projects import Projects


def paths(found: SearchResponse) -> list[str]:
    return [result.file_path for result in found.results]


def searched(found: SearchResponse) -> SearchedRepository:
    """The only repository, whose warnings are those of the answer."""
    (one,) = found.repositories
    assert list(found.warnings) == [f"{one.repo_path}: {warning}" for warning in one.warnings]
    return one


def warning(found: SearchResponse) -> str:
    """The only one, but for that a file has changed, which some tests do on purpose."""
    (told,) = (warning for warning in searched(found).warnings if not warning.startswith("changed since"))
    return told


class Partial(IndexingActivities):
    @activity.defn
    async def publish(self, manifest: Manifest) -> IndexResult:
        await fail_file(self._server, manifest, "README.md", "no")
        return await super().publish(manifest)


async def test_a_search_says_which_job_published_what_it_found_and_when(verdex: Verdex, worker, repository, index):
    job = await index(repository)
    found = await verdex.search("two")
    assert paths(found)[0] == "package/two.py"
    assert searched(found) == SearchedRepository(
        repo_path=str(repository), job_id=job.job_id, indexed_at=job.completed_at, files_indexed=3, warnings=[]
    )
    assert (found.project_id, found.query, found.total_count) == ("default", "two", len(found.results))
    assert [one.job_id for one in (await verdex.search("two", repo_path=repository)).repositories] == [job.job_id]


async def test_a_result_has_all_that_is_known_of_the_place(verdex: Verdex, worker, repository, index):
    await index(repository)
    (first, *_) = (await verdex.search("two")).results
    assert (first.repo_path, first.file_path, first.language) == (str(repository), "package/two.py", "python")
    assert (first.kind, first.symbol, first.start_line, first.end_line) == ("class", "Two", 1, 3)
    assert first.content == "class Two:\n    def two(self):\n        return 2"
    assert 0 < first.similarity_score <= 1


async def test_results_can_be_paged_through(verdex: Verdex, worker, python_files, index):
    root = python_files(3, 1200)
    await index(root)
    whole = await verdex.search("return argument", limit=100)
    pages = [await verdex.search("return argument", limit=7, offset=offset) for offset in range(0, 56, 7)]
    assert len(whole.results) == whole.total_count > 50
    assert [one for page in pages for one in page.results] == list(whole.results)[:56]
    assert {page.total_count for page in pages} == {whole.total_count}
    beyond = await verdex.search("return argument", offset=1000)
    assert (list(beyond.results), beyond.total_count) == ([], whole.total_count)


async def test_while_a_job_runs_the_old_index_is_searched_whole_and_that_is_told(
    verdex: Verdex, run_worker, repository, index, finished, hold, gate
):
    async with run_worker():
        old = await index(repository)
    (repository / "package" / "two.py").write_text("class Three:\n    pass\n")
    async with run_worker(hold("publish")):
        started = await verdex.index(repository)
        await gate.reached()
        two, three = await verdex.search("class two"), await verdex.search("three")
        gate.open()
        await finished(started.job_id)
    assert paths(two)[0] == "package/two.py"
    assert paths(three) == []
    assert searched(two).job_id == old.job_id
    assert warning(two) == f"job {started.job_id} is running; until it completes, this is the index from before"
    after = await verdex.search("three")
    assert (paths(after), searched(after).job_id, list(after.warnings)) == (
        ["package/two.py"],
        started.job_id,
        [],
    )


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_text("# new\n" + path.read_text())])
async def test_files_that_do_not_hold_any_more_what_is_shown_of_them_are_told(
    verdex: Verdex, worker, repository, index, change
):
    await index(repository)
    (repository / "README.md").write_text("# Other\n")  # nothing of it is shown
    assert list((await verdex.search("class two")).warnings) == []
    change(repository / "package" / "two.py")
    found = await verdex.search("class two")
    assert paths(found)[0] == "package/two.py"
    assert list(searched(found).warnings) == [
        f"changed since it was indexed: package/two.py: verdex index {repository}"
    ]
    await index(repository)
    assert list((await verdex.search("class two")).warnings) == []


async def test_a_repository_that_is_not_on_this_machine_is_not_compared(
    verdex: Verdex, worker, repository, index, tmp_path
):
    await index(repository)
    repository.rename(tmp_path / "elsewhere")
    assert list((await verdex.search("two")).warnings) == []


async def test_that_a_repository_is_indexed_for_the_first_time_is_told(
    verdex: Verdex, run_worker, repository, python_files, index, finished, hold, gate
):
    async with run_worker():
        await index(repository)
    new = python_files(2, 10)
    async with run_worker(hold("publish")):
        started = await verdex.index(new)
        await gate.reached()
        found = await verdex.search("two")
        with pytest.raises(NotIndexed, match=f"is not indexed in project .*: job {started.job_id} is running"):
            await verdex.search("two", repo_path=new)
        gate.open()
        await finished(started.job_id)
    assert list(found.warnings) == [f"{new}: nothing of it is found yet: job {started.job_id} is running"]
    assert list((await verdex.search("two")).warnings) == []


async def test_of_a_repository_that_could_not_be_indexed_it_is_told_why(verdex: Verdex, worker, index, tmp_path):
    failed = await index(tmp_path / "nowhere")
    with pytest.raises(NotIndexed, match=f"the newest job, {failed.job_id}, failed: .*nowhere does not exist"):
        await verdex.search("two", repo_path=tmp_path / "nowhere")


async def test_a_part_of_a_repository_is_named_as_one(verdex: Verdex, worker, repository, index):
    await index(repository)
    told = f"is a part of {repository}, which is indexed: --repo {repository} --path package/"
    with pytest.raises(NotIndexed, match=told):
        await verdex.search("two", repo_path=repository / "package")
    assert paths(await verdex.search("two", path=f"{repository}/package"))[0] == "package/two.py"


async def test_the_case_of_a_language_and_a_kind_does_not_matter(verdex: Verdex, worker, repository, index):
    await index(repository)
    assert paths(await verdex.search("two", language="Python", kind="CLASS")) == ["package/two.py"]


async def test_that_the_newest_job_failed_is_told(verdex: Verdex, worker, repository, index, tmp_path: Path):
    old = await index(repository)
    repository.rename(tmp_path / "elsewhere")
    failed = await index(repository)
    assert failed.status == "failed"
    found = await verdex.search("two")
    assert searched(found).job_id == old.job_id
    why = f"the newest job, {failed.job_id}, failed: {failed.error_message}; this is the index from before"
    assert warning(found) == why


async def test_that_the_newest_job_was_cancelled_is_told(
    verdex: Verdex, run_worker, repository, index, finished, hold, gate
):
    async with run_worker():
        await index(repository)
    async with run_worker(hold("publish")):
        started = await verdex.index(repository)
        await gate.reached()
        await verdex.cancel(started.job_id)
        assert (await finished(started.job_id)).status == "cancelled"
        gate.open()
    assert warning(await verdex.search("two")).startswith(f"the newest job, {started.job_id}, was cancelled")


async def test_that_an_index_is_partial_is_told_until_it_is_whole(verdex: Verdex, run_worker, repository, index):
    async with run_worker(Partial):
        job = await index(repository)
    found = await verdex.search("two")
    assert warning(found) == f"the index is partial: {job.error_message}"
    assert searched(found).files_indexed == 2
    async with run_worker():
        await index(repository)
    assert (await verdex.search("two")).warnings == []


async def test_an_index_whose_job_is_not_recorded_yet_is_told_to_be_partial(
    verdex: Verdex, run_worker, repository, finished, gate
):
    class Committing(Partial):
        @activity.defn
        async def publish(self, manifest: Manifest) -> IndexResult:
            result = await super().publish(manifest)
            await gate.passed()
            return result

    async with run_worker(Committing):
        started = await verdex.index(repository)
        await gate.reached()
        found = await verdex.search("two")
        gate.open()
        await finished(started.job_id)
    assert searched(found).job_id == started.job_id
    assert warning(found).startswith("the index is partial: 1 of 3 files could not be indexed: README.md")


async def test_a_row_whose_workflow_is_gone_is_never_told_to_run(
    verdex: Verdex, client, run_worker, repository, index, hold, gate
):
    async with run_worker():
        await index(repository)
    async with run_worker(hold("publish")):
        started = await verdex.index(repository)
        await gate.reached()
        await client.get_workflow_handle(started.workflow_id, run_id=started.job_id).terminate(reason="by a test")
        found = await verdex.search("two")
        gate.open()
    assert paths(found)[0] == "package/two.py"
    assert warning(found).startswith(f"the newest job, {started.job_id}, failed: ")
    assert "by a test" in warning(found)


@pytest.mark.parametrize(("name", "wrong"), [("TEMPORAL_ADDRESS", "127.0.0.1:1"), ("TEMPORAL_PROFILE", "nobodys")])
async def test_where_temporal_cannot_be_asked_the_search_does_and_says_what_it_cannot_know(
    verdex: Verdex, server, settings, run_worker, repository, index, finished, hold, gate, monkeypatch, name, wrong
):
    async with run_worker():
        await index(repository)
    async with run_worker(hold("publish")):
        started = await verdex.index(repository)
        await gate.reached()
        monkeypatch.setenv(name, wrong)
        found = await Verdex(None, server, settings).search("two")
        gate.open()
        await finished(started.job_id)
    assert paths(found)[0] == "package/two.py"
    told = f"job {started.job_id} is running: whether that is still so cannot be told: "
    assert warning(found).startswith(told)


async def test_a_registry_without_the_row_of_the_job_is_told(verdex: Verdex, server, worker, repository, index):
    old = await index(repository)
    (repository / "package" / "two.py").write_text("class Three:\n    pass\n")
    new = await index(repository)
    await tamper(server.registry, f"DELETE FROM indexing_jobs WHERE id = '{new.job_id}'")
    found = await verdex.search("three")
    assert paths(found) == ["package/two.py"]
    assert (searched(found).job_id, searched(found).indexed_at) == (new.job_id, None)
    assert warning(found).startswith(f"the registry does not know job {new.job_id}, which published the index")
    await tamper(server.registry, f"DELETE FROM indexing_jobs WHERE id = '{old.job_id}'")
    assert warning(await verdex.search("three")) == warning(found)


async def test_an_index_that_was_restored_from_before_is_told(verdex: Verdex, worker, repository, index, project):
    await index(repository)
    (repository / "package" / "two.py").write_text("class Three:\n    pass\n")
    new = await index(repository)
    await tamper(
        project, "UPDATE repositories SET generation = 1, manifest_id = (SELECT id FROM manifests WHERE generation = 1)"
    )
    found = await verdex.search("two")
    told = f"job {new.job_id} has published another index, which is not there: verdex verify {repository}"
    assert warning(found) == told


async def test_a_job_that_publishes_in_the_middle_of_a_search_is_not_mistaken_for_a_lost_index(
    verdex: Verdex, run_worker, repository, index, finished, hold, gate, monkeypatch
):
    async with run_worker():
        await index(repository)
    (repository / "package" / "two.py").write_text("class Three:\n    pass\n")
    places = service._found

    async with run_worker(hold("publish")):
        started = await verdex.index(repository)
        await gate.reached()

        async def slowly(*arguments):
            found = await places(*arguments)
            gate.open()
            await finished(started.job_id)
            return found

        monkeypatch.setattr(service, "_found", slowly)
        found = await verdex.search("three")
    assert (paths(found), list(found.warnings)) == (["package/two.py"], [])
    assert searched(found).job_id == started.job_id


async def test_an_index_of_an_older_verdex_is_told_with_what_to_type(
    verdex: Verdex, worker, repository, index, project
):
    await index(repository)
    await tamper(project, "UPDATE manifests SET pipeline_version = 1; UPDATE blobs SET pipeline_version = 1")
    await tamper(project, "UPDATE chunks SET lexemes = ''")
    found = await verdex.search("two")
    told = f"it was indexed by an older verdex, and not all of it is found: verdex index {repository}"
    assert (paths(found), warning(found)) == ([], told)
    await index(repository)
    assert paths(await verdex.search("two"))[0] == "package/two.py"
    assert (await verdex.search("two")).warnings == []


LOSSES = {
    "DELETE FROM chunks": "the index is gone: all 3 chunks are missing",
    "DELETE FROM files": "the index is gone: 3 of 3 files are missing",
}


@pytest.mark.parametrize("loss", LOSSES)
async def test_that_nothing_is_found_because_the_index_is_gone_is_told(
    verdex: Verdex, worker, repository, index, project, loss
):
    await index(repository)
    assert (await verdex.search("zeppelin")).warnings == []
    await tamper(project, loss)
    found = await verdex.search("two")
    assert (paths(found), warning(found)) == ([], LOSSES[loss])


async def test_where_nothing_is_indexed_it_says_what_to_type(verdex: Verdex, worker, repository, index, tmp_path):
    with pytest.raises(NotIndexed, match='nothing is indexed in project "default": verdex index PATH'):
        await verdex.search("two")
    await index(repository)
    with pytest.raises(NotIndexed, match=rf"{tmp_path}/other is not indexed .*: verdex index {tmp_path}/other "):
        await verdex.search("two", repo_path=tmp_path / "other")
    await verdex.projects.create("shop")
    with pytest.raises(NotIndexed, match="verdex index PATH --project shop"):
        await verdex.search("two", project_id="shop")


async def test_a_repository_whose_first_job_runs_is_not_indexed(
    verdex: Verdex, run_worker, repository, finished, hold, gate
):
    async with run_worker(hold("publish")):
        started = await verdex.index(repository)
        await gate.reached()
        with pytest.raises(NotIndexed, match="verdex jobs"):
            await verdex.search("two")
        gate.open()
        await finished(started.job_id)
    assert paths(await verdex.search("two"))[0] == "package/two.py"


async def test_projects_are_searched_apart_and_an_unknown_one_is_named(
    verdex: Verdex, worker, repository, index, tmp_path
):
    other = tmp_path / "other"
    other.mkdir()
    (other / "two.py").write_text("two = 'of the shop'\n")
    await verdex.projects.create("shop")
    await index(repository)
    job = await index(other, project_id="shop")
    assert searched(await verdex.search("two")).repo_path == str(repository)
    found = await verdex.search("two", project_id="shop")
    assert (paths(found), searched(found).job_id) == (["two.py"], job.job_id)
    (tmp_path / "other").rename(tmp_path / "moved")
    await index(other, project_id="shop")
    assert "this is the index from before" in warning(await verdex.search("two", project_id="shop"))
    with pytest.raises(ProjectNotFound, match='"nobodys" does not exist'):
        await verdex.search("two", project_id="nobodys")


async def test_repositories_of_a_project_are_searched_together_and_told_apart(
    verdex: Verdex, worker, repository, index, tmp_path
):
    other = tmp_path / "other"
    other.mkdir()
    (other / "again.py").write_text((repository / "package" / "two.py").read_text())
    jobs = {await_job.repo_path: await_job.job_id for await_job in [await index(repository), await index(other)]}
    found = await verdex.search("class two")
    assert {one.repo_path: one.job_id for one in found.repositories} == jobs
    first = found.results[0]
    places = {f"{first.repo_path}/{first.file_path}", *first.copies}
    assert places == {f"{repository}/package/two.py", f"{other}/again.py"}


async def test_a_database_that_was_dropped_is_named(verdex: Verdex, server: Server, worker, repository, index):
    await index(repository)
    await server.forget("cb_proj_default")
    async with server.registry.connection() as connection:
        await connection.execute("DROP DATABASE cb_proj_default WITH (FORCE)")
    with pytest.raises(DatabaseNotFound, match="cb_proj_default"):
        await verdex.search("two")


async def test_a_database_that_no_worker_has_migrated_yet_has_nothing_indexed(verdex: Verdex, server: Server):
    await Projects(server).create("old")
    async with server.database("cb_proj_old").connection() as connection:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    with pytest.raises(NotIndexed):
        await verdex.search("two", project_id="old")


WRONG = {
    "no word": {"query": " ?! "},
    "nothing": {"query": ""},
    "no results": {"query": "two", "limit": 0},
    "too many results": {"query": "two", "limit": 101},
    "before the first": {"query": "two", "offset": -1},
    "a glob that never ends": {"query": "two", "path": "[a"},
    "a glob of nothing": {"query": "two", "path": ""},
    "a glob that is too long": {"query": "two", "path": "*a" * 10_000},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_what_cannot_be_searched_for_is_refused_in_a_line(verdex: Verdex, worker, repository, index, wrong):
    await index(repository)
    with pytest.raises(QueryInvalid) as refused:
        await verdex.search(**wrong)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


ODD = "\ud800 \0 \udcff two ' \\ % _ $1 &|!:*<->()"


@pytest.mark.parametrize("name", ["query", "path"])
async def test_whatever_is_given_is_harmless(verdex: Verdex, worker, repository, index, name):
    await index(repository)
    given: dict[str, Any] = {"query": "two", name: ODD}
    found = await verdex.search(**given)
    assert found.model_dump_json()
    assert bool(found.results) == (name == "query")


@pytest.mark.parametrize("name", ["language", "kind"])
async def test_what_no_chunk_can_be_is_refused_with_what_it_can_be(verdex: Verdex, worker, repository, index, name):
    await index(repository)
    given: dict[str, Any] = {"query": "two", name: ODD}
    with pytest.raises(QueryInvalid, match=f"there is no {name} .*: give one of "):
        await verdex.search(**given)


async def test_what_can_name_no_repository_or_project_is_refused(verdex: Verdex, worker, repository, index):
    await index(repository)
    for odd in ("/x\0", "~nobody-of-this-name/x"):
        with pytest.raises(RepositoryError):
            await verdex.search("two", repo_path=odd)
        with pytest.raises(RepositoryError):
            await verdex.jobs(repo_path=odd)
    with pytest.raises(ProjectNotFound):
        await verdex.search("two", project_id=ODD)


async def test_a_traceback_with_whole_paths_finds_the_file(verdex: Verdex, worker, repository, index):
    await index(repository)
    traceback = (
        f'Traceback (most recent call last):\n  File "{repository}/package/one.py", line 2, in one\nValueError: x'
    )
    assert paths(await verdex.search(traceback))[0] == "package/one.py"


async def test_searches_at_the_same_time_have_the_same_answer(verdex: Verdex, worker, repository, index):
    await index(repository)
    found = await asyncio.gather(*(verdex.search("return two") for _ in range(12)))
    assert len({repr(one.results) for one in found}) == 1
