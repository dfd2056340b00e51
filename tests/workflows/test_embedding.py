"""A project with an embedder: every chunk has its vector or is not counted, and no text is embedded twice."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.embedding.model import DIMENSIONS, model_directory
from tests.embedding.server import EmbeddingServer, serving
from tests.workflows.conftest import worker_process
from verdex.contracts import Embedder, Job, Shard
from verdex.indexing import embedding
from verdex.storage import vectors

KEY = "sk-test-0123456789abcdef"


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_directory(tmp_path_factory.mktemp("model"))


@pytest.fixture
def endpoint(model: Path) -> Iterator[EmbeddingServer]:
    with serving(model) as endpoint:
        yield endpoint


@pytest.fixture
def embedder(endpoint: EmbeddingServer) -> Embedder:
    return Embedder(provider="ollama", model="wordllama", url=endpoint.url, dimensions=DIMENSIONS)


@pytest.fixture
async def project(verdex, embedder: Embedder):
    """The project `default`, with the embedder."""
    await verdex.projects.set_embedder("default", embedder)
    return await verdex.projects.database("default")


@pytest.fixture
def stored(project):
    """How many rows each of the tables of vectors has."""

    async def count() -> tuple[int, int, int]:
        async with project.connection() as connection:
            row = await connection.fetchrow(
                "SELECT (SELECT count(*) FROM chunks), (SELECT count(*) FROM chunk_vectors), "
                "(SELECT count(*) FROM vectors)"
            )
        return tuple(row)

    return count


def documents(endpoint: EmbeddingServer) -> list[str]:
    """All texts of chunks that were embedded: all but the words of probes and queries."""
    return [text for text in endpoint.texts if text != "verdex"]


async def test_every_chunk_gets_a_vector_and_is_found_by_its_meaning(
    verdex, worker, repository, index, stored, endpoint
):
    (repository / "cars.py").write_text("def drive(automobile):\n    return automobile.engine.start()\n")
    job = await index(repository)
    assert (job.status, job.result_status, job.files_indexed) == ("completed", "success", 4)
    chunks, linked, kept = await stored()
    assert job.chunks_total == chunks == linked == kept == len(documents(endpoint)) > 0
    assert "drive\ndef drive(automobile):\n    return automobile.engine.start()" in documents(endpoint)
    found = await verdex.search("vehicle motor")
    assert (found.results[0].file_path, list(found.warnings)) == ("cars.py", [])


async def test_nothing_is_embedded_twice(verdex, worker, repository, index, stored, endpoint):
    text = (repository / "package" / "one.py").read_text()
    for name in ("copy.py", "other.py"):
        (repository / name).write_text(text)
    (repository / "two_functions.py").write_text(f"{text}\n\n" + "def second():\n" + "    pass\n" * 58)
    await index(repository)
    texts = documents(endpoint)
    assert len(texts) == len(set(texts))
    (repository / "two_functions.py").write_text(f"{text}\n\n" + "def second():\n" + "    continue\n" * 58)
    job = await index(repository)
    assert job.files_changed == 1
    added = documents(endpoint)[len(texts) :]
    assert [one.split("\n")[0] for one in added] == ["second"]
    await index(repository, force_reindex=True)
    assert documents(endpoint) == [*texts, *added]


async def test_shards_that_come_to_the_same_text_embed_it_once(
    verdex, run_worker, many_shards, index, project, endpoint
):
    repository = many_shards(4)
    for path in repository.iterdir():
        path.write_text(f"{'same = 1'}\n" * 60 + f"{path.stem} = 2\n" * 60)
    async with run_worker():
        assert (await index(repository)).files_indexed == 4
    texts = documents(endpoint)
    assert len(texts) == len(set(texts))


async def test_a_job_is_blocked_while_its_embedder_is_down_and_then_completed(
    verdex, run_worker, hold, gate, repository, finished, published, stored, endpoint, eventually
):
    async def is_blocked() -> bool:
        job: Job = await verdex.job(started.job_id)
        return job.status == "blocked" and "(attempt" in (job.status_message or "")

    async with run_worker(hold("index_shard")):
        started = await verdex.index(repository)
        await gate.reached()
        endpoint.fault = 503
        gate.open()
        await eventually(is_blocked)
        job = await verdex.job(started.job_id)
        assert "embedder ollama:wordllama at http://127.0.0.1:" in job.status_message
        assert "is not available: 503" in job.status_message
        assert await published(repository) == 0
        endpoint.fault = None
        job = await finished(started.job_id)
    assert (job.status, job.result_status, job.files_indexed) == ("completed", "success", 3)
    chunks, linked, _ = await stored()
    assert chunks == linked == job.chunks_total


@pytest.mark.parametrize("step", ["preflight", "index_shard"])
async def test_a_job_fails_when_its_embedder_stays_down(
    verdex, settings, client, server, run_worker, hold, gate, repository, finished, published, project, endpoint, step
):
    impatient = type(verdex)(client, server, settings.model_copy(update={"blocked_limit_seconds": 0.5}))
    async with run_worker(hold(step)):
        started = await impatient.index(repository)
        await gate.reached()
        endpoint.fault = "close"
        gate.open()
        job = await finished(started.job_id)
    assert (job.status, job.error_type, job.files_indexed) == ("failed", "EmbedderUnavailable", 0)
    assert "embedder ollama:wordllama at http" in job.error_message
    assert await published(repository) == 0
    assert documents(endpoint) == []


async def test_other_dimensions_fail_the_job_before_anything_is_done(
    verdex, worker, repository, index, project, endpoint
):
    endpoint.fault = "shorter"
    job = await index(repository)
    assert (job.status, job.error_type, job.phase) == ("failed", "EmbedderMismatch", "preflight")
    assert "vectors of 255 dimensions, and the project was set up for 256" in job.error_message
    assert documents(endpoint) == []


async def test_a_refusal_fails_the_job_at_once(verdex, worker, repository, index, project, endpoint):
    endpoint.fault = 400
    job = await index(repository)
    assert (job.status, job.error_type) == ("failed", "EmbedderRefused")
    assert "refuses: 400" in job.error_message


async def test_a_file_whose_text_has_no_vector_failed_and_says_so(
    verdex, run_worker, hold, gate, repository, finished, published, project, stored, endpoint
):
    async with run_worker(hold("index_shard")):
        started = await verdex.index(repository)
        await gate.reached()
        endpoint.fault = "zero"  # of the last text of a request
        gate.open()
        job = await finished(started.job_id)
    assert (job.status, job.result_status, job.files_indexed, job.files_failed) == ("completed", "partial", 2, 1)
    assert "package/two.py: the vector of lines 1-3 is zero" in job.error_message
    chunks, linked, _ = await stored()
    assert chunks == linked == job.chunks_total


async def test_what_was_embedded_before_a_worker_was_killed_is_not_embedded_again(
    verdex, client, settings, tmp_path, python_files, finished, eventually, stored, endpoint
):
    repository, log = python_files(2, 100_000), tmp_path / "worker.log"
    address = client.service_client.config.target_host

    async def has_stored_some() -> bool:
        assert first.poll() is None, log.read_text()
        return bool((await stored())[2])

    started = await verdex.index(repository)
    with worker_process(settings, address, log) as first:
        await eventually(has_stored_some)
        endpoint.fault = "hang"
        first.send_signal(signal.SIGKILL)
        await asyncio.to_thread(first.wait)
    before, kept = documents(endpoint), (await stored())[2]
    assert (await stored())[0] == 0
    endpoint.fault = None
    endpoint.go_on.set()
    with worker_process(settings, address, log):
        job = await finished(started.job_id)
    chunks, linked, all_vectors = await stored()
    assert (job.status, job.chunks_total) == ("completed", chunks)
    assert chunks == linked == all_vectors
    again = len(documents(endpoint)) - all_vectors
    assert again <= len(before) - kept <= 2 * embedding.GROUP_TEXTS


async def test_a_vector_that_is_collected_in_the_middle_of_a_batch_is_made_anew(
    verdex, worker, repository, index, project, stored, endpoint, monkeypatch
):
    hold, collected = vectors.hold, list[str]()

    async def hold_too_late(connection, embedder_id, hashes):
        if not collected:
            async with project.connection() as collector:
                collected.append(await collector.execute("DELETE FROM vectors"))
        return await hold(connection, embedder_id, hashes)

    monkeypatch.setattr(vectors, "hold", hold_too_late)
    job = await index(repository)
    assert (job.status, job.files_indexed) == ("completed", 3)
    chunks, linked, _ = await stored()
    assert chunks == linked == job.chunks_total


@pytest.mark.parametrize("many", [2, 3])
async def test_the_index_is_made_at_the_begin_of_a_large_job_and_at_the_end_of_others(
    verdex, run_worker, hold, gate, repository, finished, project, monkeypatch, many
):
    async def is_there() -> bool:
        async with project.connection() as connection:
            return bool(await connection.fetchval("SELECT to_regclass('vectors_of_1') IS NOT NULL"))

    monkeypatch.setattr(vectors, "MANY_FILES", many)
    async with run_worker(hold("index_shard")):
        started = await verdex.index(repository)
        await gate.reached()
        assert await is_there() == (many < 3)
        gate.open()
        assert (await finished(started.job_id)).status == "completed"
    assert await is_there()


async def test_another_embedder_needs_another_job_and_until_then_searches_go_by_words(
    verdex, worker, repository, index, project, embedder, endpoint
):
    await verdex.projects.set_embedder("default", None)
    await index(repository)
    assert documents(endpoint) == []
    await verdex.projects.set_embedder("default", embedder)
    found = await verdex.search("two")
    assert found.results
    assert "was not indexed with the embedder that the project has now" in found.repositories[0].warnings[0]
    assert endpoint.texts == []
    assert (await index(repository)).files_unchanged == 3
    assert (await verdex.search("two")).warnings == []


async def test_a_project_keeps_its_embedder_while_a_job_runs(
    verdex, run_worker, hold, gate, repository, finished, project
):
    async with run_worker(hold("scan")):
        started = await verdex.index(repository)
        await gate.reached()
        with pytest.raises(Exception, match=f"is being indexed by job {started.job_id}"):
            await verdex.projects.set_embedder("default", None)
        gate.open()
        assert (await finished(started.job_id)).status == "completed"


@pytest.mark.parametrize("fault", [503, "close", "hang", "shorter", 404])
async def test_while_the_embedder_does_not_answer_searches_go_by_words_and_say_so(
    verdex, worker, repository, index, project, endpoint, fault, monkeypatch
):
    monkeypatch.setattr("verdex.search.meaning.SECONDS", 0.2)
    await index(repository)
    endpoint.fault = fault
    found = await verdex.search("class two")
    assert found.results[0].file_path == "package/two.py"
    (warning,) = found.warnings
    assert warning.startswith("not searched by meaning: embedder ollama:wordllama at http://127.0.0.1:")
    endpoint.fault = None
    assert (await verdex.search("class two")).warnings == []


async def test_the_key_of_an_embedder_is_nowhere_but_in_its_requests(
    verdex, client, server, settings, run_worker, repository, index, endpoint, log, monkeypatch
):
    keyed = settings.model_copy(update={"embedder_api_key": type(settings)(embedder_api_key=KEY).embedder_api_key})
    endpoint.api_key = KEY
    async with type(verdex)(client, server, keyed) as api:
        found = await api.embedder("openai:wordllama", endpoint.openai_url)
        assert found.dimensions == DIMENSIONS
        await api.projects.set_embedder("default", found)
        async with run_worker(settings=keyed):
            assert (await index(repository)).status == "completed"
            endpoint.api_key = "another"  # it repeats what it refuses
            failed = await index(repository)
        searched = await api.search("two")
    assert (failed.status, failed.error_type) == ("failed", "EmbedderRefused")
    assert "refuses: 401" in failed.error_message
    assert "refuses: 401" in searched.warnings[0]
    async with server.registry.connection() as connection:
        rows = [*await connection.fetch("SELECT * FROM projects"), *await connection.fetch("SELECT * FROM job_events")]
    for told in (failed.model_dump_json(), searched.model_dump_json(), log.stream.getvalue(), repr(rows)):
        assert KEY not in told


async def test_a_project_without_an_embedder_asks_none(verdex, worker, repository, index, endpoint):
    job = await index(repository)
    assert (job.status, endpoint.received) == ("completed", [])
    async with (await verdex.projects.database("default")).connection() as connection:
        assert await connection.fetchval("SELECT to_regclass('vectors')") is None


def test_a_shard_is_told_of_its_embedder_by_its_manifest_only():
    assert set(Shard.model_fields) == {"manifest", "shard"}
