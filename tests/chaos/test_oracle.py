"""The oracle can see: every lie that is planted after a job is found, and honest jobs are believed."""

from typing import Any, Final, NamedTuple

import pytest

from tests.chaos import evidence
from tests.chaos.evidence import Case, Connection, File, Index
from tests.chaos.faults.base import Fault
from tests.chaos.oracle import judge
from tests.chaos.trees import RESTLESS, UNREADABLE, Expected, World

PLAIN: Final = (101, 102, 103)
FAILING: Final = 104

UNGUARDED: Final = """
SET LOCAL session_replication_role = replica;
DO $$
DECLARE found record;
BEGIN
    FOR found IN SELECT conrelid::regclass AS place, conname FROM pg_constraint
                 WHERE contype = 'c' AND connamespace = 'public'::regnamespace
    LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', found.place, found.conname);
    END LOOP;
END $$;
"""
"""Without the triggers and constraints that refuse lies, until the end of the transaction."""


class Missing(Fault):
    """There is no tree, so that the job fails."""

    async def prepare(self, scene):
        hidden = scene.tree.root.with_name("hidden")
        scene.tree.hide(hidden)
        scene.beside.callback(scene.tree.put_back, hidden)


class Honest(NamedTuple):
    completed: Case
    failed: Case


@pytest.fixture(scope="session")
async def honest(campaign) -> Honest:
    """A job that completed, and one that failed."""
    plain = [await campaign.job(number, Fault()) for number in PLAIN]
    assert [one.findings for one in plain] == [[], [], []]
    failed = (await campaign.job(FAILING, Missing())).told.case
    return Honest(plain[-1].told.case, failed._replace(ends=frozenset({"failed"}), causes="does not exist"))


@pytest.fixture
def planted(campaign):
    """A case as it would be if somebody wrote a lie by SQL; the databases are left as they were."""

    async def plant(case: Case, lie: str) -> Case:
        is_of_registry = "indexing_jobs" in lie or "job_events" in lie
        database = None if is_of_registry else f"cb_proj_{case.place[0]}"
        async with evidence.connected(campaign.url, database) as connection:
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(UNGUARDED)
            done = await connection.execute(lie.replace("$job", f"'{case.job_id}'").replace("$path", case.place[1]))
            assert not done.endswith(" 0"), "the lie changes nothing"
            seen = await (_rows if is_of_registry else _index)(connection, case)
            await transaction.rollback()
        return case._replace(**seen)

    return plant


async def _rows(registry: Connection, case: Case) -> dict[str, Any]:
    return {
        "row": await evidence.row(registry, case.job_id),
        "events": await evidence.events(registry, case.job_id),
    }


async def _index(project: Connection, case: Case) -> dict[str, Any]:
    others = {place: index for place, index in case.after.items() if place[0] != case.place[0]}
    seen = await evidence.published(project)
    return {"after": {**others, **{(case.place[0], path): index for path, index in seen.items()}}}


def _found(case: Case) -> str:
    return "\n".join(map(str, judge(case)))


def test_honest_jobs_are_believed(honest):
    assert _found(honest.completed) == ""
    assert _found(honest.failed) == ""


ROW = "UPDATE indexing_jobs SET {} WHERE id = $job"
LIES_OF_THE_ROW = {
    ROW.format("files_indexed = files_indexed + 1"): "count: the row says files_indexed",
    ROW.format("files_total = files_total - 1"): "count: the row says files_total",
    ROW.format("files_added = files_added + 1"): "count: the row says files_added",
    ROW.format("files_deleted = files_deleted + 1"): "count: the row says files_deleted",
    ROW.format("files_skipped = 0"): "count: the row says files_skipped",
    ROW.format("chunks_total = chunks_total + 1"): "count: the row says chunks_total",
    ROW.format("chunks_created = chunks_created + 1"): "count: the row says chunks_created",
    ROW.format("manifest_digest = repeat('0', 64)"): "count: the row says manifest_digest",
    ROW.format("generation = generation + 1"): "count: the row says generation",
    ROW.format("result_status = 'partial'"): "count: the row says result_status",
    ROW.format("status = 'running'"): "stuck: the row says running",
    ROW.format("status = 'failed'"): "lie: the row says failed, Temporal says COMPLETED",
    ROW.format("status = 'cancelled'"): "lie: the row says cancelled, verdex index exited with 0",
    ROW.format("status_message = 'all is well'"): "verdex status says None",
    "DELETE FROM indexing_jobs WHERE id = $job": "lost: job",
    "DELETE FROM job_events WHERE job_id = $job AND event = 'created'": "lie: the events do not begin with created",
    "DELETE FROM job_events WHERE job_id = $job AND event = 'completed'": "lie: the row says completed, the events are",
    "UPDATE job_events SET at = at - interval '1 day' WHERE job_id = $job AND event = 'completed'": "order of time",
    "INSERT INTO job_events (job_id, at, event, attempt) SELECT $job, now(), 'running', 1": "lie: the row says",
}

PUBLISHED = "(SELECT manifest_id FROM repositories WHERE path = '$path')"
FIRST = f"SELECT min(ordinal) FROM files WHERE outcome = 'indexed' AND manifest_id = {PUBLISHED}"
FILE = f"manifest_id = {PUBLISHED} AND ordinal = ({FIRST})"
BLOB = f"(SELECT blob_id FROM files WHERE {FILE})"
LIES_OF_THE_INDEX = {
    f"DELETE FROM files WHERE manifest_id = {PUBLISHED} AND ordinal % 2 = 0": "is not in the index",
    f"UPDATE files SET path = path || '~' WHERE {FILE}": "is in the index, but should not be",
    f"UPDATE files SET outcome = 'skipped', blob_id = NULL WHERE {FILE}": "is skipped, but should be indexed",
    f"UPDATE blobs SET content_hash = sha256('other') WHERE id = {BLOB}": "is indexed with another content",
    f"DELETE FROM chunks WHERE blob_id = {BLOB}": "are not its lines",
    f"UPDATE chunks SET content = content || 'x' WHERE blob_id = {BLOB} AND ordinal = 0": "are not its lines",
    f"INSERT INTO chunks SELECT blob_id, -1, start_line, end_line, kind, symbol, content, lexemes FROM chunks"
    f" WHERE blob_id = {BLOB} AND ordinal = 0": "are not its lines",
    "UPDATE repositories SET generation = 0, manifest_id = NULL WHERE path = '$path'": "completed, but there is no",
    "UPDATE repositories SET generation = generation + 1 WHERE path = '$path'": "lost: the index is generation",
    "UPDATE manifests SET job_id = gen_random_uuid() WHERE job_id = $job": "published by job",
}


@pytest.mark.parametrize("lie", [*LIES_OF_THE_ROW, *LIES_OF_THE_INDEX])
async def test_a_lie_that_is_planted_after_a_completed_job_is_named(honest, planted, lie: str):
    assert {**LIES_OF_THE_ROW, **LIES_OF_THE_INDEX}[lie] in _found(await planted(honest.completed, lie))


@pytest.mark.parametrize(
    ("lie", "named"),
    [
        (ROW.format("status = 'completed'"), "lie: the row says completed, Temporal says FAILED"),
        (ROW.format("error_message = NULL"), "lie: failed without error_message"),
        (ROW.format("error_message = 'something went wrong'"), "lie: the message does not name the cause"),
        (ROW.format("error_type = ' '"), "lie: failed without error_type"),
        (ROW.format("files_indexed = 7"), "count: failed, but files_indexed = 7"),
    ],
)
async def test_a_lie_that_is_planted_after_a_failed_job_is_named(honest, planted, lie: str, named: str):
    assert named in _found(await planted(honest.failed, lie))


def test_an_index_that_a_failed_job_changed_is_lost(honest):
    index = honest.completed.after[honest.completed.place]
    before = {**honest.failed.before, honest.failed.place: index}
    assert _found(honest.failed._replace(before=before, after=before)) == ""
    fewer = index._replace(files=dict(list(index.files.items())[1:]))
    after = {**before, honest.failed.place: fewer}
    assert "lost: failed, but the index is not what it was" in _found(
        honest.failed._replace(before=before, after=after)
    )


def test_an_index_of_another_repository_that_moved_is_lost(honest):
    case = honest.completed
    index = case.after[case.place]
    other = ("two", "/elsewhere")
    moved = case._replace(
        before={**case.before, other: index}, after={**case.after, other: index._replace(generation=9)}
    )
    assert "lost: the index of another repository" in _found(moved)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"exit_code": 1}, "lie: the row says completed, verdex index exited with 1"),
        ({"status_exit_code": 4}, "lie: the row says completed, verdex status exited with 4"),
        ({"told": {"files_indexed": -1}}, "verdex index says -1"),
        ({"temporal": "TERMINATED"}, "lie: the row says completed, Temporal says TERMINATED"),
        ({"claims": frozenset({"another"})}, "lie: starts while"),
        ({"new_jobs": frozenset()}, "a job that there was before it asked for one"),
        ({"new_jobs": frozenset({"one", "two"})}, "lie: 2 rows came for one job"),
        ({"ends": frozenset({"failed"})}, "lie: completed instead of failed"),
    ],
)
def test_surfaces_that_disagree_are_lies(honest, change: dict[str, Any], named: str):
    assert named in _found(honest.completed._replace(**change))


def test_a_job_that_was_terminated_after_it_had_published_may_say_that_it_completed(honest):
    row = {**honest.completed.row, "status_message": "published, then the workflow was terminated"}
    told = {**honest.completed.told, "status_message": row["status_message"]}
    assert _found(honest.completed._replace(row=row, temporal="TERMINATED", told=told, status_told=told)) == ""


def _plain(case: Case) -> World:
    return {path: (one,) for path, one in case.expected.items()}


def _indexed(case: Case) -> str:
    return next(path for path, one in case.expected.items() if one.outcome == "indexed" and "/" in path)


def _held(case: Case, files: dict[str, File]) -> Case:
    """As if the index held these files."""
    index: Index = case.after[case.place]
    return case._replace(after={**case.after, case.place: index._replace(files=files)})


def test_a_file_that_changed_all_the_time_may_be_any_state_that_it_had(honest):
    case, path = honest.completed, _indexed(honest.completed)
    states = (RESTLESS, Expected("indexed", b"earlier"), case.expected[path])
    assert _found(case._replace(worlds=[{**_plain(case), path: states}], expected={})) == ""
    never = (Expected("indexed", b"earlier"), RESTLESS)
    assert f"lie: {path!r} is indexed with another content" in _found(
        case._replace(worlds=[{**_plain(case), path: never}])
    )


def test_a_directory_that_was_closed_is_missing_as_a_whole_or_file_by_file(honest):
    case, path = honest.completed, _indexed(honest.completed)
    folder, files = path[: path.rindex("/") + 1], case.after[case.place].files
    without = {name: one for name, one in files.items() if not name.startswith(folder)}
    late = {name: (*every, UNREADABLE) if name.startswith(folder) else every for name, every in _plain(case).items()}
    early = {name: every for name, every in _plain(case).items() if name in without} | {folder: (UNREADABLE,)}
    case = case._replace(worlds=[late, early])
    refused = File("failed", "cannot be read: Permission denied", None, ())
    assert _found(case) == ""
    assert "index, but" not in _found(_held(case, {**files, path: refused}))
    assert "not in the index" not in _found(_held(case, {**without, folder: refused}))
    assert f"lost: {path!r} is not in the index" in _found(_held(case, without))
    assert f"lie: {folder!r} is in the index, but should not be" in _found(_held(case, {**files, folder: refused}))


def test_a_file_that_failed_for_another_reason_is_a_lie(honest):
    case, path = honest.completed, _indexed(honest.completed)
    case = case._replace(worlds=[{**_plain(case), path: (UNREADABLE,)}])
    files = {**case.after[case.place].files, path: File("failed", "cannot be read: Input/output error", None, ())}
    assert f"lie: {path!r} failed for another reason" in _found(_held(case, files))


@pytest.mark.parametrize("message", ["", "1 of 7 files could not be indexed: {}", "1 of {total} files: somewhere"])
def test_a_message_that_does_not_say_how_many_files_failed_and_which_is_a_lie(honest, message: str):
    case, path = honest.completed, _indexed(honest.completed)
    message = message.format(path, total=len(case.expected))
    failed = case._replace(expected={**case.expected, path: UNREADABLE}, row={**case.row, "error_message": message})
    assert "lie: 1 files failed, but the message says" in _found(failed)
    told = f"1 of {len(case.expected)} files could not be indexed: {path}: cannot be read: Permission denied"
    assert "but the message says" not in _found(failed._replace(row={**case.row, "error_message": told}))


def test_an_index_that_is_gone_must_be_told_and_only_then(honest):
    case, gone = honest.completed, {**honest.completed.status_told, "status_message": "the index is gone: dropped"}
    assert _found(case._replace(gone="index is gone", status_told=gone)) == ""
    assert "lie: the index is gone, verdex status says None" in _found(case._replace(gone="index is gone"))
    assert "verdex status says 'the index is gone: dropped'" in _found(case._replace(status_told=gone))
