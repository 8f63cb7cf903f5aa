"""Run with `python -m benchmarks.episodes_effect PHASE`: tune, develop, confirm, ends, fourth, or a report.

`rewards` measures how many episodes it takes to tell two arms apart.
Blocks that are recorded are skipped, so a phase may be run in as many calls as one likes (`--seconds` ends a
call after the block in progress). `figure` draws anew what `report` has published. The last line on stdout
is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch

from benchmarks.episodes_effect import blocks
from benchmarks.episodes_effect.methods import METHODS
from benchmarks.episodes_effect.tasks import TASKS


def main() -> int:
    """Run the blocks of a phase, or report on what is recorded."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.episodes_effect", description=__doc__)
    reports = ["report", "figure", "plan-ends", "report-ends", "plan-rivals", "report-rivals", "rewards"]
    parser.add_argument("phase", choices=[*blocks.SEEDS, *reports])
    parser.add_argument(
        "--results", type=Path, default=Path("results/episodes_effect"), help="where records are"
    )
    parser.add_argument("--publish", type=Path, help="where the report writes tables and the figure")
    parser.add_argument(
        "--beside", type=Path, help="a published cells.csv, for what is not recorded (rivals)"
    )
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--noises", nargs="+", type=float, default=list(blocks.NOISES))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), help="default: those of the phase")
    parser.add_argument("--ratios", nargs="+", type=float, default=list(blocks.RATIOS))
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no block after so long")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.phase == "report":
        from benchmarks.episodes_effect.report import publish

        print(json.dumps(publish(options.results, options.publish or options.results)))
        return 0
    if options.phase == "rewards":
        from benchmarks.episodes_effect import rewards

        print(json.dumps(rewards.publish(options.results, options.publish or options.results)))
        return 0
    if options.phase.endswith(("-ends", "-rivals")):
        from benchmarks.episodes_effect import ends, rivals

        destination = options.publish or options.results
        study = rivals if options.phase.endswith("-rivals") else ends
        if options.phase.startswith("plan-"):
            print(json.dumps({"event": "plan", "digest": ends.write_plan(destination, study.plan())}))
        elif study is rivals:
            print(json.dumps(rivals.publish(options.results, destination, options.beside)))
        else:
            print(json.dumps(ends.publish(options.results, destination)))
        return 0
    if options.phase == "figure":
        from benchmarks.episodes_effect.report import redraw

        redraw(options.publish or options.results)
        return 0
    begun = time.perf_counter()
    done = left = 0
    for block in blocks.plan(options.phase, options.methods or ()):
        wanted = block.task in options.tasks and block.noise in options.noises
        if not wanted or (options.methods and block.method not in options.methods):
            continue
        if time.perf_counter() - begun > options.seconds:
            left += not (options.results / f"{block.name}.jsonl").exists()
            continue
        seconds = blocks.run(block, options.results, options.ratios)
        done += 1
        if seconds:
            print(
                json.dumps({"event": "block", "name": block.name, "seconds": round(seconds, 1)}), flush=True
            )
    print(json.dumps({"event": "end", "phase": options.phase, "done": done, "left": left}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
