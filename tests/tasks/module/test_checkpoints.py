"""Trials on disk: bits, memory, files, damage."""

import gc
import subprocess
import sys
import textwrap

import pytest
import torch

from hypernudge import ASHA, tune
from hypernudge.errors import NotSavedError
from hypernudge.results import files
from hypernudge.tasks.module.training import Training
from hypernudge.trial import Report
from tests.tasks.module.small import CONFIG, NETWORKS, SPACE, STEPS, classify, plain_task, task_of

UNITS = 4
OPTIONS = {"schedule": {"name": "cosine", "warmup": 0.2}, "fixed": {"ema": 0.5, "grad_clip": 1.0}}
DYING = textwrap.dedent(
    """
    import os, signal, sys
    import torch
    from tests.tasks.module.small import CONFIG, task_of
    torch.set_num_threads(1)  # sums of several threads have other bits
    name, rule, units, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    task = task_of(name, optimizer=rule, units=4, checkpoint_dir=folder,
                   schedule={"name": "cosine", "warmup": 0.2}, fixed={"ema": 0.5, "grad_clip": 1.0})
    state = task.start(7)
    for _ in range(units):
        task.advance(state, CONFIG)
        task.evaluate(state, "validation")
    os.kill(os.getpid(), signal.SIGKILL)
    """
)


def everything(training):
    """Return all that a training has changed, flat, for comparison to the bit."""
    state = training.state()
    moments = {
        f"{index}/{name}": value
        for index, of in state["optimizer"]["state"].items()
        for name, value in of.items()
        if isinstance(value, torch.Tensor)
    }
    average = {f"average/{index}": value for index, value in enumerate(state["average"])}
    return {**state["model"], **moments, **average}


def same_bits(one, other):
    """Whether two trainings are equal."""
    a, b = everything(one), everything(other)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def trained(task, units, seed=7):
    """Return a trial after some units, with its scores."""
    state, scores = task.start(seed), []
    for _ in range(units):
        assert task.advance(state, CONFIG)
        scores.append(task.evaluate(state, "validation"))
    return state, scores


@pytest.mark.parametrize("rule", ["sgd", "adamw"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_trial_goes_on_from_any_unit_with_the_bits_it_would_have_had(name, rule, tmp_path):
    options = {"optimizer": rule, "units": UNITS, **OPTIONS}
    straight, scores = trained(task_of(name, **options), UNITS)
    for killed in range(1, UNITS):
        folder = tmp_path / str(killed)
        before = task_of(name, checkpoint_dir=folder, **options)
        trained(before, killed)
        task = task_of(name, checkpoint_dir=folder, **options)  # as in a new process
        again, found = trained(task, UNITS)
        assert found == scores
        assert same_bits(again.training, straight.training)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rule", "killed"), [("resnet", "sgd", 1), ("lm", "adamw", 2), ("vit", "sgd", 3)]
)
def test_a_killed_process_leaves_whole_files(name, rule, killed, tmp_path, monkeypatch):
    straight, scores = trained(task_of(name, optimizer=rule, units=UNITS, **OPTIONS), UNITS)
    died = subprocess.run([sys.executable, "-c", DYING, name, rule, str(killed), str(tmp_path)], check=False)
    assert died.returncode == -9
    (file,) = tmp_path.glob("*.pt")
    content = torch.load(file, weights_only=True)
    assert content["state"]["unit"] == killed
    steps = []
    monkeypatch.setattr(Training, "advance", counting(Training.advance, steps))
    again, found = trained(
        task_of(name, optimizer=rule, units=UNITS, checkpoint_dir=tmp_path, **OPTIONS), UNITS
    )
    assert found == scores and same_bits(again.training, straight.training)
    assert len(steps) == UNITS - killed  # what was done is not done again


@pytest.mark.parametrize("step", [0, 1, 4, 10])
def test_a_kill_within_a_unit_costs_that_unit(step, tmp_path):
    class Killed(BaseException):
        pass

    taken = []

    def dying(model, batch, hp):
        taken.append(1)
        if len(taken) == step + 1:
            raise Killed
        return classify(model, batch, hp)

    straight, scores = trained(plain_task(units=UNITS, **OPTIONS), UNITS)
    with pytest.raises(Killed):
        trained(plain_task(units=UNITS, checkpoint_dir=tmp_path, loss=dying, **OPTIONS), UNITS)
    done = step // STEPS
    files_left = list(tmp_path.glob("*.pt"))
    assert [torch.load(file, weights_only=True)["state"]["unit"] for file in files_left] == [done] * bool(
        done
    )
    again, found = trained(plain_task(units=UNITS, checkpoint_dir=tmp_path, **OPTIONS), UNITS)
    assert found == scores and same_bits(again.training, straight.training)


def counting(method, calls):
    def counted(self, *arguments):
        calls.append(self)
        return method(self, *arguments)

    return counted


def test_trials_take_turns_in_memory_and_each_finds_itself_again():
    task = task_of("resnet", units=UNITS)
    states = [task.start(seed) for seed in range(4)]
    for _ in range(UNITS):
        for state in states:
            assert task.advance(state, CONFIG)
            task.evaluate(state, "validation")
            assert sum(other.training is not None for other in states) == 1
    for seed, state in enumerate(states):
        _, scores = trained(task_of("resnet", units=UNITS), UNITS, seed)
        assert [state.scores["validation"][unit] for unit in range(1, UNITS + 1)] == scores
    folder = task._trials.checkpoints.folder
    assert len(list(folder.glob("*.pt"))) <= 1  # of finished trials nothing is left, but of the last
    assert same_bits(states[-1].training, trained(task_of("resnet", units=UNITS), UNITS, 3)[0].training)
    del task, states, state
    gc.collect()
    assert not folder.exists()


def test_a_trial_that_is_dropped_takes_its_file_along():
    task = plain_task(units=3)
    states = [task.start(seed) for seed in range(3)]
    for state in states:
        task.advance(state, CONFIG)
    folder = task._trials.checkpoints.folder
    assert len(list(folder.glob("*.pt"))) == 2
    states.clear()
    del state
    gc.collect()
    assert list(folder.glob("*.pt")) == []


def study(task, **options):
    return tune(task, ASHA(SPACE, max_units=9, eta=3, max_trials=9), seed=0, workers=2, **options)


def test_a_study_that_is_interrupted_goes_on_from_disk(tmp_path, monkeypatch):
    plain = study(plain_task())
    events = []

    def stop(event):
        events.append(event)
        if sum(isinstance(e, Report) for e in events) == 6:
            raise KeyboardInterrupt

    calls = []
    monkeypatch.setattr(Training, "advance", counting(Training.advance, calls))
    with pytest.raises(KeyboardInterrupt):
        study(plain_task(checkpoint_dir=tmp_path), callback=stop)
    done = len(calls)
    assert list(tmp_path.glob("*.pt"))
    resumed = study(plain_task(checkpoint_dir=tmp_path), resume_from=events)
    reports = [(r.job, r.units, r.outcome) for r in resumed.reports]
    assert reports == [(r.job, r.units, r.outcome) for r in plain.reports]
    assert len(calls) == sum(len(r.units) for r in plain.reports) and done < len(calls)
    assert not tmp_path.exists()  # the study is over


def test_kept_files_hold_the_trained_weights(tmp_path):
    found = study(plain_task(checkpoint_dir=tmp_path, keep_checkpoints=True))
    kept = {
        content["state"]["unit"]: content
        for content in (torch.load(path, weights_only=True) for path in tmp_path.glob("*.pt"))
    }
    assert max(kept) == 9 and len(list(tmp_path.glob("*.pt"))) == len(found.history.trials)
    assert "layers.1.weight" in kept[9]["state"]["model"] and 9 in kept[9]["scores"]["validation"]


@pytest.mark.parametrize("damage", [b"", b"not a file", None, "other model"])
def test_a_damaged_file_costs_time_only(damage, tmp_path, caplog):
    options = {"units": UNITS, "checkpoint_dir": tmp_path}
    straight, scores = trained(plain_task(units=UNITS), UNITS)
    trained(plain_task(**options), 2)
    (file,) = tmp_path.glob("*.pt")
    if damage is None:
        file.write_bytes(file.read_bytes()[:-100])
    elif isinstance(damage, bytes):
        file.write_bytes(damage)
    else:
        content = torch.load(file, weights_only=True)
        content["state"]["model"]["layers.1.weight"] = torch.zeros(3, 3)
        torch.save(content, file)
    again, found = trained(plain_task(**options), UNITS)
    assert found == scores and same_bits(again.training, straight.training)
    assert len(caplog.records) == 1 and "trained again" in caplog.text


def test_a_file_that_runs_code_is_not_run(tmp_path, caplog):
    options = {"units": UNITS, "checkpoint_dir": tmp_path / "files"}
    trained(plain_task(**options), 1)
    (file,) = (tmp_path / "files").glob("*.pt")
    torch.save({"format": 1, "trial": Hostile(str(tmp_path / "proof"))}, file)
    trained(plain_task(**options), 1)
    assert not (tmp_path / "proof").exists() and "cannot be read" in caplog.text


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_disk_that_is_full_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    task = plain_task(units=UNITS, checkpoint_dir=tmp_path)
    state, _ = trained(task, 1)
    (file,) = tmp_path.glob("*.pt")
    before = file.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_sync", full)
    with pytest.raises(NotSavedError, match="No space"):
        task.advance(state, CONFIG)
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]


def test_a_trial_that_diverged_is_not_trained_again(tmp_path):
    wild = {**CONFIG, "lr": 1e3}

    def exploding(model, batch, hp):
        return (model(batch[0]) ** 2).mean() * 1e30

    options = {"units": UNITS, "checkpoint_dir": tmp_path, "loss": exploding}
    first = plain_task(**options)
    assert not first.advance(first.start(0), wild)
    again = plain_task(**options)
    assert not again.advance(again.start(0), wild)
    assert len(list(tmp_path.glob("*.pt"))) <= 1


PEAK = textwrap.dedent(
    """
    import sys
    import torch
    from hypernudge import ModuleTask
    from hypernudge.tasks.vision.resnet import resnet20
    from tests.memory import peak_kilobytes
    from tests.tasks.module.small import CONFIG, SPACE, classify
    torch.set_num_threads(1)
    x, y = torch.randn(16, 3, 16, 16), torch.randint(10, (16,))
    task = ModuleTask(lambda hp: resnet20(), ((x, y), (x, y)), classify, "accuracy", SPACE,
                      batch_size=16, units=2, device="cpu")
    states = [task.start(seed) for seed in range(int(sys.argv[1]))]
    for state in states:
        assert task.advance(state, CONFIG)
    folder = task._trials.checkpoints.folder
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(peak_kilobytes(), len(list(folder.iterdir())), size)
    """
)


@pytest.mark.slow
def test_200_paused_trials_need_the_memory_of_one():
    def peak(trials):
        out = subprocess.run(
            [sys.executable, "-c", PEAK, str(trials)], capture_output=True, text=True, check=True
        )
        return [int(number) for number in out.stdout.split()]

    alone, _, _ = peak(1)
    many, files_left, size = peak(200)
    assert many <= 1.1 * alone
    assert (
        files_left == 199 and size < 199 * 3e6
    )  # parameters, momenta and statistics of 0.27 million weights
