"""Tasks for engines of real workers: they say what they did, where a file counts it."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hypernudge.space import Categorical, Real, SearchSpace

SPACE = SearchSpace([Real("lr", 1e-3, 1.0, log=True), Real("shift", 0.0, 1.0)])


class Counted:
    """A black box whose state is a number; every unit that ends is a line of a file.

    Some configurations raise, some diverge.
    """

    name, space, metric, metric_range = "counted", SPACE, "score", (-10.0, 10.0)

    def __init__(self, folder, seconds=0.0, trouble=True):
        Path(folder).mkdir(exist_ok=True)
        self.file = Path(folder) / "units.txt"
        self.seconds, self.trouble = seconds, trouble

    def start(self, seed):
        return {"seed": seed, "unit": 0, "value": (seed % 1000) / 1000}

    def advance(self, state, hp):
        time.sleep(self.seconds)
        state["unit"] += 1
        state["value"] += hp["lr"] / state["unit"] - abs(hp["shift"] - 0.5)
        if self.trouble and hp["shift"] > 0.93:
            raise RuntimeError("out of luck")
        with self.file.open("a") as file:
            file.write(f"{state['seed']} {state['unit']} {os.getpid()}\n")
        return not (self.trouble and hp["shift"] < 0.1)

    def evaluate(self, state, split):
        return state["value"] + (0.5 if split == "test" else 0.0)

    def unit_flops(self, hp):
        return 1e9

    def units(self):
        """Return (seed, unit) of every unit that has ended, in order."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return [tuple(map(int, line.split()[:2])) for line in lines]


class Everything:
    """A state with all that can be said: a module, an optimizer, generators, arrays, containers."""

    name, space, metric, metric_range = "everything", SPACE, "loss", (-100.0, 0.0)

    def __init__(self):
        drawn = torch.Generator().manual_seed(0)
        self.x, self.y = torch.randn(64, 5, generator=drawn), torch.randn(64, 1, generator=drawn)

    def start(self, seed):
        return Learner(self, seed)

    def advance(self, state, hp):
        return state.learn(hp["lr"], hp["shift"])

    def evaluate(self, state, split):
        with torch.no_grad():
            return -float(((state.net(self.x) - self.y) ** 2).mean())

    def weights(self, state):
        return {name: value.detach().clone() for name, value in state.net.state_dict().items()}

    def unit_flops(self, hp):
        return 1e9


class Learner:
    def __init__(self, task, seed):
        self.data = task.x, task.y  # the task's own: no part of what is written
        with torch.random.fork_rng():
            torch.manual_seed(seed % 2**31)
            self.net = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 1))
        self.leaf = torch.zeros(3, requires_grad=True)
        self.optimizer = torch.optim.Adam([*self.net.parameters(), self.leaf])
        self.schedule = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.9)
        self.order = np.random.default_rng(seed)
        self.coin = random.Random(seed)
        self.noise = torch.Generator().manual_seed(seed % 2**31)
        self.seen, self.sizes, self.log = np.zeros(4, np.int32), {2, 5}, []
        self.best = None
        self.nested = {"a": (1, [2.0, {"b": b"bytes"}]), ("t", 1): np.float32(0.5)}
        self.rule = lambda value: value + 1

    def learn(self, lr, shift):
        x, y = self.data
        self.net.train()
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", lr)
        for _ in range(3):
            rows = torch.from_numpy(self.order.permutation(len(x))[:16].copy())
            inputs = x[rows] + shift * torch.randn(16, 5, generator=self.noise)
            loss = ((self.net(inputs) - y[rows]) ** 2).mean() + (
                self.leaf - self.coin.random()
            ).square().sum()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.log.append(float(loss.detach()))
        self.schedule.step()
        self.seen[len(self.log) % 4] += 1
        self.best = (
            torch.tensor(min(self.log))
            if self.best is None
            else torch.minimum(self.best, torch.tensor(self.log[-1]))
        )
        return True


class Unsayable(Counted):
    """Its state holds a generator, which no file can."""

    name = "unsayable"

    def start(self, seed):
        return {**super().start(seed), "draws": iter(range(seed % 7 + 100))}


CHOICES = SearchSpace([Real("lr", 1e-3, 1.0, log=True), Categorical("width", (4, (1, 2)))])


class CannotBeBuilt(Counted):
    def __reduce__(self):
        return _fail, ()


def _fail():
    raise ImportError("no such data set here")


class CannotBeSent(Counted):
    def __init__(self, folder):
        super().__init__(folder)
        self.parts = [1, {"lock": threading.Lock()}]
