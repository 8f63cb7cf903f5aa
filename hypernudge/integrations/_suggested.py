"""What callbacks of trainers share that ask `hypernudge.suggest` for a rate when a training begins."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from hypernudge.errors import require_flag
from hypernudge.suggestion.agreement import agreed
from hypernudge.suggestion.result import Suggestion
from hypernudge.suggestion.suggest import check_numbers, suggest


class SuggestsRate:
    """Asks, says what was found, and sets the rate of the optimizer and its schedulers.

    Args:
        only_print: Whether the suggestion is only written to standard error.
        options: `trial_steps`, `seconds` and `seed`, as for `suggest`.

    Attributes:
        suggestion: The last one; None before a training has begun.

    Raises:
        InvalidArgumentError: An argument is out of range.
    """

    def __init__(self, only_print: bool, **options: Any) -> None:
        require_flag("only_print", only_print)
        check_numbers(**options)
        self.only_print = only_print
        self.suggestion: Suggestion | None = None
        self._options = options

    def _ask(
        self,
        model: Any,
        loss: Any,
        data: Any,
        optimizer: Any,
        schedulers: Sequence[Any],
        *,
        speaks: bool,
        **training: Any,
    ) -> None:
        """Ask, and set the rate in every process to what the first has found.

        Args:
            model: As for `suggest`; so are `loss`, `data`, `optimizer` and the entries of `training`.
            loss: See `model`.
            data: See `model`.
            optimizer: See `model`.
            schedulers: Those of the trainer, whose rates are set, too.
            speaks: Whether this process writes to standard error.
            training: See `model`.
        """
        self.suggestion = agreed(suggest(model, loss, data, optimizer, **training, **self._options))
        if speaks:
            sys.stderr.write(f"hypernudge: {self.suggestion}\n")
        if not self.only_print:
            self.suggestion.apply(optimizer, *schedulers)
