"""Peak memory of a test's own process."""

import resource
import sys
from pathlib import Path


def peak_kilobytes() -> int:
    """Return the most memory that this process has held, in KiB.

    Linux's `ru_maxrss` begins with the size of the process that started this one; `VmHWM` does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line)
    unit = 1024 if sys.platform == "darwin" else 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit
