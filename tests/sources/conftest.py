import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

NOBODY = 65534


@pytest.fixture(autouse=True)
def no_settings_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def root() -> Iterator[Path]:
    """Give an empty directory that every user may enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="verdex-tree-") as name:
        Path(name).chmod(0o755)
        path = Path(name).resolve() / "tree"
        path.mkdir()
        yield path


@pytest.fixture
def fill(root: Path) -> Callable[[dict[str, str]], None]:
    """Write files, given as path: content; missing directories are made."""

    def write(files: dict[str, str]) -> None:
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    return write


@pytest.fixture
def git(root: Path) -> Callable[..., bytes]:
    """Run git in the tree."""

    def run(*arguments: str, cwd: Path = root) -> bytes:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, cwd=cwd, check=True, capture_output=True).stdout

    return run


@pytest.fixture
def ordinary_user() -> Callable[[], AbstractContextManager[None]]:
    """Give up the rights of root for a while: root can read everything."""

    @contextmanager
    def rights() -> Iterator[None]:
        if os.geteuid() != 0:
            yield
            return
        os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)

    return rights
