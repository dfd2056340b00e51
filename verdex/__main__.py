"""Entry point of the command."""

import gc
import os

from verdex.ending import INTERRUPTED, ended_by_ctrl_c


def main() -> None:
    """Run the command; never returns."""
    gc.disable()  # what is imported is no garbage, and to look for some takes a tenth of the time; see `Session.run`
    with ended_by_ctrl_c():
        from verdex.cli import main as run  # noqa: PLC0415
    try:
        run()
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
