"""A batch of files reads what it is about, however large the tree is, and the project."""

from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from typing import Final
from uuid import uuid4

from tests.storage.conftest import Line, new_database
from tests.storage.plans import PlanLog, log_plans
from verdex.contracts import Manifest
from verdex.local.postgres import Postgres
from verdex.storage import blobs
from verdex.storage.blobs import BlobKey
from verdex.storage.copying import encoded
from verdex.storage.database import Database
from verdex.storage.manifests import IndexedFile, Manifests, ScannedFile, settle

FILES: Final = 20_000
BATCH: Final = 32
TIMES: Final = 7
"""From the sixth time on, PostgreSQL may keep a plan; the tables are small then."""
MOST_ROWS: Final = 10 * BATCH
GROWING: Final = {"files", "blobs", "chunks"}
_GROW: Final = """
INSERT INTO blobs (content_hash, language, pipeline_version, manifest_id)
SELECT sha256(convert_to('other ' || n, 'UTF8')), 'python', 1, $1 FROM generate_series(1, $2::int) AS n
"""


async def scanned() -> AsyncIterator[ScannedFile]:
    for number in range(FILES):
        yield ScannedFile(f"{number}.py", 1, "state", None, None)


async def index(database: Database, manifest: Manifest, ordinals: Sequence[int]) -> None:
    """What is asked for a batch of files."""
    keys = {ordinal: BlobKey(sha256(str(ordinal).encode()).digest(), "python") for ordinal in ordinals}
    known = await blobs.known(database, manifest.manifest_id, keys.values())
    new = {key: encoded([Line(1, "x = 1")]) for key in keys.values() if key not in known}
    async with database.transaction() as connection:
        held = await blobs.hold(connection, manifest.manifest_id, known)
        ids = {**held, **await blobs.store(connection, manifest.manifest_id, new)}
        files = [IndexedFile(ordinal, 1, "state", "indexed", None, ids[key]) for ordinal, key in keys.items()]
        await settle(connection, manifest.manifest_id, files)


async def test_a_batch_reads_no_more_though_the_tables_have_grown_since_it_was_first_asked(postgres: Postgres):
    async with new_database(postgres, "project") as database:
        await log_plans(database)
        await database.close()
        manifests = Manifests(database)
        manifest = await manifests.open(str(uuid4()), "/large", force_reindex=False, pipeline_version=1)
        for _ in range(TIMES):
            await index(database, manifest, [])
        await manifests.plan(manifest.manifest_id, scanned())
        async with database.connection() as connection:
            await connection.execute(_GROW, manifest.manifest_id, FILES)
        log = PlanLog(postgres)
        for first in range(0, TIMES * BATCH, BATCH):
            await index(database, manifest, range(first, first + BATCH))
        scans = [scan for scan in log.scans() if scan.table in GROWING]
    assert {scan.table for scan in scans} == {"files", "blobs"}  # chunks are only written
    assert [scan for scan in scans if scan.rows > MOST_ROWS] == []
