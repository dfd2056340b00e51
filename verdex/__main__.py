"""Entry point of the command. Ctrl-C can come while the rest is being imported."""

import os

INTERRUPTED = 130


def main() -> None:
    """Run the command; never returns."""
    try:
        from verdex.cli import main as run  # noqa: PLC0415

        run()
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
