"""Do trials with larger hyper-gradients gain more?

Method and baseline trials of equal seed and number start from one sampled configuration; the gain is the
difference of their first scores.
"""

from __future__ import annotations

import numpy as np
import pandas as pd


def gradient_and_benefit(method: pd.DataFrame, baseline: pd.DataFrame) -> pd.DataFrame:
    """Pair the trials of two variations that share their sampled configuration.

    Args:
        method: Trials of the method (columns of `StudyResults.trials`).
        baseline: Trials of its baseline.

    Returns:
        One row per paired trial with a finite gradient norm and two finite first scores: seed, trial,
        gradient_norm, benefit (score of the method minus score of the baseline). Empty where the method has
        no gradients.
    """
    sampled = [c for c in method.columns if c.startswith("sampled.") and c in baseline.columns]
    columns = ["seed", "trial", "first_score", *sampled]
    joined = method[[*columns, "gradient_norm"]].merge(
        baseline[columns], on=["seed", "trial"], suffixes=("", ".baseline"), how="inner"
    )
    same = np.ones(len(joined), dtype=bool)
    for name in sampled:
        left, right = joined[name], joined[f"{name}.baseline"]
        same &= ((left == right) | (left.isna() & right.isna())).to_numpy(dtype=bool)
    benefit = joined["first_score"] - joined["first_score.baseline"]
    kept = same & np.isfinite(benefit.to_numpy(dtype=np.float64))
    kept &= np.isfinite(joined["gradient_norm"].to_numpy(dtype=np.float64))
    frame = pd.DataFrame(
        {
            "seed": joined["seed"],
            "trial": joined["trial"],
            "gradient_norm": joined["gradient_norm"],
            "benefit": benefit,
        }
    )
    return pd.DataFrame(frame.loc[kept].reset_index(drop=True))
