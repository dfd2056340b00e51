"""Where the time of the library goes: in its main process by samples, in one that parses by cProfile.

`python -m benchmarks.profiling TREE`. The phases and the samples are those of a run of its own on a PostgreSQL of its
own. What is sampled is the innermost function that runs in a thread which is not waiting, and each function of verdex
that it was called by.
"""

import argparse
import asyncio
import cProfile
import pstats
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_stack
from types import FrameType
from typing import Final

from benchmarks.library import ready
from benchmarks.server import server
from benchmarks.trees import Tree, files, tree
from verdex.contracts import DEFAULT_PROJECT
from verdex.indexing.chunking import chunk
from verdex.indexing.languages import language_of
from verdex.indexing.text import Text, decode

SAMPLE_SECONDS: Final = 0.005
SHOWN: Final = 25
_WAITING: Final = frozenset({"select", "poll", "wait", "acquire", "_recv", "_send", "_worker", "get", "recv_bytes"})


class Sampler:
    """Looks every few milliseconds at what all threads of this process do."""

    def __init__(self) -> None:
        """Nothing is sampled before `sampling`."""
        self.samples = 0
        self.own = Counter[str]()
        """Samples by the innermost function."""
        self.within = Counter[str]()
        """Samples by each function of verdex on the stack."""

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """During the block."""
        ended = threading.Event()
        thread = threading.Thread(target=self._sample, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _sample(self, ended: threading.Event) -> None:
        me = threading.get_ident()
        while not ended.wait(SAMPLE_SECONDS):
            self.samples += 1
            for thread, frame in sys._current_frames().items():  # noqa: SLF001
                if thread != me and frame.f_code.co_name not in _WAITING:
                    self._count(frame)

    def _count(self, frame: FrameType) -> None:
        self.own[_name(frame)] += 1
        self.within.update({_name(caller) for caller, _ in walk_stack(frame) if _is_ours(caller)})

    def __str__(self) -> str:
        """Two lists, the most frequent first."""
        return "\n".join(
            f"{title}\n"
            + "\n".join(f"  {count / self.samples:6.1%}  {name}" for name, count in found.most_common(SHOWN))
            for title, found in (
                ("innermost function", self.own),
                ("functions of verdex, with what they call", self.within),
            )
        )


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith("verdex.")


def _name(frame: FrameType) -> str:
    module = frame.f_globals.get("__name__", "?")
    return f"{module}.{frame.f_code.co_qualname}"


async def main_process(one: Tree) -> None:
    """Print the phases of a run of the library, and samples of its main process."""
    sampler = Sampler()
    async with server() as running, ready(running.settings) as library:
        with sampler.sampling():
            await library.index(one.root, DEFAULT_PROJECT)
    print("phases: " + ", ".join(f"{step} {taken:.2f} s" for step, taken in library.seconds.items()))
    print(f"main process, {sampler.samples} samples: share of the time, for all threads\n{sampler}")


def parsing(one: Tree) -> None:
    """Print what cutting all files in one process takes, and where."""
    contents = [(text.content, language) for text, language in _texts(one) if isinstance(text, Text)]
    began = time.process_time()
    for content, language in contents:
        chunk(content, language)
    print(f"cutting all in one process: {time.process_time() - began:.2f} CPU s")
    profile = cProfile.Profile()
    profile.enable()
    for content, language in contents:
        chunk(content, language)
    profile.disable()
    pstats.Stats(profile).sort_stats("tottime").print_stats(SHOWN)


def _texts(one: Tree) -> Iterator[tuple[object, str | None]]:
    for path in files(one.root):
        content = path.read_bytes()
        yield decode(content), language_of(str(path), content[:128])


def profile(one: Tree) -> None:
    """Print both."""
    asyncio.run(main_process(one))
    parsing(one)


def main() -> None:
    """Print both for a tree."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profiling", description=__doc__)
    parser.add_argument("tree")
    profile(tree(parser.parse_args().tree))


if __name__ == "__main__":
    main()
