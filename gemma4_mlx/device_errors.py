"""What MLX says if the device, its driver or its folder of kernels fails, in one line that says what to try.

The texts are those of mlx/backend/metal, mlx/backend/cpu and of Apple's driver; none of Metal's was provoked on a Mac.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gemma4_mlx.errors import DoesNotFitError, GemmaError, one_line, shortened

LESS_MEMORY = "close other programs, lower max_kv_size, set kv_bits=8 or 4, or take a checkpoint of fewer bits"
SHORTER = "lower prefill_step_size to 256 or 128, and close what else uses the GPU"
ARGUMENT = re.compile(r"max_kv_size|kv_bits|prefill_step_size")
TEMPORARY = ("TMPDIR", "TMP", "TEMP", "TEMPDIR")
"""Variables that name the folder for temporary files, as C++ looks for it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure by what MLX says of it.

    Attributes:
        pattern: a regular expression that is found in the text.
        advice: what happened, and what to try.
        kind: the error that is raised for it.
    """

    pattern: str
    advice: str
    kind: type[GemmaError] = GemmaError


FAULTS = (
    Fault(
        r"Insufficient Memory|ErrorOutOfMemory|out of memory|Unable to allocate \d+ bytes|bad_alloc",
        f"the device ran out of memory: {LESS_MEMORY}",
        DoesNotFitError,
    ),
    Fault(
        r"greater than the maximum allowed buffer size",
        "one array would be larger than the GPU can hold: lower prefill_step_size and max_kv_size, or ask for less",
        DoesNotFitError,
    ),
    Fault(r"Resource limit \(\d+\) exceeded", f"the GPU holds too many arrays at once: {LESS_MEMORY}", DoesNotFitError),
    Fault(
        r"Impacting ?Interactivity",
        "macOS ended a computation that held up the display: "
        f"{SHORTER}; AGX_RELAX_CDM_CTXSTORE_TIMEOUT=1 in the environment gives it more time",
    ),
    Fault(r"GPU Timeout|ErrorTimeout|GPU Hang|ErrorHang", f"macOS ended a computation that took too long: {SHORTER}"),
    Fault(
        r"SubmissionsIgnored|Ignored \(for causing|Innocent ?Victim|victim of GPU error",
        "macOS takes no more work from this process after an error of the GPU: start it again",
    ),
    Fault(
        r"Command buffer execution failed|GPU Address Fault|ErrorPageFault",
        "the GPU failed: start again; if it happens again, report it with what gemma4_mlx.doctor prints",
    ),
    Fault(
        r"Unable to (build|load) (metal library|kernel|function)|metallib|new command queue|residency set",
        "MLX and this system's Metal do not fit each other: update macOS and MLX (pip install -U mlx)",
    ),
)

_KERNELS = re.compile(r"filesystem error: (cannot create|temp_dir)|Could not load C\+\+ shared|\[Compile::eval_cpu\]")


@contextmanager
def device_errors_named() -> Iterator[None]:
    """Turn what MLX raises for a failing device into a GemmaError of one line; other errors stay what they are."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        named = named_error(error)
        if named is None:
            raise
        raise named from error


def named_error(error: BaseException) -> GemmaError | None:
    """The error in words that say what to try; None for one that MLX's devices do not raise."""
    said = one_line(error)
    for fault in FAULTS:
        if re.search(fault.pattern, said):
            named = ARGUMENT.findall(fault.advice)
            return fault.kind(f"{fault.advice} (MLX said: {shortened(said)})", arguments=named)
    if _KERNELS.match(said):
        return GemmaError(
            f"MLX can't put the kernels that it compiles into {os.path.join(_temporary_folder(), 'mlx')}: if that "
            f"belongs to another user or is full, set TMPDIR to a folder of your own (MLX said: {shortened(said)})"
        )
    return None


def kernels_are_missing() -> bool:
    """Whether MLX will compile its kernels for the CPU first, some 20 s of work, as its folder has none yet."""
    from importlib.metadata import version

    import mlx.core as mx

    if mx.default_device() != mx.cpu or "MLX_DISABLE_COMPILE" in os.environ or shutil.which("g++") is None:
        return False
    folder = os.path.join(_temporary_folder(), "mlx", version("mlx"), "cpu")
    try:
        return not any(name.endswith(".so") for name in os.listdir(folder))
    except OSError:
        return True


def _temporary_folder() -> str:
    return next((folder for name in TEMPORARY if (folder := os.environ.get(name))), "/tmp")
