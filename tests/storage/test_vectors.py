"""Vectors are kept once for each content and embedder, and a manifest that lacks one is not published."""

import asyncio
import hashlib
import math
import random
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from tests.storage.conftest import File, Files, Line, Tree, job_record, new_database
from tests.storage.plans import PlanLog, log_plans
from verdex.contracts import Embedder, IndexResult, Manifest
from verdex.errors import ProjectInUse, ProjectNotFound, StateRefused, VectorsUnsupported
from verdex.local.postgres import Postgres
from verdex.storage import vectors
from verdex.storage.copying import encoded, lines, text_to_embed
from verdex.storage.database import Database, Server
from verdex.storage.manifests import Manifests
from verdex.storage.projects import Projects
from verdex.storage.registry import Registry
from verdex.storage.retention import collect_blobs, collect_manifests, collect_vectors
from verdex.storage.searching import Filter, Meaning, SearchedIndex, searched

DIMENSIONS = 3
NO_TIME = timedelta(0)
PUBLISH = "UPDATE manifests SET state = 'published', generation = base_generation + 1, result = '{}' WHERE id = $1"


def embedder(model: str = "one", dimensions: int = DIMENSIONS) -> Embedder:
    return Embedder(provider="ollama", model=model, url="http://127.0.0.1:1", dimensions=dimensions)


@pytest.fixture
async def project(postgres: Postgres) -> AsyncIterator[Database]:
    """A database of its own: the others of these tests are to do without vectors."""
    async with new_database(postgres, "project") as database:
        yield database


def text_hash(line: Line) -> bytes:
    return hashlib.sha256(text_to_embed(encoded([line])[0])).digest()


def vector(text: str) -> list[float]:
    """Some direction, always the same."""
    chance = random.Random(text)  # noqa: S311
    numbers = [chance.gauss(0, 1) for _ in range(DIMENSIONS)]
    return [number / math.hypot(*numbers) for number in numbers]


async def embed(tree: Tree, embedder_id: int, files: Files) -> None:
    """Store a vector for each chunk of the files."""
    of_files = [file if isinstance(file, File) else File(file) for file in files.values()]
    made = {text_hash(line): vector(line.content) for file in of_files for line in tree.lines(file)}
    await vectors.store(tree.database, embedder_id, made)


async def index(tree: Tree, embedder_id: int, files: Files) -> IndexResult:
    manifest = await tree.open(embedder_id=embedder_id)
    await tree.plan(manifest, files)
    await embed(tree, embedder_id, files)
    await tree.settle(manifest, files)
    return await tree.publish(manifest)


async def count(database: Database, table: str) -> int:
    async with database.connection() as connection:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))


async def execute(database: Database, query: str, *arguments: object) -> None:
    async with database.connection() as connection:
        await connection.execute(query, *arguments)


async def left(tree: Tree, manifest: Manifest) -> int:
    total, done = await Manifests(tree.database).progress(manifest.manifest_id)
    return total - done


class TestTables:
    async def test_a_project_without_an_embedder_needs_no_extension(self, project: Database, tree: Tree):
        assert (await tree.index({"a": "1"})).status == "success"
        async with project.connection() as connection:
            assert await connection.fetchval("SELECT to_regclass('vectors')") is None
            assert await connection.fetchval("SELECT true FROM pg_extension WHERE extname = 'vector'") is None
        assert await collect_vectors(project, NO_TIME) == 0

    async def test_many_may_prepare_an_embedder_first(self, project: Database):
        found = await asyncio.gather(*(vectors.prepare(project, embedder()) for _ in range(5)))
        assert len(set(found)) == 1
        assert await vectors.prepare(project, embedder("two")) != found[0]
        assert await vectors.prepare(project, embedder(dimensions=4)) != found[0]

    @pytest.mark.parametrize(
        ("found", "message"),
        [
            ("NULL::text", 'lacks the extension "vector".*install pgvector'),
            ("'0.7.4'", 'extension "vector" of PostgreSQL is version 0.7.4, and vectors need 0.8'),
        ],
    )
    async def test_what_postgresql_lacks_is_named(self, project: Database, found: str, message: str):
        """As where no package has it, or an old one."""
        await execute(
            project,
            "CREATE SCHEMA shadow; CREATE VIEW shadow.pg_available_extensions AS "
            f"SELECT 'vector'::name AS name, {found} AS default_version; "
            f'ALTER DATABASE "{project.name}" SET search_path = shadow, pg_catalog, public',
        )
        await project.close()
        with pytest.raises(VectorsUnsupported, match=message):
            await vectors.prepare(project, embedder())

    async def test_vectors_are_stored_once_and_stay_as_they_are(self, project: Database):
        embedder_id = await vectors.prepare(project, embedder())
        hashes = [hashlib.sha256(bytes([number])).digest() for number in range(4)]
        made = dict(zip(hashes, map(vector, "abcd"), strict=True))
        await asyncio.gather(*(vectors.store(project, embedder_id, made) for _ in range(4)))
        await vectors.store(project, embedder_id, {key: [1.0, 0.0, 0.0] for key in hashes})
        await vectors.store(project, embedder_id, {})
        assert await vectors.known(project, embedder_id, [*hashes, b"other"]) == set(hashes)
        assert await vectors.known(project, embedder_id + 1, hashes) == set()
        async with project.connection() as connection:
            rows = await connection.fetch("SELECT content_hash, embedding::real[] AS numbers FROM vectors")
        for row in rows:
            assert row["numbers"] == pytest.approx(made[row["content_hash"]], abs=0.001)

    def test_what_is_embedded_is_read_back_from_the_row(self):
        rows = encoded([Line(3, "ä\r\nb", symbol="Größe.fmt"), Line(7, "", symbol=""), Line(9, "c")])
        assert [text_to_embed(row).decode() for row in rows] == ["Größe.fmt\nä\r\nb", "\n", "c"]
        assert [lines(row) for row in rows] == [(3, 3), (7, 7), (9, 9)]


class TestManifests:
    async def test_all_chunks_of_a_manifest_have_a_vector(self, project: Database, tree: Tree):
        embedder_id = await vectors.prepare(project, embedder())
        assert (await index(tree, embedder_id, {"a": "1", "b": "2", "c": "1"})).status == "success"
        assert await count(project, "chunks") == await count(project, "chunk_vectors") == 4
        assert await count(project, "vectors") == 3  # a line is the same in both

    async def test_a_chunk_without_a_vector_cannot_be_stored(self, project: Database, tree: Tree):
        manifest = await tree.open(embedder_id=await vectors.prepare(project, embedder()))
        await tree.plan(manifest, {"a": "1"})
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await tree.settle(manifest, {"a": "1"})
        assert await left(tree, manifest) == 1

    @pytest.mark.parametrize(
        "lie",
        [
            "DELETE FROM chunk_vectors WHERE ordinal = 1",
            "DELETE FROM chunk_vectors WHERE ordinal = 0",
            "INSERT INTO chunks SELECT blob_id, 7, 1, 1, 'text', NULL, 'more', '' FROM chunks LIMIT 1",
            """
            INSERT INTO embedders (embedder) VALUES ('{}');
            INSERT INTO vectors SELECT currval('embedders_id_seq'), content_hash, embedding FROM vectors LIMIT 1;
            UPDATE chunk_vectors SET embedder_id = currval('embedders_id_seq')
            WHERE content_hash IN (SELECT content_hash FROM vectors GROUP BY 1 HAVING count(*) > 1)
            """,
        ],
    )
    async def test_a_manifest_that_lacks_a_vector_cannot_be_published(self, project: Database, tree: Tree, lie: str):
        embedder_id = await vectors.prepare(project, embedder())
        manifest = await tree.open(embedder_id=embedder_id)
        await tree.plan(manifest, {"a": "1"})
        await embed(tree, embedder_id, {"a": "1"})
        await tree.settle(manifest, {"a": "1"})
        await execute(project, lie)
        for query in (PUBLISH, "UPDATE manifests SET result = '{}' WHERE id = $1"):
            with pytest.raises(StateRefused, match="has chunks without a vector"):
                await execute(project, query, manifest.manifest_id)
        with pytest.raises(StateRefused, match="has chunks without a vector"):
            await tree.publish(manifest)
        assert await tree.visible() == {}

    async def test_a_manifest_keeps_its_embedder(self, project: Database, tree: Tree):
        manifest = await tree.open(embedder_id=await vectors.prepare(project, embedder()))
        with pytest.raises(StateRefused, match="cannot change its embedder"):
            await execute(project, "UPDATE manifests SET embedder_id = NULL WHERE id = $1", manifest.manifest_id)
        found = await vectors.of_manifest(project, manifest.manifest_id)
        assert found is not None
        assert found.embedder == embedder()

    async def test_a_vector_that_a_chunk_has_cannot_be_deleted(self, project: Database, tree: Tree):
        await index(tree, await vectors.prepare(project, embedder()), {"a": "1"})
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await execute(project, "DELETE FROM vectors")

    async def test_with_another_embedder_everything_is_indexed_anew(self, project: Database, tree: Tree):
        one, two = [await vectors.prepare(project, embedder(name)) for name in ("one", "two")]
        files: Files = {"a": "1", "b": "2"}
        await tree.index(files)
        for embedder_id in (one, two, None, one):
            manifest = await tree.open(embedder_id=embedder_id)
            await tree.plan(manifest, files)
            assert await left(tree, manifest) == 2
            if embedder_id is not None:
                await embed(tree, embedder_id, files)
            await tree.settle(manifest, files)
            result = await tree.publish(manifest)
            assert (result.status, result.files_unchanged) == ("success", 2)
        assert await count(project, "blobs") == 6  # of two embedders, and of none
        manifest = await tree.open(embedder_id=one)
        await tree.plan(manifest, files)
        assert await left(tree, manifest) == 0

    async def test_a_retry_of_the_scan_finds_the_embedder_of_the_first(self, project: Database, tree: Tree):
        job_id = str(uuid4())
        one, two = [await vectors.prepare(project, embedder(name)) for name in ("one", "two")]
        manifest = await tree.open(embedder_id=one, job_id=job_id)
        assert await tree.open(embedder_id=two, job_id=job_id) == manifest
        assert (await vectors.of_manifest(project, manifest.manifest_id) or (0,))[0] == one


class TestRetention:
    async def test_vectors_go_with_the_last_chunk_that_has_them(self, project: Database, server: Server, tree: Tree):
        one, two = [await vectors.prepare(project, embedder(name)) for name in ("one", "two")]
        await index(tree, one, {"a": "1", "b": "2"})
        await vectors.index(project, vectors.StoredEmbedder(one, embedder("one")))
        await index(tree, two, {"a": "1"})
        await collect_manifests(project, server.registry, NO_TIME)
        assert await collect_vectors(project, NO_TIME) == 0
        await collect_blobs(project)
        assert await collect_vectors(project, timedelta(days=1)) == 0  # they may be those of a job that is held up
        assert await collect_vectors(project, NO_TIME) == 3
        assert await count(project, "vectors") == 2
        async with project.connection() as connection:
            assert await connection.fetchval(f"SELECT to_regclass('vectors_of_{one}')") is None
        await index(tree, one, {"a": "1"})

    async def test_a_vector_that_a_batch_is_about_to_use_stays(self, project: Database):
        embedder_id = await vectors.prepare(project, embedder())
        hashes = [hashlib.sha256(bytes([number])).digest() for number in range(2)]
        await vectors.store(project, embedder_id, {key: [1.0, 0.0, 0.0] for key in hashes})
        async with project.transaction() as connection:
            assert await vectors.hold(connection, embedder_id, hashes[:1])
            assert await collect_vectors(project, NO_TIME) == 1
        async with project.transaction() as connection:
            assert not await vectors.hold(connection, embedder_id, hashes)


class TestSearching:
    async def test_the_nearest_chunks_of_what_is_published_are_found(self, project: Database, tree: Tree):
        embedder_id = await vectors.prepare(project, embedder())
        await index(tree, embedder_id, {f"{number}": f"{number}" for number in range(9)})
        await vectors.index(project, vectors.StoredEmbedder(embedder_id, embedder()))
        await index(tree, embedder_id, {"5": "5", "6": "6", "7": "7"})
        async with searched(project) as found:
            assert found is not None
            (manifest,) = await found.manifests()
            assert await found.embedded(embedder()) == {manifest.manifest_id: embedder_id}
            assert await found.embedded(embedder("two")) == {}
            meaning = Meaning(embedder_id, vector("5"))
            nearest = await found.nearest(meaning, Filter([manifest.manifest_id], "^[56]$"), 10)
            assert await found.similarities(meaning, [*nearest]) == pytest.approx(nearest)
        assert len(nearest) == 4
        best = max(nearest, key=lambda key: nearest[key])
        assert nearest[best] == pytest.approx(1, abs=0.001)
        async with project.connection() as connection:
            query = "SELECT content FROM chunks WHERE blob_id = $1 AND ordinal = $2"
            assert await connection.fetchval(query, *best) == "5"

    async def test_the_nearest_are_found_by_the_index(self, project: Database, postgres: Postgres):
        """Where there are few, to compare them all is quicker, and PostgreSQL does so."""
        embedder_id = await vectors.prepare(project, embedder())
        await fill(project, embedder_id, 20_000)
        await vectors.index(project, vectors.StoredEmbedder(embedder_id, embedder()))
        await log_plans(project)
        await project.close()
        log = PlanLog(postgres)
        async with searched(project) as found:
            assert found is not None
            assert len(await nearest(found, embedder_id)) == 100
        scans = log.scans()
        assert {scan.by for scan in scans if scan.table == "vectors"} == {f"vectors_of_{embedder_id}"}
        assert not [scan for scan in scans if scan.node == "Seq Scan" or scan.rows > 1_000]


async def nearest(found: SearchedIndex, embedder_id: int) -> Sequence[object]:
    meaning = Meaning(embedder_id, vector("anything"))
    return [*await found.nearest(meaning, Filter([1]), 100)]


async def fill(database: Database, embedder_id: int, chunks: int) -> None:
    """A published index, as far as a search looks at it."""
    async with database.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(
            f"""
            INSERT INTO files (manifest_id, ordinal, path, size, outcome, blob_id)
            SELECT 1, number, number, 1, 'indexed', number FROM generate_series(1, {chunks // 10}) AS number;
            INSERT INTO chunks SELECT blob, ordinal, 1, 1, 'text', NULL, '', ''
            FROM generate_series(1, {chunks // 10}) AS blob, generate_series(0, 9) AS ordinal;
            INSERT INTO vectors SELECT {embedder_id}, sha256(convert_to(number::text, 'UTF8')),
                ARRAY[random() - 0.5, random() - 0.5, random() - 0.5]::real[]::halfvec
            FROM generate_series(10, {chunks + 9}) AS number;
            INSERT INTO chunk_vectors
            SELECT blob_id, ordinal, {embedder_id}, sha256(convert_to((10 * blob_id + ordinal)::text, 'UTF8'))
            FROM chunks
            """
        )
        for table in ("files", "chunks", "vectors", "chunk_vectors"):
            await connection.execute(f"ANALYZE {table}")


class TestProjects:
    async def test_the_embedder_of_a_project_can_be_set_changed_and_taken_away(self, server: Server):
        projects = Projects(server)
        created = await projects.create("web", embedder())
        assert created.embedder == embedder()
        assert [one.embedder for one in await projects.list()] == [embedder()]
        for other in (embedder("two", 4), None, embedder()):
            assert (await projects.set_embedder("web", other)).embedder == other
            assert (await projects.find("web")).embedder == other
        assert (await projects.set_embedder("default", embedder())).id == "default"
        with pytest.raises(ProjectNotFound):
            await projects.set_embedder("other", embedder())

    async def test_the_embedder_stays_while_a_job_runs(self, server: Server):
        projects = Projects(server)
        await projects.create("web", embedder())
        await Registry(server.registry).record(job_record("running", project_id="web"))
        with pytest.raises(ProjectInUse):
            await projects.set_embedder("web", None)
        assert (await projects.find("web")).embedder == embedder()

    @pytest.mark.parametrize(
        "lie",
        [
            "{}",
            "null",
            '"ollama"',
            '{"provider": "ollama", "model": "m"}',
            '{"provider": "ollama", "dimensions": 3}',
            '{"provider": "ollama", "model": " ", "dimensions": 3}',
            '{"model": "m", "dimensions": 3}',
            '{"provider": "ollama", "model": "m", "dimensions": "3"}',
            '{"provider": "ollama", "model": "m", "dimensions": 0}',
            '{"provider": "ollama", "model": "m", "dimensions": 4001}',
            '{"provider": "openai", "model": "m", "dimensions": 3, "api_key": "secret"}',
        ],
    )
    async def test_the_registry_refuses_half_an_embedder_and_anything_beside_it(self, server: Server, lie: str):
        await Projects(server).create("web")
        with pytest.raises(StateRefused, match="embedder_is_whole"):
            await execute(server.registry, "UPDATE projects SET embedder = $1", lie)
