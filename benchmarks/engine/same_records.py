"""Compare the records of two runs of one plan, for example with two engines.

    python -m benchmarks.engine.same_records results/serial results/population

Wall times and what names the engine are left aside. Exit code 0 only if all records that both have agree.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from hypernudge.results.digests import UNSEALED


def contents(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text())
    for name in UNSEALED:
        record.pop(name, None)
    record["cell"].pop("key", None)
    return record


def decisions(record: dict[str, Any]) -> Any:
    """Return which trials were started when, and to which milestones they were trained."""
    return [(trial["trial"], trial["started"], trial["milestones"]) for trial in record["trials"]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    options = parser.parse_args()
    total = equal = alike = 0
    for directory in sorted(path for path in options.first.iterdir() if (path / "cells").is_dir()):
        pairs = [
            (path, options.second / directory.name / "cells" / path.name)
            for path in sorted((directory / "cells").glob("*.json"))
        ]
        both = [(contents(a), contents(b)) for a, b in pairs if b.is_file()]
        same = sum(a == b for a, b in both)
        decided = sum(decisions(a) == decisions(b) for a, b in both)
        print(f"{directory.name}: {same} of {len(both)} records equal, {decided} decide the same")
        total, equal, alike = total + len(both), equal + same, alike + decided
    print(f"all: {equal} of {total} records equal, {alike} decide the same")
    return 0 if total and equal == total else 1


if __name__ == "__main__":
    sys.exit(main())
