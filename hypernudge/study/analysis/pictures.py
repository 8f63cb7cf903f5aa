"""`study.plot`: pictures of a study, by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hypernudge.errors import package
from hypernudge.registry import REGISTRY, resolve

if TYPE_CHECKING:
    from hypernudge.study.study import Study

PICTURES = tuple(REGISTRY["picture"])


def draw(kind: str, study: Study, path: str | Path | None = None, **options: Any) -> Any:
    """Draw a picture by its name.

    Args:
        kind: One of `PICTURES`, or `module:attribute` of a function that takes `(study, path=...)`.
        study: Of what.
        path: Where it is written, too.
        **options: Of that picture.

    Raises:
        MissingExtraError: If Matplotlib is not installed.
        InvalidArgumentError: If there is no such picture, or the study has nothing to draw.
    """
    package("matplotlib", "harness", "plot")
    return resolve("picture", kind)(study, path=path, **options)


class Plots:
    """Pictures of a study: each returns a Matplotlib figure, and writes it to `path` if that is given.

        study.plot.incumbent(path="incumbent.pdf")
        study.plot.slices().axes[0].set_title("mine")

    A path ends in `.pdf`, `.svg` or `.png`. They need the extra `harness`, and work while the study runs.

    Every picture raises `MissingExtraError` if Matplotlib is not installed, and `InvalidArgumentError` for
    a path that cannot be written, for an option that breaks a rule, and if there is nothing to draw: no trial
    has begun, none has a score, or none was moved.
    """

    def __init__(self, study: Study) -> None:
        self._study = study

    def incumbent(self, *, path: str | Path | None = None) -> Any:
        """Draw the best score so far over the study's clock, and every score at a rung.

        Args:
            path: Where it is written, too.

        Returns:
            The figure.
        """
        return draw("incumbent", self._study, path)

    def learning_curves(self, *, path: str | Path | None = None) -> Any:
        """Draw every trial's scores over units of training, coloured by the last rung that it reached.

        Args:
            path: Where it is written, too.

        Returns:
            The figure.
        """
        return draw("learning_curves", self._study, path)

    def parallel_coordinates(self, *, top: int = 10, path: str | Path | None = None) -> Any:
        """Draw each trial as a line through its values, the best in colour, up to its best score.

        Args:
            top: How many of the best are coloured.
            path: Where it is written, too.

        Returns:
            The figure.
        """
        return draw("parallel_coordinates", self._study, path, top=top)

    def slices(self, *, path: str | Path | None = None) -> Any:
        """Draw the best score of each trial over each hyper-parameter.

        Args:
            path: Where it is written, too.

        Returns:
            The figure.
        """
        return draw("slices", self._study, path)

    def importance(
        self,
        *,
        method: Literal["fanova", "permutation"] = "fanova",
        unit: int | None = None,
        seed: int = 0,
        path: str | Path | None = None,
    ) -> Any:
        """Draw which hyper-parameters matter, with intervals: see `Study.importance`.

        Args:
            method: See there.
            unit: See there.
            seed: See there.
            path: Where it is written, too.

        Returns:
            The figure.
        """
        return draw("importance", self._study, path, method=method, unit=unit, seed=seed)

    def timeline(self, *, path: str | Path | None = None) -> Any:
        """Draw what each worker trained when, by rung; the cost of warm starts dark.

        Workers are told from the clock: a job goes to the first that is free. How long the warm starts of a
        record of `hypernudge run` took is not in it.

        Args:
            path: Where it is written, too.

        Returns:
            The figure.
        """
        return draw("timeline", self._study, path)

    def shifts(self, *, path: str | Path | None = None) -> Any:
        """Draw from where to where the warm start moved each hyper-parameter.

        Args:
            path: Where it is written, too.

        Returns:
            The figure.
        """
        return draw("shifts", self._study, path)
