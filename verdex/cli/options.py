"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Any

import click


class RepositoryPath(click.Path):
    """The path of a repository. What is wrong with the tree is the worker's to say: it may see more than we do."""

    def __init__(self) -> None:
        """Nothing is checked but that there is something."""
        super().__init__(readable=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Refuse the empty path, which a variable that is not set leaves: it would be the current directory."""
        if value == "":
            self.fail("it is empty", param, ctx)
        return super().convert(value, param, ctx)


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
watch = click.option("--watch", is_flag=True, help="Show it again and again: in place on a terminal, else each change.")
