import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from verdex.sources import git as git_module
from verdex.sources.errors import RootUnreadable
from verdex.sources.paths import to_text
from verdex.sources.working_tree import scan

NAMES = (
    "a.o", "a.c", "keep.o", "build", "lib/build/x.c", "lib/a.o", "lib/deep/er/a.c", "src/build/a.c", "src/out/keep/a.c",
    "src/out/a.c", "a b", "trailing ", "trailing", "#hash", "!bang", "*", "[x]", "x", "new\nline", "größe", "Upper/A.O",
    "back\\slash", "q/w/e/r", "q/e/r", "only/a.o", "only/deep/b.o",
)  # fmt: skip
RULES = {
    "by suffix": {".gitignore": "*.o\n"},
    "negated": {".gitignore": "*.o\n!keep.o\n"},
    "negated, then ignored again": {".gitignore": "!keep.o\nkeep.*\n"},
    "anchored": {".gitignore": "/build\n/a.c\n"},
    "directories only": {".gitignore": "build/\n"},
    "a path in the middle": {".gitignore": "src/out\nlib/*.o\n"},
    "nothing comes back into an ignored directory": {".gitignore": "src/out/\n!src/out/keep/a.c\n"},
    "but into one whose entries are ignored": {".gitignore": "src/out/*\n!src/out/keep/\n"},
    "everything but": {".gitignore": "*\n!*/\n!*.c\n"},
    "stars over directories": {".gitignore": "**/build\nlib/**/a.c\nq/**/r\n"},
    "stars at the end": {".gitignore": "src/**\n!src/out/\n"},
    "stars in a name": {".gitignore": "a**c\n***.o\n"},
    "escaped": {".gitignore": "\\#hash\n\\!bang\n\\*\n\\[x\\]\nback\\\\slash\n"},
    "comment": {".gitignore": "#hash\n"},
    "trailing spaces": {".gitignore": "a.c  \ntrailing\\ \n"},
    "brackets": {".gitignore": "[!a-w]\n[[:upper:]]*/\n"},
    "unfinished": {".gitignore": "[a\na.c\\\n!\n/\n\n"},
    "question marks": {".gitignore": "?\nnew?line\ngr???e\n"},
    "line ends of DOS and a mark of UTF-8": {".gitignore": "\ufeffa.c\r\nbuild/\r\n"},
    "nested": {".gitignore": "*.c\n", "src/.gitignore": "!a.c\n/out/\n", "lib/deep/.gitignore": "!er/a.c\n"},
    "nested with stars": {".gitignore": "*.o\n", "only/.gitignore": "*\n"},
}
WITHOUT_GIT = "no git program"
NO_REPOSITORY = "no repository"


@pytest.fixture
def without_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    return lambda: monkeypatch.setenv("PATH", str(tmp_path))


def scanned(root: Path) -> set[str]:
    return {file.path for file in scan(root, max_file_bytes=1000)}


@pytest.fixture
def kept_by_git(git):
    """Ask git in another way than the program does: for what it does not ignore."""

    def listed(cwd: Path) -> set[str]:
        names = git("ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=cwd).split(b"\0")[:-1]
        return {to_text(name) for name in names}

    return listed


@pytest.mark.parametrize("way", ["repository", NO_REPOSITORY, WITHOUT_GIT])
@pytest.mark.parametrize("rules", RULES.values(), ids=RULES.keys())
def test_the_same_files_are_kept_as_git_keeps(rules, way, *, root, fill, git, kept_by_git, without_git):
    fill(dict.fromkeys(NAMES, "") | rules)
    git("init", "-q")
    expected = kept_by_git(root)
    if way == NO_REPOSITORY:
        (root / ".git").rename(root.parent / "git")
    if way == WITHOUT_GIT:
        without_git()
    assert scanned(root) == expected


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES.keys())
def test_what_is_left_out_is_what_check_ignore_names(rules, root, fill, git):
    fill(dict.fromkeys(NAMES, "") | rules)
    git("init", "-q")
    everything = {*map(to_text, map(os.fsencode, (*NAMES, *rules)))}
    command = ["git", "check-ignore", "--stdin", "-z"]
    asked = "\0".join("./" + name for name in (*NAMES, *rules)).encode()
    named = subprocess.run(command, cwd=root, input=asked, capture_output=True, check=False).stdout
    ignored = {to_text(name.removeprefix(b"./")) for name in named.split(b"\0")[:-1]}
    assert everything - scanned(root) == ignored


def test_a_tracked_file_is_kept_whatever_the_rules_say(root, fill, git):
    fill({".gitignore": "*.o\nbuild/\n", "a.o": "", "b.o": "", "build/a.c": "", "build/b.c": "", "build/sub/c.c": ""})
    git("init", "-q")
    git("add", "--force", "a.o", "build/a.c")
    assert scanned(root) == {".gitignore", "a.o", "build/a.c"}


@pytest.mark.parametrize("git_program", [True, False])
def test_rules_of_the_clone_count(git_program, root, fill, git, without_git):
    fill({"a.c": "", "b.c": "", ".gitignore": "!b.c\n"})
    git("init", "-q")
    (root / ".git" / "info" / "exclude").write_text("*.c\n")
    if not git_program:
        without_git()
    assert scanned(root) == {".gitignore", "b.c"}


def test_rules_of_the_user_count(root, fill, git, tmp_path):
    (tmp_path / "mine").write_text("*.swp\n")
    (tmp_path / "gitconfig").write_text(f"[core]\nexcludesFile = {tmp_path / 'mine'}\n")
    fill({"a.c": "", "a.swp": ""})
    assert scanned(root) == {"a.c"}
    git("init", "-q")
    assert scanned(root) == {"a.c"}


@pytest.mark.parametrize("git_program", [True, False])
def test_a_nested_repository_has_rules_of_its_own(git_program, root, fill, git, without_git):
    fill({".gitignore": "*.o\nhidden/\n", "a.o": "", "nested/a.o": "", "nested/a.c": "", "nested/.gitignore": "*.c\n"})
    fill({"hidden/a.c": ""})
    for directory in (root, root / "nested", root / "hidden"):
        git("init", "-q", cwd=directory)
    if not git_program:
        without_git()
    assert scanned(root) == {".gitignore", "nested/.gitignore", "nested/a.o"}


def test_a_submodule_and_a_linked_worktree_are_read_as_git_reads_them(root, fill, git):
    fill({"lib/.gitignore": "*.o\n", "lib/kept.o": "", "main.c": ""})
    git("init", "-q", cwd=root / "lib")
    git("add", "--force", ".", cwd=root / "lib")
    git("commit", "-qm", "lib", cwd=root / "lib")
    git("init", "-q")
    git("submodule", "--quiet", "add", "./lib", "lib")
    git("submodule", "absorbgitdirs")
    git("worktree", "add", "-q", "../../linked", cwd=root / "lib")
    (root / "lib" / "new.o").touch()
    (root.parent / "linked" / "new.o").touch()
    assert (root / "lib" / ".git").is_file()
    assert scanned(root) == {".gitmodules", "main.c", "lib/.gitignore", "lib/kept.o"}
    assert scanned(root.parent / "linked") == {".gitignore", "kept.o"}


@pytest.mark.parametrize("git_program", [True, False])
def test_the_rules_above_a_subdirectory_count(git_program, root, fill, git, without_git):
    fill({".gitignore": "/sub/one.c\n*.o\n", "sub/.gitignore": "/two.c\n"})
    fill(dict.fromkeys(("sub/one.c", "sub/two.c", "sub/a.o", "sub/kept.c", "sub/in/one.c"), ""))
    git("init", "-q")
    if not git_program:
        without_git()
    assert scanned(root / "sub") == {".gitignore", "kept.c", "in/one.c"}


@pytest.mark.parametrize("git_program", [True, False])
def test_an_ignored_directory_that_is_named_outright_is_read_by_its_own_rules(
    git_program, root, fill, git, without_git
):
    fill({".gitignore": "*\n", "project/.gitignore": "*.o\n", "project/a.c": "", "project/a.o": ""})
    git("init", "-q")
    if not git_program:
        without_git()
    assert scanned(root / "project") == {".gitignore", "a.c"}


@pytest.mark.parametrize("broken", ["", "gitdir: /nowhere\n"])
def test_a_broken_repository_still_has_its_gitignore(broken, root, fill):
    fill({".git": broken, ".gitignore": "*.o\n", "a.o": "", "in/.git": broken, "in/.gitignore": "x", "in/x": ""})
    assert scanned(root) == {".gitignore", "in/.gitignore"}


def test_a_directory_is_left_out_only_where_git_knows_all_that_is_in_it(root, fill, git):
    fill({".gitignore": "*.o\n", "out/a.o": ""})
    os.mkfifo(root / "out" / "fifo")
    git("init", "-q")
    assert scanned(root) == {".gitignore", "out/fifo"}


def test_names_that_are_not_utf_8_are_ignored_too(root, git):
    try:
        for name in (b"latin-\xe9.o", b"latin-\xe9.c"):
            (root / os.fsdecode(name)).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    (root / ".gitignore").write_bytes(b"latin-\xe9.o\n")
    assert scanned(root) == {".gitignore", "latin-\\xe9.c"}


def test_the_environment_of_another_repository_does_not_count(root, fill, git, monkeypatch):
    fill({".gitignore": "*.o\n", "a.o": ""})
    git("init", "-q")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    assert scanned(root) == {".gitignore"}


def test_a_repository_cannot_make_git_run_its_programs(root, fill, git):
    trace = root.parent / "ran"
    fill({".gitignore": "*.o\n", "a.o": "", "a.c": ""})
    git("init", "-q")
    git("add", ".")
    hook = root / ".git" / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {shlex.quote(str(trace))}\n")
    hook.chmod(0o755)
    for setting in ("core.fsmonitor", "core.pager", "pager.ls-files", "core.sshCommand", "core.askPass"):
        git("config", setting, str(hook))
    git("ls-files", "--others")
    assert trace.exists()
    trace.unlink()
    assert scanned(root) == {".gitignore", "a.c"}
    assert not trace.exists()


def test_a_repository_that_says_its_tree_is_elsewhere_is_not_believed(root, fill, git):
    fill({".gitignore": "*.o\n", "a.o": ""})
    git("init", "-q")
    git("config", "core.worktree", "/")
    assert scanned(root) == {".gitignore"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_repository_of_another_user_is_read(root, fill, git):
    fill({".gitignore": "*.o\n", "a.o": "", "kept.o": ""})
    git("init", "-q")
    git("add", "--force", "kept.o")
    for path in (root, *root.rglob("*")):
        os.chown(path, 65534, 65534)
    assert scanned(root) == {".gitignore", "kept.o"}


def test_a_program_called_git_in_the_tree_is_not_run(root, fill, monkeypatch):
    fill({"git": "#!/bin/sh\ntouch ran\n", "a.o": "", ".gitignore": "*.o\n"})
    (root / "git").chmod(0o755)
    monkeypatch.chdir(root.parent)
    monkeypatch.setenv("PATH", ".:" + os.environ["PATH"])
    assert scanned(root) == {"git", ".gitignore"}


def test_git_that_does_not_answer_is_an_error(root, git, monkeypatch):
    os.mkfifo(root / ".gitignore")
    git("init", "-q")
    monkeypatch.setattr(git_module, "TIMEOUT_SECONDS", 0.2)
    with pytest.raises(RootUnreadable, match=r"git did not list its ignored files within 0\.2 seconds$"):
        scanned(root)


def test_without_git_a_fifo_in_place_of_rules_is_no_rules(root, fill, without_git):
    fill({"a.o": ""})
    os.mkfifo(root / ".gitignore")
    without_git()
    assert scanned(root) == {".gitignore", "a.o"}
