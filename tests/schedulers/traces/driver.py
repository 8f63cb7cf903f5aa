"""The simulation that references and our own schedulers are recorded under. Needs NumPy only.

Workers train rows of a table of learning curves. Trial `i` follows row `order(seed)[i]`; a unit of row `r`
takes `10 + r % 7` ticks. A job ends at its milestone, or at the first unit without a finite loss; its results
arrive all at once when it ends. Jobs that end together arrive in the order in which they began, and a worker
that becomes free asks for its next job before the next result arrives.
"""

import hashlib
import heapq
import zlib
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
DATA = FOLDER.parents[3] / "shared" / "data" / "hpo_taskset"
FILES = (
    "patch32_GRU128_bs128",
    "patch32_LSTM128_bs128",
    "patch32_VRNN128_tanh_bs128",
    "patch128_LSTM128_avg_bs64",
)
# No reference of PASHA can rank a trial that diverges: it reads every unit of every trial.
FILES_WITHOUT_NAN = (*FILES[:3], "patch32_VRNN64_tanh_avg_bs128")
SEEDS = range(20)
WORKERS = (1, 4, 16)
DECISIONS = 200
BLOCK = 20  # decisions under one check
ETA, MAX_UNITS = 3, 27
DIVERGED = 1e9  # the loss that a reference is told instead of NaN


def curves(name, finite_only=False, data=DATA):
    """Return the losses of a file, `(n, T)`; without the rows that diverge, if so wished."""
    losses = np.load(data / f"{name}.npz")["valid"].astype(float)
    return losses[np.isfinite(losses).all(axis=1)] if finite_only else losses


def order(seed, count):
    """Return the rows that trials follow."""
    return np.random.Generator(np.random.Philox(key=seed)).permutation(count).tolist()


def drive(scheduler, losses, seed, workers, decisions=DECISIONS):
    """Return the decisions `(trial, until)` of a scheduler with `decide(next)` and `report(...)`."""
    rows = order(seed, len(losses))
    heap, trace, now, begun, running, position = [], [], 0, 0, 0, {}
    while len(trace) < decisions:
        while running < workers and len(trace) < decisions:
            trial, until = scheduler.decide(len(position))
            row, since = rows[trial], position.get(trial, 0)
            trace.append((trial, until))
            position[trial] = until
            values = losses[row, since:until]
            finite = np.isfinite(values)
            length = until - since if finite.all() else int(np.argmin(finite)) + 1
            running, begun = running + 1, begun + 1
            heapq.heappush(
                heap, (now + length * (10 + row % 7), begun, trial, since, until, values[:length].tolist())
            )
        now, _, trial, since, until, values = heapq.heappop(heap)
        running -= 1
        scheduler.report(trial, since, until, values)
    return trace


def text(trace):
    """Return a trace as text, a decision a word: `s<until>` for a start, `<trial>:<until>` otherwise."""
    seen, words = set(), []
    for trial, until in trace:
        words.append(f"{trial}:{until}" if trial in seen else f"s{until}")
        seen.add(trial)
    return " ".join(words)


def checks(trace):
    """Return four hexadecimal digits for every block of decisions: which block differs is seen at once."""
    blocks = [trace[i : i + BLOCK] for i in range(0, len(trace), BLOCK)]
    return "".join(f"{zlib.crc32(text(block).encode()) & 0xFFFF:04x}" for block in blocks)


def digest(trace):
    """Return sixteen hexadecimal digits of a whole trace."""
    return hashlib.sha256(text(trace).encode()).hexdigest()[:16]
