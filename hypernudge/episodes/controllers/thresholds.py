"""How much evidence a change of the rate takes, by where the multiplier stands."""

from typing import Any

from hypernudge.episodes import checks


class Thresholds:
    """Thresholds of the test on agreement, and how many probes it may take.

    Args:
        z_up: Of growing.
        z_down: Of shrinking.
        z_recover: Of growing below multiplier 1, after the first shrinking; None for `z_up`.
        z_above_base: The same from multiplier 1 on.
        z_at_base: Of growing and of shrinking at multiplier 1; None treats 1 like any other.
        z_warmup: What an undecided test must exceed for growth during the warm-up.
        samples: Probes after which the test gives up.
        warmup_samples: The same during the warm-up.
        base_samples: The same at multiplier 1.
        min_samples: Probes before the first look.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        *,
        z_up: float,
        z_down: float,
        z_recover: float | None,
        z_above_base: float | None,
        z_at_base: tuple[float, float] | None,
        z_warmup: float,
        samples: int,
        warmup_samples: int,
        base_samples: int,
        min_samples: int,
    ) -> None:
        self.z_up = checks.positive("z_up", z_up)
        self.z_down = checks.positive("z_down", z_down)
        self.z_recover = None if z_recover is None else checks.positive("z_recover", z_recover)
        self.z_above_base = None if z_above_base is None else checks.positive("z_above_base", z_above_base)
        if z_at_base is not None:
            if not isinstance(z_at_base, (tuple, list)) or len(z_at_base) != 2:
                checks.refuse("z_at_base", "must be two thresholds or None", z_at_base, "pass (3.0, 2.0)")
            z_at_base = (
                checks.positive("z_at_base", z_at_base[0]),
                checks.positive("z_at_base", z_at_base[1]),
            )
        self.z_at_base = z_at_base
        self.z_warmup = checks.number("z_warmup", z_warmup)
        self.samples = checks.at_least("samples", samples, 1)
        self.warmup_samples = checks.at_least("warmup_samples", warmup_samples, 1)
        self.base_samples = checks.at_least("base_samples", base_samples, 1)
        self.min_samples = checks.at_least("min_samples", min_samples, 1)
        if min_samples > min(samples, warmup_samples, base_samples):
            rule = "must be at most samples, warmup_samples and base_samples"
            given = (min_samples, samples, warmup_samples, base_samples)
            checks.refuse("min_samples", rule, given, "lower it")

    @property
    def most_samples(self) -> int:
        """The most probes that any test may take."""
        return max(self.samples, self.warmup_samples, self.base_samples)

    def is_at_base(self, multiplier: float) -> bool:
        """Whether the multiplier is that of the user's own rate, where that rate is special."""
        return self.z_at_base is not None and multiplier == 1.0

    def is_warming_up(self, multiplier: float, fell: bool) -> bool:
        """Whether the multiplier is below 1 and no verdict was negative yet."""
        return self.z_at_base is not None and multiplier < 1.0 and not fell

    def limit(self, multiplier: float, fell: bool) -> int:
        """Return after how many probes an undecided test gives up."""
        if self.is_at_base(multiplier):
            return self.base_samples
        return self.warmup_samples if self.is_warming_up(multiplier, fell) else self.samples

    def of(self, multiplier: float, fell: bool) -> tuple[float, float]:
        """Return those of growing and of shrinking, both above 0."""
        if self.z_at_base is not None and self.is_at_base(multiplier):
            return self.z_at_base
        if not fell:
            return self.z_up, self.z_down
        return (self.z_recover if multiplier < 1.0 else self.z_above_base) or self.z_up, self.z_down

    def after_a_crossing(self, before: float, after: float) -> float:
        """Return what `before` becomes where a verdict says `after`: no change passes the user's rate."""
        passes_one = (before - 1.0) * (after - 1.0) < 0
        return 1.0 if passes_one and self.z_at_base is not None else after

    def fingerprint(self) -> dict[str, Any]:
        """Return the settings in plain types."""
        return {
            "thresholds": [
                self.z_up,
                self.z_down,
                self.z_recover,
                self.z_above_base,
                self.z_warmup,
                *(self.z_at_base or ()),
            ],
            "samples": [self.min_samples, self.samples, self.warmup_samples, self.base_samples],
        }
