"""A results directory as somebody who means harm would pack it: whole to the last digest, full of traps."""

import json
import os
import zipfile

import numpy as np

from hypernudge.results.digests import cell_key, plan_digest, record_digest
from hypernudge.results.jsonio import plain

SECRET = "do-not-show-me-4711"
SEEDS = range(6)
FORMULA = '=HYPERLINK("http://evil.example","click")'
HTML = "<script>alert(1)</script><img src=x onerror=alert(2)>"
LATEX = r"\input{/etc/passwd} $\foo$ & % # \\"
TERMINAL = "\x1b[2J\x1b]0;owned\x07\x00\u202egnp.exe"
MARKDOWN = "a|b\n\n# heading\n[x](http://evil.example) ![](http://evil.example/p.png) `code`"
TRAP = """
import pathlib
pathlib.Path({mark!r}).write_text(__name__)


class Task:
    optimizer = None

    def __init__(self, *args, **kwargs):
        pathlib.Path({mark!r}).write_text("built")


Engine = Policy = Task
"""


def shell(mark):
    return {"name": "os:system", "command": f"touch {mark}"}


def variations(mark):
    """What the plan names: run id -> labels and configuration."""
    plain_task = {"name": "breast_cancer_mlp", "label": HTML}
    traps = {
        "base": (plain_task, {"name": "none"}, {}),
        "warm-start": (plain_task, shell(mark), {}),
        "optimizer": ({**plain_task, "optimizer": shell(mark)}, {"name": "informed"}, {}),
        "model": (plain_task, {"name": "placebo"}, {"model": shell(mark)}),
        "task": ({**plain_task, "name": "evil:Task"}, {"name": "evil:Policy"}, {"engine": "evil:Engine"}),
        "resolver": (
            {**plain_task, "optimizer": {"name": "${oc.env:HOSTILE_SECRET}"}},
            {"name": "${oc.env:HOSTILE_SECRET}"},
            {},
        ),
        "data": (
            {"name": "supervised", "label": HTML, "dataset": {"table": "trap.csv"}},
            {"name": "placebo"},
            {},
        ),
    }
    labels = dict(zip(traps, ("none", FORMULA, LATEX, TERMINAL, MARKDOWN, "@SUM(1)", "-2+3"), strict=True))
    for run_id, (task, warm_start, more) in traps.items():
        engine = more.get("engine", "serial")
        yield (
            run_id,
            {
                "task": task,
                "scheduler": {"name": "asha", "label": "+asha", "max_units": 3},
                "warm_start": {**warm_start, "label": labels[run_id]},
                "engine": {"name": engine},
                "space": "mid",
                "training": {},
                "target": 0.8,
                "budget": {"units": 36},
                "workers": 4,
                "flops_per_second": 1e9,
                "seeds": list(SEEDS),
                **({"model": more["model"]} if "model" in more else {}),
            },
        )


def entry_of(spec):
    labels = {kind: spec[kind]["label"] for kind in ("task", "scheduler", "warm_start")}
    return {**labels, "seeds": spec["seeds"], "target": spec["target"], "metric": HTML, "spec": spec}


def sealed_record(run_id, spec, seed):
    """A record that passes every check of digest and identity."""
    rng = np.random.default_rng([seed, len(run_id)])
    trials, curve = [], {name: [] for name in ("time", "trial", "unit", "validation", "test")}
    for number in range(12):
        lr, score = float(10 ** rng.uniform(-3, 0)), float(rng.uniform(0.6, 0.9))
        config = {"lr": lr, "momentum": 0.9, "weight_decay": 1e-4}
        nudge = {"policy": TERMINAL, "changed": True, "flagged": False, "reason": HTML + TERMINAL + MARKDOWN}
        nudge |= {"gradient": None, "gradient_norm": None, "z": 0.5, "flops": 1.0, "measurements": {}}
        trial = {"trial": number, "sampled": config, "nudged": {**config, "lr": lr / 2}, "nudge": nudge}
        trials.append({**trial, "started": 0.0, "units": 1, "status": "paused", "milestones": [1]})
        for name, value in zip(curve, (number + 1.0, number, 1, score, score), strict=True):
            curve[name].append(value)
    labels = {kind: spec[kind]["label"] for kind in ("task", "scheduler", "warm_start")}
    declared = {"target": 0.8, "metric": HTML, "metric_range": [0.0, 1.0], "budget_seconds": 20.0}
    record = {
        "format": 1,
        "cell": {"run_id": run_id, **labels, "seed": seed, "key": cell_key(spec, seed)},
        "declared": declared,
        "status": "completed",
        "trials": trials,
        "curve": curve,
        "errors": [],
        "bill": {"training_flops": 12.0, "warm_start_flops": 1.0, "total_flops": 13.0},
        "wall": {"total_seconds": 1.0, "hardware": HTML},
    }
    return {**record, "digest": record_digest(plain(record))}


class Exploit:
    """What a pickle of which runs a command when it is read."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def write(root, mark):
    """Write the directory; whatever of it is run leaves the file `mark`."""
    root.mkdir()
    specs = dict(variations(str(mark)))
    plan = {
        "format": 1,
        "name": HTML,
        "variations": {run_id: entry_of(spec) for run_id, spec in specs.items()},
        "evidence": {"baseline": "none", "bootstrap": 200},
        "hash": plan_digest(specs, {"baseline": "none", "bootstrap": 200}),
    }
    (root / "plan.json").write_text(json.dumps(plan))
    for run_id, spec in specs.items():
        (root / run_id / "cells").mkdir(parents=True)
        for seed in SEEDS:
            path = root / run_id / "cells" / f"seed-{seed:04d}.json"
            path.write_text(json.dumps(sealed_record(run_id, spec, seed)))
        provenance = {"provenance": {"commit": HTML, "env": "${oc.env:HOSTILE_SECRET}"}}
        (root / run_id / "results.json").write_text(json.dumps(provenance))
    cells = root / "base" / "cells"
    (cells / "seed-0005.json").write_text("[" * 100_000)
    (root / "model" / "cells" / "seed-0005.json").unlink()
    os.mkfifo(root / "model" / "cells" / "seed-0005.lock")
    os.mkfifo(root / "warm-start" / "cells" / "seed-0099.json")
    (root / "task" / "cells" / "seed-0005.json").unlink()
    os.mkfifo(root / "task" / "cells" / "seed-0005.json")
    shown = {"reason": HTML, "changes": [{"path": "evidence.alpha", "planned": HTML, "run": TERMINAL}]}
    (root / "deviations.jsonl").write_text(json.dumps(shown) + "\n" + "{" * 100_000 + "\n")
    (root / "trap.csv").write_text("label,x\n" + "\n".join(f"{n % 2},{n}" for n in range(40)) + "\n")
    experiment = "name: ${oc.env:HOSTILE_SECRET}\ncommon: {task: {name: 'evil:Task'}}\nvariations: {a: {}}\n"
    (root / "experiment.yaml").write_text(experiment)
    # Modules that the commands import, in case anybody looks for them here.
    for name in (
        "evil",
        "yaml",
        "rich",
        "numpy",
        "pandas",
        "torch",
        "matplotlib",
        "sitecustomize",
        "conftest",
    ):
        (root / f"{name}.py").write_text(TRAP.format(mark=str(mark)))
    return root


def write_foreign(root, mark):
    """Write files that other commands read: a table, learning curves, folders of other tools."""
    import pickle

    root.mkdir()
    rows = ["task,variation,seed,time,score"]
    for variation in (FORMULA, TERMINAL.replace("\0", ""), LATEX):
        for seed in SEEDS:
            quoted = '"' + variation.replace('"', '""') + '"'
            rows += [f'"{HTML}",{quoted},{seed},{time},{0.1 * time + seed / 100}' for time in range(1, 9)]
    (root / "runs.csv").write_text("\n".join(rows) + "\n")
    trial = root / "ray" / "digits-asha-0" / "trial_0"
    trial.mkdir(parents=True)
    line = {"trial_id": "=1+1", "training_iteration": 1, "timestamp": 1, "time_total_s": 1.0, "score": 0.5}
    (trial / "result.json").write_text(json.dumps({**line, "config": {}}) + "\n")
    payload = pickle.dumps(Exploit(str(mark)))
    for name in ("params.pkl", "tuner.pkl", "trainable.pkl"):
        (trial / name).write_bytes(payload)
        (trial.parent / name).write_bytes(payload)
    with zipfile.ZipFile(root / "curves.npz", "w") as file:
        for name in ("hp", "hp_names", "valid"):
            array = np.array([Exploit(str(mark))], dtype=object)
            with file.open(f"{name}.npy", "w") as part:
                np.lib.format.write_array(part, array, allow_pickle=True)
    return root
