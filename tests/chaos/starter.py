"""`starter.py PATH PROJECT COUNT`: start one job COUNT times at once by the Python API; print what each was told.

A program of its own: the campaign imports nothing of verdex.
"""

import asyncio
import json
import sys

from verdex.client import JobHandle, Verdex


async def main() -> None:
    """One job id for each start, or what it raised."""
    path, project, count = sys.argv[1:]
    async with await Verdex.connect() as verdex:
        starts = (verdex.index(path, project_id=project) for _ in range(int(count)))
        told = await asyncio.gather(*starts, return_exceptions=True)
    sys.stdout.write(json.dumps([one.job_id if isinstance(one, JobHandle) else repr(one) for one in told]))


if __name__ == "__main__":
    asyncio.run(main())
