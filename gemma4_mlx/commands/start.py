"""The first and the last thing that a command's process does: Ctrl-C ends it without a traceback at any moment.

It lies apart from `common` because it must be in place before anything that takes long is imported. An import is never
cut in two: half a module would stay behind, and Python prints what is raised inside of the machinery and goes on.
"""

import signal
import sys
from importlib import import_module
from types import FrameType

EXIT_INTERRUPTED = 130
WHOLE = ("<frozen importlib._bootstrap>", "argparse.py")
"""Ends of the names of code that is not cut in two: argparse takes its parser apart for a while, too."""
AGAIN = 0.005
"""Seconds after which Ctrl-C is tried again."""


def start(command: str) -> int:
    """Import a module of `gemma4_mlx.commands`, run its `main` and return the exit code."""
    try:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as in the background
            signal.signal(signal.SIGALRM, _interrupt)
            signal.signal(signal.SIGINT, _interrupt)
            sys.unraisablehook = _show_unraisable
        code: int = import_module(f"gemma4_mlx.commands.{command}").main()
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    finally:
        if signal.getsignal(signal.SIGINT) is _interrupt:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, 0)
    return code


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, as soon as nothing is under way that must not be cut in two."""
    if _is_whole(frame):
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
    else:
        raise KeyboardInterrupt


def _is_whole(frame: FrameType | None) -> bool:
    """Whether a frame belongs to what is not cut in two."""
    while frame is not None and frame.f_code is not start.__code__:
        if frame.f_code.co_filename.endswith(WHOLE):
            return True
        frame = frame.f_back
    return False


def _show_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Keep a Ctrl-C that came where nothing can be raised; show anything else as Python does."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
    else:
        sys.__unraisablehook__(unraisable)
