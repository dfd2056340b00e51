"""Commands about projects."""

import sys
from typing import TYPE_CHECKING

import click

from verdex.cli import options, output, session
from verdex.contracts import Embedder

if TYPE_CHECKING:
    from verdex.client import Verdex
    from verdex.storage.projects import Project

_NAMED = "as ollama:nomic-embed-text, openai:MODEL (with its URL) or model2vec:/DIRECTORY"


@click.group()
def project() -> None:
    """Create, list and drop projects: isolated workspaces with a database each."""


@project.command()
@click.argument("name")
@click.option("--embedder", "spec", metavar="PROVIDER:MODEL", help=f"What searches by meaning are made with: {_NAMED}.")
@click.option("--embedder-url", "url", metavar="URL", help="Where the embedder is served.")
def create(name: str, spec: str | None, url: str | None) -> None:
    """Create a project. Without an embedder, searches in it go by words."""
    if spec is None and url is not None:
        raise click.UsageError("--embedder-url is that of an --embedder")

    async def make(verdex: "Verdex") -> "Project":
        embedder = None if spec is None else await verdex.embedder(spec, url)
        return await verdex.projects.create(name, embedder)

    made = session.run(make)
    searched = f"; searches go by {_described(made.embedder)}" if made.embedder else ""
    click.echo(f"project {made.id} is ready (database {made.database_name}){searched}")


@project.command()
@click.argument("name")
@click.argument("spec", required=False, metavar="[PROVIDER:MODEL]")
@click.option("--url", metavar="URL", help="Where the embedder is served.")
@click.option("--none", "remove", is_flag=True, help="Search by words only.")
def embedder(name: str, spec: str | None, url: str | None, *, remove: bool) -> None:
    """Show what searches by meaning are made with in a project, set it, or take it away.

    \b
      verdex project embedder default ollama:nomic-embed-text
      verdex project embedder default openai:text-embedding-3-small --url https://api.openai.com/v1
      verdex project embedder default model2vec:/srv/models/potion-code
      verdex project embedder default --none

    It is asked for a vector at once; nothing changes if it does not answer. What is indexed has to be indexed again.
    """
    if remove and (spec or url):
        raise click.UsageError("--none goes with no embedder")
    if url is not None and spec is None:
        raise click.UsageError("--url is that of an embedder: name it too")
    if spec is None and not remove:
        found = session.run(lambda verdex: verdex.projects.find(name, create_default=False))
        click.echo(_described(found.embedder) if found.embedder else f"project {name} has no embedder")
        return

    async def change(verdex: "Verdex") -> "Project":
        return await verdex.projects.set_embedder(name, await verdex.embedder(spec, url) if spec else None)

    changed = session.run(change)
    if changed.embedder is None:
        click.echo(f"project {name} has no embedder: searches go by words")
    else:
        click.echo(f"searches in project {name} go by {_described(changed.embedder)}")
    click.echo("index its repositories again (verdex index PATH); until then, searches use what is there", err=True)


def _described(embedder: Embedder) -> str:
    return output.printable(f"{embedder} ({embedder.dimensions} dimensions)")


@project.command("list")
@options.as_json
def list_projects(*, as_json: bool) -> None:
    """List the projects."""
    found = session.run(lambda verdex: verdex.projects.list())
    if as_json:
        output.show_document([_document(one) for one in found])
        return
    for one in found:
        searched = f"  {_described(one.embedder)}" if one.embedder else ""
        click.echo(f"{one.id}  {one.database_name}  {output.local_time(one.created_at)}{searched}")


def _document(project: "Project") -> dict[str, object]:
    embedder = project.embedder.model_dump() if project.embedder else None
    return {**project._asdict(), "created_at": project.created_at.isoformat(), "embedder": embedder}


@project.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask. Without a terminal, nobody is asked.")
def drop(name: str, *, yes: bool) -> None:
    """Drop a project with all that was indexed into it. Its jobs stay in the list."""
    if not yes and sys.stdin.isatty():
        click.confirm(f"Drop project {name} and all that was indexed into it?", abort=True, err=True)
    session.run(lambda verdex: verdex.projects.drop(name))
    click.echo(f"project {name} is dropped")
