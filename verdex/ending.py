"""How a process ends: at its own end, and by Ctrl-C while it has not begun."""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, NoReturn

INTERRUPTED: Final = 130
"""The exit code of who was ended by Ctrl-C, as shells have it."""


@contextmanager
def ended_by_ctrl_c() -> Iterator[None]:
    """Ctrl-C ends the process at once while something is imported, which could swallow KeyboardInterrupt."""
    handler = signal.getsignal(signal.SIGINT)
    is_raised = threading.current_thread() is threading.main_thread() and handler is signal.default_int_handler
    if not is_raised:  # in another thread, or ignored, as for what a shell runs in the background
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def leave(code: int) -> NoReturn:
    """End the process at once: as Python tears itself down, threads of Temporal's client can still abort it."""
    atexit._run_exitfuncs()  # noqa: SLF001  (exporters and coverage count on it; there is no public name)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # closed, or nobody reads it any more
            stream.flush()
    os._exit(code)
