"""Weights that are still on disk, and how they get into memory: apart from all that uses them, in any thread.

A GPU kernel that is committed while its input is being read stalls its command buffer, and macOS ends a process whose
buffers stall for about 5 s. So reading, and what changes a tensor on the way, is work of one CPU stream, and it is over
when a kernel sees the tensor. Other streams belong to the threads that made them; this one all threads may use, one
after another.
"""

from collections.abc import Callable
from functools import cache
from threading import RLock
from typing import Any

import mlx.core as mx

from gemma4_mlx.device_errors import named_error
from gemma4_mlx.errors import GemmaError, one_line, shortened

READING = RLock()
"""Held while weights are read or rearranged: threads that need the same model find it whole."""


_MAKING = RLock()
"""Held while the stream is made: that of READING may be held for as long as a checkpoint is read."""


def disk() -> mx.Stream:
    """The stream of all that depends on a file. Made when it is first asked for: a process may fork before.

    To be named by each operation: `with mx.stream(disk())` would choose the device for all threads meanwhile.
    """
    with _MAKING:
        return _stream()


@cache
def _stream() -> mx.Stream:
    return mx.new_thread_unsafe_stream(mx.cpu)


def read(*arrays: Any) -> None:
    """Evaluate arrays, or trees of them, that may still be on disk. Raises RuntimeError if one can't be read.

    After an error MLX takes them for evaluated, with numbers that were never read: nobody may use them.
    """
    with READING:
        mx.eval(*arrays)


class Preparation:
    """What makes weights on disk ready to run: done once, by the thread that asks first.

    Interrupted, it can be begun again; it can't after weights could not be read.

    Attributes:
        begun, done: whether it was begun, and came to its end.
    """

    def __init__(self) -> None:
        self.begun = self.done = False
        self._failure = ""

    def run(self, work: Callable[[], None]) -> None:
        """Do the work, unless it is done. Raises GemmaError if weights can't be read, then and ever after.

        What a device raises is raised as it is named, the first time; from then on they count as not read.
        """
        if self.done:
            return
        with READING:
            if self._failure:
                raise GemmaError(self._failure)
            if not self.done:
                self._run(work)

    def _run(self, work: Callable[[], None]) -> None:
        self.begun = True
        try:
            work()
        except (RuntimeError, MemoryError) as error:
            said, named = shortened(one_line(error)), named_error(error)
            if named is not None:
                self._failure = f"the weights were not read, as the device failed ({said}); load the model again"
                raise named from error
            self._failure = f"the weights can't be read ({said}); is their disk still there? Load the model again"
            raise GemmaError(self._failure) from None
        self.done = True
