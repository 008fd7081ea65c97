"""Power and heat by the texts of macOS's own commands; not run on a Mac."""

import pytest

from gemma4_mlx.measure import machine, power
from gemma4_mlx.measure.power import macos_version, power_line, power_mode, power_source, said_by, thermal_state

SETTINGS = """System-wide power settings:
 SleepDisabled\t\t0
Currently in use:
 lidwake              1
 {}
 standby              1
 hibernatefile        /var/vm/sleepimage
 sleep                1 (sleep prevented by bluetoothd, coreaudiod)
 tcpkeepalive         1
"""
QUIET = "Note: No thermal warning level has been recorded\nNote: No performance warning level has been recorded\n"
BATTERY = (
    "Now drawing from 'Battery Power'\n -InternalBattery-0 (id=1234)\t80%; discharging; 3:10 remaining present: true\n"
)
MAINS = "Now drawing from 'AC Power'\n"


@pytest.mark.parametrize(
    ("line", "mode"),
    [
        ("lowpowermode         0", "automatic"),
        ("lowpowermode         1", "low power"),
        ("powermode            0", "automatic"),
        ("powermode            1", "low power"),
        ("powermode            2", "high power"),
        ("powermode            7", "mode 7"),
        ("gpuswitch            2", None),
    ],
)
def test_the_power_mode_in_use(line: str, mode: str | None) -> None:
    assert power_mode(SETTINGS.format(line)) == mode


def test_a_mode_that_is_not_in_use_does_not_count() -> None:
    assert power_mode("Battery Power:\n lowpowermode         1\nAC Power:\n lowpowermode         0\n") is None
    assert power_mode("System-wide power settings:\n SleepDisabled\t\t1\n") is None
    assert power_mode("") is None


def test_the_power_source() -> None:
    assert power_source(BATTERY) == "Battery Power"
    assert power_source(MAINS) == "AC Power"
    assert power_source("") is None


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (f"{QUIET}Note: No CPU power status has been recorded\n", "no warning"),
        (
            f"{QUIET}2026-06-23 23:23:01 +0800 CPU Power notify\n\tCPU_Scheduler_Limit \t= 100\n"
            "\tCPU_Available_CPUs \t= 12\n\tCPU_Speed_Limit \t= 100\n",
            "no warning",
        ),
        ("CPU_Scheduler_Limit \t= 100\nCPU_Available_CPUs \t= 8\nCPU_Speed_Limit \t= 70\n", "CPU speed limit 70 %"),
        (
            "2026-09-23 14:05:31 -0700 Thermal Warning Level = 2\n"
            "Note: No performance warning level has been recorded\n",
            "thermal warning level 2",
        ),
        (
            "2026-09-23 14:05:31 -0700 Thermal Warning Level = 1\n"
            "2026-09-23 14:05:31 -0700 Performance Warning Level = 1\n\tCPU_Scheduler_Limit \t= 50\n",
            "thermal warning level 1, performance warning level 1, CPU scheduler limit 50 %",
        ),
        ("2026-09-23 14:05:31 -0700 Thermal Warning Level = 0\n", "no warning"),
        ("Error: No thermal warning level with error code 0xe00002c2\n", "no warning"),
        ("", None),
        ("pmset: command not found\n", None),
    ],
)
def test_the_thermal_state(text: str, state: str | None) -> None:
    assert thermal_state(text) == state


def test_the_version_of_macos() -> None:
    assert macos_version("ProductName:\t\tmacOS\nProductVersion:\t\t26.1\nBuildVersion:\t\t25B78\n") == "26.1 (25B78)"
    assert macos_version("ProductName:\tmacOS\nProductVersion:\t27.0\n") == "27.0"
    assert macos_version("") is None


@pytest.mark.parametrize(
    ("mode", "source", "heat", "line"),
    [
        ("powermode 0", MAINS, QUIET, "power mode automatic, AC Power; thermal state: no warning"),
        (
            "lowpowermode 1",
            BATTERY,
            QUIET,
            "power mode low power, Battery Power; thermal state: no warning: it is slower than it could be now",
        ),
        (
            "powermode 2",
            MAINS,
            "CPU_Speed_Limit = 70\n",
            "power mode high power, AC Power; thermal state: CPU speed limit 70 %: it is slower than it could be now",
        ),
        ("", "", "", "power mode unknown, unknown source; thermal state: unknown"),
    ],
)
def test_one_line_says_it_all(mode: str, source: str, heat: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {("pmset", "-g"): SETTINGS.format(mode), ("pmset", "-g", "batt"): source, ("pmset", "-g", "therm"): heat}
    monkeypatch.setattr(power, "said_by", lambda *command: said[command])
    assert power_line() == line


def test_a_mac_is_called_by_its_own_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(machine.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(machine, "said_by", lambda *_: "ProductVersion:\t\t26.1\nBuildVersion:\t\t25B78\n")
    assert machine.this_machine().system == "macOS 26.1 (25B78) arm64"


def test_a_command_that_is_not_there_says_nothing() -> None:
    assert said_by("no-such-command-of-anybody") == ""
    assert said_by("echo", "yes") == "yes\n"
