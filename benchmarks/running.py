"""How a benchmark is run: it says how long it takes, and if it is stopped it cleans up."""

import signal
import sys
from collections.abc import Callable
from types import FrameType

INTERRUPTED = 130


def run_benchmark(main: Callable[[], None], duration: str) -> None:
    """Call `main`, which reads its own arguments, after a line on stderr about its duration.

    The processes that a benchmark starts of itself (--measure) say nothing.

    Ctrl-C, SIGTERM and SIGHUP leave `main` through its `with` blocks, so that temporary folders and processes go.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    if not {"-h", "--help", "--measure"} & set(sys.argv):
        print(f"takes {duration} on two cores", file=sys.stderr, flush=True)
    try:
        main()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
