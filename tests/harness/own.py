"""Tasks for the end-to-end tests, named in their YAML as `own:...`."""

import os
import signal

from conftest import Bowl


class Small(Bowl):
    """The bowl, as a user's own task."""

    def __init__(self):
        super().__init__()


class Troubled(Bowl):
    """Some trials raise, some diverge."""

    def loss(self, params, batch, hp):
        if hp["label_smoothing"] < 0.05:
            raise RuntimeError("out of luck")
        loss = super().loss(params, batch, hp)
        return loss * float("nan") if hp["label_smoothing"] > 0.25 else loss


class Killed(Bowl):
    """A trial kills its process, as running out of memory does."""

    def loss(self, params, batch, hp):
        if hp["label_smoothing"] < 0.1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(params, batch, hp)


class Slow(Bowl):
    """Takes long enough to be killed in the middle."""

    steps_per_unit = 100
