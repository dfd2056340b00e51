"""How often each file of a tree is opened, as the kernel tells (inotify): what is opened twice was read twice."""

import ctypes
import os
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Final

_IN_OPEN: Final = 0x20
_IN_Q_OVERFLOW: Final = 0x4000
_IN_ISDIR: Final = 0x40000000
_EVENT: Final = struct.Struct("iIII")
_END: Final = "end of the count"


@contextmanager
def counted_opens(tree: Path) -> Iterator[Counter[tuple[int, bytes]]]:
    """The number of opens of each file, complete when the block has ended.

    Raises:
        OSError: the kernel gives no watches, or lost events.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init()
    for directory in [tree, *(path for path in tree.rglob("*") if path.is_dir())]:
        if libc.inotify_add_watch(descriptor, os.fsencode(directory), _IN_OPEN) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    opens: Counter[tuple[int, bytes]] = Counter()
    reader = Thread(target=_read, args=(descriptor, opens), daemon=True)
    reader.start()
    try:
        yield opens
    finally:
        (tree / _END).touch()
        reader.join()
        (tree / _END).unlink()
        os.close(descriptor)


def _read(descriptor: int, opens: Counter[tuple[int, bytes]]) -> None:
    while True:
        events = os.read(descriptor, 1 << 20)
        while events:
            directory, kind, _, length = _EVENT.unpack_from(events)
            name = events[_EVENT.size : _EVENT.size + length].rstrip(b"\0")
            events = events[_EVENT.size + length :]
            if name == os.fsencode(_END):
                return
            if kind & _IN_Q_OVERFLOW:
                opens[-1, b"events that the kernel lost"] += 2**31
            elif not kind & _IN_ISDIR:
                opens[directory, name] += 1
