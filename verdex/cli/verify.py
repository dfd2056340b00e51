"""The command `verify`."""

import sys
from pathlib import Path
from typing import NoReturn

import click

from verdex.cli import options, output, session
from verdex.cli.terminal import styled
from verdex.contracts import DEFAULT_PROJECT, Verification


@click.command()
@click.argument("path", type=options.RepositoryPath())
@click.option("--project", "project_id", default=DEFAULT_PROJECT, show_default=True, help="The project it is in.")
@options.as_json
def verify(path: Path, project_id: str, *, as_json: bool) -> NoReturn:
    """Check that what the last completed job claimed of the repository at PATH is true now.

    Every byte of the source and of the index is read again, on this machine; nothing is changed. Exit code 0: it is
    true; 1: it is not, and each difference is a line.
    """
    found = session.run(lambda verdex: verdex.verify(path, project_id=project_id))
    if as_json:
        output.show_document({"ok": found.ok, **found.model_dump(mode="json")})
    else:
        for warning in found.warnings:
            click.echo(output.printable(f"verdex: {warning}"), err=True)
        click.echo(_true(found) if found.ok else _not_true(found))
    sys.exit(0 if found.ok else 1)


def _true(found: Verification) -> str:
    held = f"{output.plural(found.files, 'file')} and {output.plural(found.chunks, 'chunk')} of job {found.job_id}"
    verdict = styled("true", colour="green", bold=True)
    return f"{verdict}  {held} are what the source holds; digest {found.manifest_digest}"


def _not_true(found: Verification) -> str:
    count = output.plural(found.differences_total, "difference")
    verdict = styled("not true", colour="red", bold=True)
    lines = [f"{verdict}  {count} between job {found.job_id}, the index and the source"]
    lines += map(output.printable, found.differences)
    if more := found.differences_total - len(found.differences):
        lines.append(f"… and {more:,} more")
    return "\n".join(lines)
