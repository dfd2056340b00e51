"""Entry point of the command. Ctrl-C can come while the rest is being imported."""

import os
import signal

INTERRUPTED = 130


def main() -> None:
    """Run the command; never returns."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # else it is ignored, as for what a shell runs in the background
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))  # an import could swallow KeyboardInterrupt
    from verdex.cli import main as run  # noqa: PLC0415

    signal.signal(signal.SIGINT, handler)
    try:
        run()
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
