import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from verdex.cli import cli, load

COMMANDS = [
    "index",
    "status",
    "jobs",
    "search",
    "files",
    "verify",
    "trace",
    "cancel",
    "project",
    "up",
    "down",
    "doctor",
    "worker",
    "mcp",
    "completion",
]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, prog_name="verdex")


def test_the_help_shows_how_to_begin_the_commands_and_the_exit_codes():
    help_text = run("--help").output
    assert "verdex index ~/src/project" in help_text
    assert "5 cannot reach the stack" in help_text
    assert all(f"\n  {command} " in help_text for command in COMMANDS)


@pytest.mark.parametrize("command", [*COMMANDS, "project create", "project embedder", "project list", "project drop"])
def test_every_command_has_help_with_a_first_sentence(command):
    shown = run(*command.split(), "--help")
    assert shown.exit_code == 0
    usage, text = shown.output.split("\n\n")[:2]
    assert usage.startswith(f"Usage: verdex {command}")
    assert text.strip().split("\n")[0]


@pytest.mark.parametrize("width", [45, 80, 200])
@pytest.mark.parametrize("command", COMMANDS)
def test_the_list_of_all_commands_says_of_each_what_its_own_help_says_first(command, width):
    assert cli.commands[command].get_short_help_str(width) == load(command).get_short_help_str(width)


def test_the_list_of_all_commands_is_complete():
    assert sorted(COMMANDS) == sorted(cli.commands)


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("nonsense",)], ids=" ".join)
def test_who_only_asks_what_there_is_waits_for_no_library_but_that_of_the_command_line(arguments):
    program = (
        "import atexit, sys; atexit.register(lambda: print(*sys.modules)); from verdex.__main__ import main; main()"
    )
    shown = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    imported = {name.partition(".")[0] for name in shown.stdout.split("\n")[-2].split()}
    assert "click" in imported
    assert not imported & {"asyncio", "asyncpg", "opentelemetry", "psutil", "pydantic", "rich", "temporalio"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("index",),
        ("index", ".", "--nonsense"),
        ("jobs", "--status", "done"),
        ("jobs", "--limit", "0"),
        ("files", ".", "--outcome", "lost"),
        ("search",),
        ("search", "x", "-k", "0"),
        ("search", "x", "-k", "101"),
        ("search", "x", "--offset", "-1"),
        ("search", "x", "--repo", ""),
        ("completion", "csh"),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_2_and_says_what_was_wrong(arguments):
    shown = run(*arguments)
    assert shown.exit_code == 2
    assert "Error: " in shown.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_of_a_shell_completes_the_command(shell):
    shown = run("completion", shell)
    assert shown.exit_code == 0
    assert "_VERDEX_COMPLETE" in shown.output
    assert "verdex" in shown.output


def test_the_version_is_that_of_the_package():
    assert run("--version").output.startswith("verdex ")
