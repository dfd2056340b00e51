"""Completion for shells."""

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash: eval "$(verdex completion bash)"       in ~/.bashrc
    zsh:  eval "$(verdex completion zsh)"        in ~/.zshrc
    fish: verdex completion fish | source        in ~/.config/fish/config.fish
    """
    root = click.get_current_context().find_root()
    script = get_completion_class(shell)
    assert script is not None  # noqa: S101  (the choice above)
    click.echo(script(root.command, {}, "verdex", "_VERDEX_COMPLETE").source())
