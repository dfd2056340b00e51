"""The command `search`."""

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click

from verdex.cli import options, output, session
from verdex.cli.naming import short
from verdex.cli.terminal import on_terminal, styled
from verdex.contracts import DEFAULT_PROJECT, MAX_RESULTS, SearchedRepository, SearchResponse, SearchResult
from verdex.search.query import read
from verdex.terms import terms

SNIPPET_LINES: Final = 6
_WORD: Final = re.compile(r"\w+")


@click.command()
@click.argument("query", nargs=-1, required=True)
@click.option("--project", "project_id", default=DEFAULT_PROJECT, show_default=True, help="The project to search.")
@click.option("--repo", "repo_path", type=options.RepositoryPath(), help="Only the repository at this path.")
@click.option("--path", metavar="GLOB", help="Only files of such paths: '*.py', 'src/', 'docs/**/*.md'.")
@click.option("--language", help="Only files in this language: python, go, tsx, …")
@click.option("--kind", help="Only this kind of chunk: function, method, class, module, text, …")
@click.option(
    "-k", "limit", type=click.IntRange(1, MAX_RESULTS), default=10, show_default=True, help="How many results."
)
@click.option("--offset", type=click.IntRange(0), default=0, help="Leave out so many of the best: the next page.")
@options.as_json
def search(  # noqa: PLR0913, PLR0917  (options)
    query: tuple[str, ...],
    project_id: str,
    repo_path: Path | None,
    path: str | None,
    language: str | None,
    kind: str | None,
    limit: int,
    offset: int,
    *,
    as_json: bool,
) -> None:
    """Search what was indexed: QUERY is a question, names, the text of an error, or a path.

    \b
      verdex search how are manifests published
      verdex search HTTPConnection --language python
      verdex search "connection reset by peer" --path 'src/**/*.go'

    What is said of an index that is old or partial goes to stderr; with --json it is part of the document.
    """
    found = session.run(
        lambda verdex: verdex.search(
            " ".join(query),
            project_id=project_id,
            repo_path=repo_path,
            path=path,
            language=language,
            kind=kind,
            limit=limit,
            offset=offset,
        )
    )
    for warning in found.warnings:
        click.echo(f"{styled('verdex: warning:', colour='yellow')} {output.printable(warning)}", err=True)
    if as_json:
        output.show_json(found)
        return
    wanted = set(read(found.query).terms)
    for result in found.results:
        click.echo("\n".join(_lines(result, wanted)))
        click.echo()
    click.echo(_summary(found), err=True)


def _lines(result: SearchResult, wanted: set[str]) -> Iterator[str]:
    """Where it is, and the lines that have most of what is wanted."""
    what = " ".join(filter(None, [result.kind, result.symbol and styled(output.printable(result.symbol), bold=True)]))
    lines = result.content.split("\n")
    first = _best(lines, wanted)
    yield f"{_place(result, result.start_line)}  {what}"
    width = len(str(result.end_line))
    for number, line in enumerate(lines[first : first + SNIPPET_LINES], result.start_line + first):
        yield f"  {styled(f'{number:>{width}}', colour='bright_black')}  {_highlighted(_cut(line), wanted)}"
    if result.copies:
        yield f"  the same in {output.printable(', '.join(result.copies))}"


def _place(result: SearchResult, line: int) -> str:
    """As terminals make a link of it: relative where that is shorter."""
    whole = Path(result.repo_path, result.file_path)
    shown = str(whole.relative_to(Path.cwd())) if whole.is_relative_to(Path.cwd()) else str(whole)
    return styled(f"{output.printable(shown)}:{line}", colour="cyan")


def _best(lines: Sequence[str], wanted: set[str]) -> int:
    """Where a snippet begins: at the first line, unless more of what is wanted stands together further below."""
    hits = [len(wanted.intersection(terms(line))) for line in lines]
    starts = range(max(1, len(lines) - SNIPPET_LINES + 1))
    return max(starts, key=lambda start: (sum(hits[start : start + SNIPPET_LINES]) + (start == 0) / 2, -start))


def _cut(line: str) -> str:
    expanded = line.removesuffix("\r").expandtabs(4)
    width = max(20, shutil.get_terminal_size().columns - 8) if on_terminal() else 500
    return expanded if len(expanded) <= width else f"{expanded[: width - 1]}…"


def _highlighted(line: str, wanted: set[str]) -> str:
    shown = output.printable(line)
    return _WORD.sub(
        lambda word: styled(word[0], colour="red", bold=True) if wanted.intersection(terms(word[0])) else word[0], shown
    )


def _summary(found: SearchResponse) -> str:
    if not found.total_count:
        told = f'nothing found for "{output.printable(found.query)}"'
    elif not found.results:
        told = f"there are no more than {found.total_count}"
    else:
        last = found.offset + len(found.results)
        more = f", more with --offset {last}" if last < found.total_count else ""
        told = f"{found.offset + 1}-{last} of the best {found.total_count}{more}"
    where = "; ".join(map(_searched, found.repositories[:5]))
    others = f"; and {len(found.repositories) - 5:,} more" if len(found.repositories) > 5 else ""
    return f"verdex: {told} ({found.latency_ms:.0f} ms). Searched {where}{others}"


def _searched(repository: SearchedRepository) -> str:
    ago = output.ago(repository.indexed_at) if repository.indexed_at else "at an unknown time"
    return output.printable(f"{repository.repo_path}, indexed {ago} by job {short(repository.job_id)}")
