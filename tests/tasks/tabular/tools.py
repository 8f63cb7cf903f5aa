"""Small tables on disk, of every kind that trees take."""

from __future__ import annotations

import numpy as np

CONFIG = {
    "eta": 0.3,
    "max_depth": 4,
    "min_child_weight": 0.5,
    "subsample": 1.0,
    "colsample_bytree": 1.0,
    "lambda": 1.0,
    "alpha": 0.01,
    "gamma": 0.001,
}
SAMPLED = {**CONFIG, "subsample": 0.6, "colsample_bytree": 0.6}


def rows(count=120, seed=0):
    """Return rows of a table with numbers, text, missing values, a class and a number to predict."""
    rng = np.random.default_rng(seed)
    size, weight = rng.normal(size=count), rng.normal(size=count)
    colour = rng.choice(["red", "green", "blue"], count)
    signal = size + weight * (colour == "red") + 0.2 * rng.normal(size=count)
    lines = []
    for i in range(count):
        shown = "?" if i % 11 == 0 else f"{size[i]:.4f}"
        hue = "" if i % 13 == 0 else f" {colour[i]}"
        kind = "yes." if signal[i] > 0.5 else "no"
        lines.append(f"{i},{shown},{weight[i]:.4f},{hue},{i % 4},{kind},{signal[i]:.4f}")
    return lines


HEADER = "id,size,weight,colour,code,kind,signal"


def write(folder, name="plain.csv", lines=None):
    """Write a table and return its description, of a classification."""
    (folder / name).write_text("\n".join([HEADER, *(lines or rows())]) + "\n")
    return {"table": str(folder / name), "label": "kind", "drop": ["id", "signal"]}


def numbers(spec):
    """Return the description for a regression of the same table."""
    return {**spec, "label": "signal", "drop": ["id", "kind"]}
