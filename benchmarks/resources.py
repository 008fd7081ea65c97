"""Runs a command and tells its wall time and the most memory that its process ever held, as JSON.

python -m benchmarks.resources COMMAND ...

Works in any interpreter. Memory of this small process in between does not count: Linux counts a process from what its
parent held, and the parent of a benchmark may hold much.
"""

import json
import os
import subprocess
import sys
import time


def main() -> None:
    """Ends as the command does; its output goes to standard error."""
    started = time.perf_counter()
    process = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        unit = 1 if sys.platform == "darwin" else 1024
        print(json.dumps({"seconds": time.perf_counter() - started, "resident": usage.ru_maxrss * unit}))
    sys.exit(code)


if __name__ == "__main__":
    main()
