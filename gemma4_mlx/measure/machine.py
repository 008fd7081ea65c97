"""What a measurement was made on. A figure without it can't be compared with another."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version

import mlx.core as mx

from gemma4_mlx import __version__
from gemma4_mlx.measure.power import macos_version, said_by


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine and the software.

    Attributes:
        chip: as the GPU's driver names it, or the processor where there is no GPU.
        device: "gpu" or "cpu", where MLX computes.
        memory: bytes of the machine.
        working_set: bytes that the GPU should use at most; None where there is no such limit.
        largest_buffer: bytes of the largest array that the GPU can hold; None where there is no such limit.
        system, python, mlx, package: versions.
    """

    chip: str
    device: str
    memory: int
    working_set: int | None
    largest_buffer: int | None
    system: str
    python: str
    mlx: str
    package: str


def this_machine() -> Machine:
    """Asks MLX and the system."""
    info = mx.device_info()
    return Machine(
        chip=str(info.get("device_name") or platform.processor() or platform.machine()),
        device="gpu" if mx.default_device() == mx.gpu else "cpu",
        memory=int(info.get("memory_size") or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")),
        working_set=_optional(info.get("max_recommended_working_set_size")),
        largest_buffer=_optional(info.get("max_buffer_length")),
        system=_system(),
        python=platform.python_version(),
        mlx=version("mlx"),
        package=__version__,
    )


def wired_limit_megabytes() -> str | None:
    """What the owner of a Mac has set `iogpu.wired_limit_mb` to (0: nothing); None elsewhere."""
    return said_by("sysctl", "-n", "iogpu.wired_limit_mb").strip() or None


def _optional(value: str | int | None) -> int | None:
    return int(value) if value else None


def _system() -> str:
    if platform.system() == "Darwin":  # whose version a Python built for an older system is not told
        version = macos_version(said_by("sw_vers")) or platform.mac_ver()[0]
        return f"macOS {version} {platform.machine()}"
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        name = platform.system()
    return f"{name} {platform.machine()}"
