"""Why several settings together decide nothing is said, and not only the rule."""

import numpy as np
import pandas as pd
import pytest

from hypernudge.evidence.report.compare_file import Request, compare_file


def table(path, ratios):
    """Ten seeds a task; the method needs `ratios[task]` of the baseline's time, which differs by seed."""
    rng, rows = np.random.default_rng(0), []
    for task, ratio in ratios.items():
        for seed in range(10):
            time = float(rng.uniform(8, 12))
            for variation, factor in (("asha", 1.0), ("mine", ratio)):
                rows += [(task, variation, seed, time * factor, 0.92), (task, variation, seed, 40.0, 0.92)]
    frame = pd.DataFrame(rows, columns=["task", "variation", "seed", "time", "score"])
    frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("ratios", "verdict", "words"),
    [
        (
            {"a": 0.3, "b": 0.8},
            "inconclusive",
            "met in 2 of 2, but the interval of the ratio over 2 tasks reaches ",
        ),
        ({"a": 0.5, "b": 1.0}, "inconclusive", "met in 1 of 2, which neither supports nor refutes it"),
        ({"a": 0.5, "b": 0.5, "c": 0.51}, "supported", "in at least 75% of the settings"),
    ],
)
def test_the_reason_says_what_stood_in_the_way(tmp_path, ratios, verdict, words):
    events = []
    compare_file(table(tmp_path / "runs.csv", ratios), Request(baseline="asha", target=0.9), events.append)
    (last,) = (event for event in events if event["event"] == "verdict")
    assert last["verdict"] == verdict and words in last["reason"], last
    assert verdict != "supported" or last["reason"].endswith(words)
