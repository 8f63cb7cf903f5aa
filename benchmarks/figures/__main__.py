"""Draw every published figure again, from the records that are published with it.

    python -m benchmarks.figures            # writes them
    python -m benchmarks.figures --check    # writes nothing; says which differ from what is published

Nothing is trained and nothing is fetched. What a figure is drawn from stands in `catalogue.py`; a figure that
is not there, or whose records are not, is an error. Versions of Matplotlib differ in the last digits: what is
compared is every text, and every number to a hundredth of a point.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.evidence.rejudged import RESULTS
from benchmarks.figures.catalogue import FIGURES, Figures
from benchmarks.figures.comparing import same


def unknown(root: Path = RESULTS) -> list[str]:
    """Return the published figures that nothing draws, below `benchmarks/results`."""
    drawn = {f"{figures.folder}/{name}" for figures in FIGURES for name in figures.names}
    found = (path for kind in ("svg", "pdf", "png") for path in root.rglob(f"*.{kind}"))
    return sorted({path.relative_to(root).as_posix() for path in found} - drawn)


def without_records(root: Path = RESULTS) -> list[str]:
    """Return the figures whose records are not published."""
    return [
        f"{figures.folder}/{name}"
        for figures in FIGURES
        for name in figures.names
        if not all((root / record).exists() for record in figures.records)
    ]


def redraw(figures: Figures, *, check: bool) -> list[str]:
    """Draw figures; return those that differ from what is published, which is replaced unless `check`."""
    differ = []
    with tempfile.TemporaryDirectory() as folder:
        figures.draw(Path(folder))
        for name in figures.names:
            new, published = Path(folder, name), RESULTS / figures.folder / name
            if published.is_file() and same(new, published):
                continue
            differ.append(f"{figures.folder}/{name}")
            if not check:
                shutil.copy(new, published)
    return differ


def main(arguments: list[str] | None = None) -> int:
    """Command-line entry point; 1 where a figure has no drawing or no records, or differs."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.figures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="write nothing, and say what differs")
    parser.add_argument("--only", metavar="FOLDER", help="figures of this folder of benchmarks/results")
    options = parser.parse_args(arguments)
    chosen = [figures for figures in FIGURES if options.only in (None, figures.folder)]
    if not chosen:
        known = ", ".join(dict.fromkeys(figures.folder for figures in FIGURES))
        parser.error(f"--only: must be a folder with figures, but got {options.only!r}; one of {known}")
    lost = [f"{name}: nothing draws it" for name in unknown()]
    lost += [f"{name}: its records are not published" for name in without_records()]
    changed = []
    for figures in chosen:
        changed += redraw(figures, check=options.check)
        sys.stderr.write(f"{figures.folder}: {', '.join(figures.names)}\n")
    for line in lost:
        sys.stdout.write(f"{line}\n")
    for name in changed:
        sys.stdout.write(f"{name}: {'differs' if options.check else 'drawn anew'}\n")
    count = sum(len(figures.names) for figures in chosen)
    sys.stdout.write(f"{count} figures, {len(changed)} of them changed, {len(lost)} without records\n")
    return 1 if lost or (options.check and changed) else 0


if __name__ == "__main__":
    sys.exit(main())
