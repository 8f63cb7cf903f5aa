"""Tasks for the end-to-end tests, named in their YAML as `own:...`."""

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from conftest import Bowl
from torch import nn

from hypernudge.errors import require
from hypernudge.parameters import Categorical, Real
from hypernudge.space import SearchSpace
from hypernudge.tasks.module.task import ModuleTask


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
    """While `HYPERNUDGE_TEST_KILL` is set, a trial kills its process, as running out of memory does."""

    def loss(self, params, batch, hp):
        if hp["label_smoothing"] < 0.05 and os.environ.get("HYPERNUDGE_TEST_KILL"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(params, batch, hp)


class FullDisk(Bowl):
    """While `HYPERNUDGE_TEST_FILE_LIMIT` is set, its process can write no file beyond so many bytes."""

    def __init__(self):
        super().__init__()
        limit = os.environ.get("HYPERNUDGE_TEST_FILE_LIMIT")
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))


class OutOfMemory(Bowl):
    """Training says that it is out of memory: the study's own, and a result."""

    def study(self, units):
        raise torch.OutOfMemoryError("tried to allocate too much")


CHOICES = {
    "classes": (int, str),
    "a set": ("text", frozenset({1})),
    "an object in a list": ([1], [object()]),
    "a function in a mapping": ({"a": print}, 2),
    "data": ((64, 64), {"a": None}, np.float32(0.5), True, "text"),
}


class Choosing(Bowl):
    """Has a choice more; not all of what it may choose from can be in a record."""

    def __init__(self, of="data"):
        super().__init__()
        self.space = SearchSpace([*self.space, Categorical("kind", CHOICES[of])])


class Slow(Bowl):
    """Takes long enough to be killed in the middle."""

    steps_per_unit = 100


class Paced(Bowl):
    """A worker waits `HYPERNUDGE_TEST_PACE` seconds in each unit; what it computes is the same without."""

    def loss(self, params, batch, hp):
        checked = multiprocessing.parent_process() is None and "SLURM_JOB_ID" not in os.environ
        if not checked:  # by whoever starts the workers
            time.sleep(float(os.environ.get("HYPERNUDGE_TEST_PACE", "0")) / self.steps_per_unit)
        return super().loss(params, batch, hp)


class Talking(Bowl):
    """Says something in three ways, the last without an end; a worker may wait for a file, or be killed."""

    def __init__(self, says="", wait_for="", killed=False):
        super().__init__()
        sys.stdout.write(f"{says} é\n")
        subprocess.run(["echo", f"{says} by another program"], check=True)
        sys.stderr.write(f"{says} without an end")
        if multiprocessing.parent_process() is None:  # built to be checked
            return
        deadline = time.monotonic() + 120
        while wait_for and not Path(wait_for).exists():
            require(time.monotonic() < deadline, "wait_for", "must come", wait_for, "run what writes it")
            time.sleep(0.01)
        if killed:
            os.kill(os.getpid(), signal.SIGKILL)


class Unwilling(Bowl):
    """Can be built where the plan is made, and not where it is run: it is refused, or raises an error."""

    def __init__(self, colour, raises=""):
        super().__init__()
        if multiprocessing.parent_process() is None:
            return
        if raises:
            raise {"OSError": OSError, "KeyError": KeyError}[raises](colour)
        require(False, "colour", "must be another one", colour, "choose one")


class Broken(Bowl):
    """Cannot be built."""

    def __init__(self, how="plainly"):
        raise RuntimeError(f"broken\n{how}")


def _fail(function):
    def fail(*args, **kwargs):
        raise RuntimeError(f"{function}\nis broken here")

    return fail


class Gradient(Bowl):
    """One of its functions raises."""

    def __init__(self, broken):
        super().__init__()
        setattr(self, broken, _fail(broken))


class Module(ModuleTask):
    """One of the functions that it is given raises."""

    metric_range = (-float("inf"), 0.0)

    def __init__(self, broken):
        x = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
        parts = {
            "model": lambda hp: nn.Linear(4, 1),
            "loss": lambda model, batch, hp: (model(batch[0]) - batch[1]).square().mean(),
            "score": lambda model, split: -sum(float(model(x).sum() - y.sum()) ** 2 for x, y in split),
        }
        if broken in parts:
            parts[broken] = {"model": lambda hp: fail(), "loss": lambda model, batch, hp: fail()}.get(
                broken, lambda model, split: fail()
            )
        fail = _fail(broken)
        data = ((x, x.sum(1, keepdim=True)),) * 2
        space = SearchSpace([Real("lr", 1e-4, 1.0, log=True)])
        super().__init__(data=data, space=space, metric_range=(-float("inf"), 0.0), batch_size=8, **parts)


class BlackBox:
    """A task without gradients, one of whose functions raises."""

    name, metric, metric_range = "box", "score", (-float("inf"), 0.0)
    space = SearchSpace([Real("x", 0.0, 1.0)])

    def __init__(self, broken):
        setattr(self, broken, _fail(broken))

    def start(self, seed):
        return [0]

    def advance(self, state, hp):
        state[0] += 1
        return True

    def evaluate(self, state, split):
        return 1.0 / state[0] if state[0] else float("nan")

    def unit_flops(self, hp):
        return 1.0
