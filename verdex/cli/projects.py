"""Commands about projects."""

import sys

import click

from verdex.cli import options, output, session


@click.group()
def project() -> None:
    """Create, list and drop projects: isolated workspaces with a database each."""


@project.command()
@click.argument("name")
def create(name: str) -> None:
    """Create a project."""
    made = session.run(lambda verdex: verdex.projects.create(name))
    click.echo(f"project {made.id} is ready (database {made.database_name})")


@project.command("list")
@options.as_json
def list_projects(*, as_json: bool) -> None:
    """List the projects."""
    found = session.run(lambda verdex: verdex.projects.list())
    if as_json:
        output.show_document([{**one._asdict(), "created_at": one.created_at.isoformat()} for one in found])
        return
    for one in found:
        click.echo(f"{one.id}  {one.database_name}  {output.local_time(one.created_at)}")


@project.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask. Without a terminal, nobody is asked.")
def drop(name: str, *, yes: bool) -> None:
    """Drop a project with all that was indexed into it. Its jobs stay in the list."""
    if not yes and sys.stdin.isatty():
        click.confirm(f"Drop project {name} and all that was indexed into it?", abort=True, err=True)
    session.run(lambda verdex: verdex.projects.drop(name))
    click.echo(f"project {name} is dropped")
