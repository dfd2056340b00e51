"""Tell from a file's metadata whether it can have changed, without reading it."""

import os

# Two writes within one step of the clock leave the same timestamp. The coarsest steps, those of FAT, last two seconds;
# one more allows for the kernel's cached clock and for the clock of a file server.
SETTLING_NS = 3_000_000_000


def fingerprint(status: os.stat_result) -> str:
    """Give a short text that differs after any change of the content.

    The mtime can be set at will, the ctime cannot: it shows a change whose mtime was put back. The inode shows a
    file that another was renamed over.
    """
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_ino}"


def has_settled(status: os.stat_result, now_ns: int) -> bool:
    """Whether every change after `now_ns` is sure to leave another fingerprint than that of `status`."""
    return max(status.st_mtime_ns, status.st_ctime_ns) + SETTLING_NS < now_ns
