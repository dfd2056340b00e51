"""Commit message → changed function: the subject of a commit finds what it changed, in this repository itself.

To index the tree before each commit would take as many indexes as there are commits, so one tree is indexed, HEAD, and
right is any function or method of HEAD of which the commit is, as `git blame` tells, the last that changed a line. What
later commits wrote over entirely is nobody's answer. A commit is taken if it changed at most ten functions when it was
made, its subject has four words or more without its conventional prefix, and it has a right answer; merges are not.
Only Python counts. Functions of tests are as right as others: they are what a commit changed, too.
"""

import os
import re
import shutil
import subprocess
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.quality.definitions import functions, module, sources
from benchmarks.quality.docstrings import FEWEST_WORDS, words
from benchmarks.quality.sets import Place, Query, QuerySet
from benchmarks.trees import commit

NAME: Final = "commits"
MOST_FUNCTIONS: Final = 10
HERE: Final = Path(__file__).parents[2]
_PREFIX: Final = re.compile(r"^\w+(\([^)]*\))?!?: +")
_BLAMED: Final = re.compile(r"^([0-9a-f]{40,64}) \d+ (\d+)", re.MULTILINE)
_CHANGED_FILE: Final = re.compile(r"^\+\+\+ b/(.*?)\t?$")
_CHANGED_LINES: Final = re.compile(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@")


def make(to: Path) -> QuerySet:
    """The set of the repository that this file is in; the tree to index is made at `to`."""
    return made(HERE, to)


def made(repository: Path, to: Path) -> QuerySet:
    """The set of a history."""
    _export(repository, to)
    right = blamed(repository, to)
    queries = [
        Query(subject, right[commit_id])
        for commit_id, subject in subjects(repository)
        if commit_id in right
        and len(words(subject)) >= FEWEST_WORDS
        and len(changed(repository, commit_id)) <= MOST_FUNCTIONS
    ]
    return QuerySet(NAME, to, queries)


def subjects(repository: Path) -> Iterator[tuple[str, str]]:
    """The commits, and what each says of itself."""
    for line in _git(repository, "log", "--no-merges", "--format=%H %s").splitlines():
        commit_id, _, subject = line.partition(" ")
        yield commit_id, _PREFIX.sub("", subject)


def blamed(repository: Path, root: Path) -> Mapping[str, Sequence[Place]]:
    """The functions of HEAD that hold a line of a commit, by its id."""
    found = defaultdict[str, list[Place]](list)
    for path, source in sources(root):
        told = _git(repository, "blame", "-w", "--porcelain", "HEAD", "--", path)
        authors = {int(line): commit_id for commit_id, line in _BLAMED.findall(told)}
        for place in _functions(path, source):
            for commit_id in {authors[line] for line in range(place.start_line, place.end_line + 1)}:
                found[commit_id].append(place)
    return found


def changed(repository: Path, commit_id: str) -> list[Place]:
    """The functions, as they were after a commit, of which it changed a line."""
    lines = _changed_lines(_git(repository, "show", "--format=", "--unified=0", "-M", "-w", commit_id, "--", "*.py"))
    return [
        place
        for path, touched in lines.items()
        for place in _functions(path, _git(repository, "show", f"{commit_id}:{path}"))
        if any(place.overlaps(one) for one in touched)
    ]


def _functions(path: str, source: str) -> list[Place]:
    """Those that are not inside of others."""
    parsed = module(source)
    return [each.place(path) for each in functions(parsed) if not each.is_local] if parsed else []


def _changed_lines(diff: str) -> Mapping[str, Sequence[Place]]:
    """Runs of lines of the new files. Where lines were only removed, it is the line above."""
    found, path = dict[str, list[Place]](), ""
    for line in diff.splitlines():
        if named := _CHANGED_FILE.match(line):
            path = named[1]
        elif run := _CHANGED_LINES.match(line):
            first, length = int(run[1]), int(run[2] or 1)
            found.setdefault(path, []).append(Place(path, first, first + max(length, 1) - 1))
    return found


def _export(repository: Path, to: Path) -> None:
    """HEAD without its history, and as a repository again."""
    archive = to.with_suffix(".tar")
    _git(repository, "archive", "--format=tar", f"--output={archive}", "HEAD")
    with tarfile.open(archive) as opened:
        opened.extractall(to, filter="data")
    archive.unlink()
    commit(to)


def _git(repository: Path, *arguments: str) -> str:
    program = shutil.which("git") or "git"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        [program, "-C", repository, "-c", "core.quotePath=off", *arguments],
        env=environment | {"GIT_CONFIG_GLOBAL": os.devnull},
        capture_output=True,
        check=True,
    )
    return done.stdout.decode(errors="replace")
