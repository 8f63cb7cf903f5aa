"""Long-form results as other tools might leave them, whole and damaged."""

import numpy as np
import pandas as pd
import pytest


def results(tasks=("digits", "wine"), seeds=10, factor=0.7, seed=0):
    """Saturating curves; the method `mine` is `factor` times as slow as `asha`."""
    rng, rows = np.random.default_rng(seed), []
    for task in tasks:
        for number in range(seeds):
            pace = 20.0 * np.exp(0.3 * rng.normal())
            for variation, speed in (("asha", 1.0), ("mine", factor)):
                own = pace * speed * np.exp(0.1 * rng.normal())
                for step in range(1, 21):
                    score = 0.95 * (1 - np.exp(-5.0 * step / own)) + 0.004 * rng.normal()
                    rows.append((task, variation, number, 5.0 * step, round(score, 4)))
    return pd.DataFrame(rows, columns=["task", "variation", "seed", "time", "score"])


def written(frame, path):
    """Write a table in the format of the path's suffix; return the path."""
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        pytest.importorskip("pyarrow", reason="Parquet needs hypernudge[parquet]")
        frame.to_parquet(path, index=False)
    return path


def swap(frame, first, second):
    """Exchange two rows."""
    order = list(range(len(frame)))
    order[first], order[second] = order[second], order[first]
    return frame.iloc[order]


def put(frame, row, column, value):
    """Set one entry, whatever its kind."""
    kind = object if isinstance(value, str) else frame[column].dtype if value is not None else object
    frame = frame.astype({column: "float64" if isinstance(value, float) else kind})
    frame.iloc[row, frame.columns.get_loc(column)] = value
    return frame


def without_a_pair(frame):
    """Drop one cell."""
    gone = (frame["task"] == "wine") & (frame["variation"] == "mine") & (frame["seed"] == 4)
    return frame[~gone]


def of_mixed_hardware(frame):
    """Three rows of one machine, all others of another."""
    return frame.assign(hardware=["a100"] * 3 + ["h100"] * (len(frame) - 3))
