"""The command as a user runs it: a process of its own, a home of its own, and nothing else in the environment."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil
import pytest

from tests.chaos.stack import runs
from tests.conftest import DEADLINE
from verdex.local.postgres import Postgres

VERDEX = Path(sys.executable).with_name("verdex")
COMMAND_SECONDS = 180.0

beside: list["subprocess.Popen[str]"] = []
"""The commands that run beside a test."""


class Ended(NamedTuple):
    """What is left of a command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Command:
    """`verdex` with one home."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("VERDEX_", "TEMPORAL_", "OTEL_", "GIT_"))
        }
        self.environment = {**kept, "VERDEX_HOME": str(home), **environment}

    def __call__(self, *arguments: object, cwd: Path | None = None, **environment: str) -> Ended:
        """Run a command to its end; none may show its insides."""
        done = subprocess.run(
            [VERDEX, *map(str, arguments)],
            env={**self.environment, **environment},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert_is_for_people(done.stderr)
        return Ended(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: object, **options: Any) -> "subprocess.Popen[str]":
        """Run a command beside the test."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        environment = {**self.environment, **options.pop("env", {})}
        process = subprocess.Popen([VERDEX, *map(str, arguments)], env=environment, text=True, **options)
        beside.append(process)
        return process

    def web(self, place: str) -> str:
        """What the Web UI gets from its server."""
        port = json.loads((self.home / "run" / "temporal.json").read_text())["details"]["ui_port"]

        def answer() -> str | None:
            try:
                with urlopen(f"http://127.0.0.1:{port}{place}") as response:
                    return str(response.read(), "utf-8")
            except HTTPError as error:
                if error.code != HTTPStatus.SERVICE_UNAVAILABLE:  # it has only just been started
                    raise
                return None

        return str(eventually(answer))

    def processes(self) -> dict[str, psutil.Process]:
        """The parts of the stack that run, and nobody else's."""
        data = self.home / "postgres" / "data"
        found = {}
        with suppress(OSError, psutil.Error):
            postmaster = psutil.Process(int((data / "postmaster.pid").read_text().split("\n")[0]))
            if str(data) in postmaster.cmdline():
                found["postgres"] = postmaster
        for path in (self.home / "run").glob("*.json"):
            record = json.loads(path.read_text())
            with suppress(psutil.Error):
                process = psutil.Process(record["pid"])
                if process.create_time() == record["created"] and runs(process):
                    found[path.stem] = process
        return found

    def kill(self, *parts: str) -> None:
        """End parts of the stack as a crash would, PostgreSQL with its children."""
        running = self.processes()
        for part in parts:
            process = running[part]
            family = [process, *(process.children() if part == "postgres" else [])]
            for one in family:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            await_end(family)

    def discard(self) -> None:
        """End all parts in no time."""
        running = self.processes()
        for name, process in running.items():
            process.send_signal(signal.SIGQUIT if name == "postgres" else signal.SIGKILL)
        await_end(running.values())
        with suppress(OSError):
            Postgres(self.home).socket_directory.rmdir()


def await_end(processes: Iterable[psutil.Process]) -> None:
    eventually(lambda: not any(map(runs, processes)))


def assert_is_for_people(text: str) -> None:
    for inside in ("Traceback", "Error:", "Fatal Python"):
        assert inside not in text or "Usage:" in text, text


def eventually(condition: Callable[[], Any], seconds: float = DEADLINE) -> Any:
    """What `condition` gives when it is true at last."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)
    return found


def write(root: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


@pytest.fixture(autouse=True)
def _no_command_outlives_its_test() -> Iterator[None]:
    yield
    while beside:
        with beside.pop() as process:
            process.kill()


@pytest.fixture(scope="session", name="eventually")
def _eventually() -> Callable[..., Any]:
    return eventually


@pytest.fixture(scope="session", name="runs")
def _runs() -> Callable[[psutil.Process], bool]:
    return runs


@pytest.fixture(scope="session", name="write")
def _write() -> Callable[..., Path]:
    return write


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A directory with a short path, for sockets, that other users can enter."""
    directory = Path(tempfile.mkdtemp(prefix="vx-")).resolve()
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def tree(scratch: Path) -> Path:
    """A repository that no test changes: 4 files to index, 1 to skip, 2 to ignore."""
    return write(
        scratch / "tree",
        {
            ".gitignore": "*.log\nbuild/\n",
            "README.md": "# Title\n\nSome words.\n",
            "package/one.py": "def one():\n    return 1\n",
            "package/two.py": "class Two:\n    def two(self):\n        return 2\n",
            "image.bin": b"\0\1\2\3" * 100,
            "noise.log": "noise\n",
            "build/out.py": "out = 1\n",
        },
    )


class Fresh(NamedTuple):
    """What the first command on a fresh home did."""

    command: Command
    first: Ended


@pytest.fixture(scope="session")
def fresh(scratch: Path, tree: Path) -> Iterator[Fresh]:
    command = Command(scratch / "home")
    assert not command.home.exists()
    yield Fresh(command, command("index", tree, "--json"))
    command.discard()


@pytest.fixture
def stack(fresh: Fresh) -> Command:
    """The stack that most tests share; `tree` is indexed."""
    return fresh.command


@pytest.fixture
def first(fresh: Fresh) -> Ended:
    """The first `index` of `tree`, on a home that did not exist."""
    return fresh.first


@pytest.fixture(scope="session")
def command(scratch: Path) -> Iterator[Callable[..., Command]]:
    """More homes; what is started in them is ended."""
    made: list[Command] = []

    def make(name: str, **environment: str) -> Command:
        made.append(Command(scratch / name, **environment))
        return made[-1]

    yield make
    for one in made:
        one.discard()
