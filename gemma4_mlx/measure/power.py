"""What a Mac says of its system, its power and its heat, which slow figures often come from. Not run on a Mac yet."""

import re
import subprocess

MODES = {0: "automatic", 1: "low power", 2: "high power"}
"""Of `powermode`; older systems have `lowpowermode`, 0 or 1."""

LEVELS = re.compile(r"(Thermal|Performance) Warning Level\s*[=:]\s*(\d+)", re.IGNORECASE)
LIMITS = re.compile(r"CPU_(Speed|Scheduler)_Limit\s*=\s*(\d+)")


def macos_version(text: str) -> str | None:
    """Version and build by `sw_vers`; None if it says neither."""
    found = dict(re.findall(r"^(ProductVersion|BuildVersion):\s*(\S+)\s*$", text, re.MULTILINE))
    version, build = found.get("ProductVersion"), found.get("BuildVersion")
    return version and version + (f" ({build})" if build else "")


def power_mode(text: str) -> str | None:
    """The power mode in use by `pmset -g`; None if it does not say: a sandbox shows less."""
    in_use = text.partition("Currently in use:")[2]
    found = re.search(r"^\s*(low)?powermode\s+(\d)\b", in_use, re.MULTILINE)
    return found and MODES.get(int(found[2]), f"mode {found[2]}")


def power_source(text: str) -> str | None:
    """Where the power comes from by `pmset -g batt`: "AC Power", "Battery Power" or "UPS Power"."""
    found = re.search(r"drawing from '([^']+)'", text)
    return found and found[1]


def thermal_state(text: str) -> str | None:
    """Warnings and limits by `pmset -g therm`; None if it says nothing of them."""
    said = [f"{kind.lower()} warning level {level}" for kind, level in LEVELS.findall(text) if int(level)]
    said += [f"CPU {kind.lower()} limit {share} %" for kind, share in LIMITS.findall(text) if int(share) < 100]
    if said:
        return ", ".join(said)
    return "no warning" if re.search(r"No thermal warning|Warning Level|CPU_\w+_Limit", text, re.IGNORECASE) else None


def power_line() -> str:
    """All of it in one line, as the doctor prints it."""
    mode, source = power_mode(said_by("pmset", "-g")), power_source(said_by("pmset", "-g", "batt"))
    heat = thermal_state(said_by("pmset", "-g", "therm"))
    line = f"power mode {mode or 'unknown'}, {source or 'unknown source'}; thermal state: {heat or 'unknown'}"
    slow = mode == MODES[1] or heat not in (None, "no warning")
    return line + (": it is slower than it could be now" if slow else "")


def said_by(*command: str) -> str:
    """What a system's own command prints; nothing if there is none, or it takes long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
