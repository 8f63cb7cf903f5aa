"""States of trials that wait leave memory, and come back to the bit; what cannot is said once."""

import collections
import random
import subprocess
import sys
import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import nn

from hypernudge import PopulationEngine, Real, SearchSpace, tune
from hypernudge.engine import waiting
from hypernudge.engine.packing import UnpackableError, pack, unpack
from hypernudge.engine.waiting import WaitingStates
from hypernudge.errors import LostStateError
from hypernudge.study.store import TRIALS
from tests.conftest import Bowl
from tests.study.tools import asha, plain

SPACE = SearchSpace([Real("lr", 1e-3, 1.0, log=True)])
ENGINES = ["serial", "population"]


@dataclass
class Trained:
    """What a user may hold: a module with its optimizer, generators of three kinds, arrays, bytes."""

    net: nn.Module
    optimizer: torch.optim.Optimizer
    rng: np.random.Generator
    drawn: torch.Generator
    dice: random.Random
    losses: list = field(default_factory=list)
    trace: np.ndarray = field(default_factory=lambda: np.asfortranarray(np.zeros((3, 5))))
    blob: bytes = b""
    log: dict = field(default_factory=lambda: collections.defaultdict(list))


class Own:
    """A task that is no GradientTask, whose data its states refer to."""

    name, space, metric, metric_range = "own", SPACE, "negative loss", (-np.inf, 0.0)

    def __init__(self):
        self.x = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
        self.begun = []

    def start(self, seed):
        self.begun.append(seed)
        seed %= 2**31
        net = nn.Linear(6, 1)
        with torch.no_grad():
            net.weight.fill_(seed % 7 / 7)
            net.bias.zero_()
        optimizer = torch.optim.SGD(net.parameters(), lr=1.0, momentum=0.9)
        drawn = torch.Generator().manual_seed(seed)
        return Trained(net, optimizer, np.random.default_rng(seed), drawn, random.Random(seed))

    def advance(self, state, hp):
        rows = torch.as_tensor(state.rng.permutation(64)[:16])
        state.optimizer.param_groups[0]["lr"] = hp["lr"] * (0.5 + 0.5 * state.dice.random())
        noise = 0.1 * torch.randn(16, generator=state.drawn)
        loss = (state.net(self.x[rows]).squeeze(1) - self.x[rows].sum(1) - noise).square().mean()
        state.optimizer.zero_grad()
        loss.backward()
        state.optimizer.step()
        state.losses.append(loss.item())
        state.log["losses"].append(loss.item())
        state.trace += len(state.losses)
        state.blob = bytes(state.trace) * 40
        return bool(torch.isfinite(loss))

    def evaluate(self, state, split):
        with torch.no_grad():
            error = (state.net(self.x).squeeze(1) - self.x.sum(1)).square().mean()
        checked = float(state.trace.sum()) + len(state.blob) + len(state.log["losses"]) + sum(state.losses)
        return -float(error) - 1e-9 * checked

    def unit_flops(self, hp):
        return 1.0


def fingerprints(value):
    state = torch.load(value, weights_only=True) if not isinstance(value, list) else value
    return [tensor.clone() for tensor in state]


def test_a_state_comes_back_as_it_was():
    task = Own()
    one, other = task.start(3), task.start(3)
    for _ in range(3):
        task.advance(one, {"lr": 0.1}), task.advance(other, {"lr": 0.1})
    one.net.weight.grad = torch.ones(1, 6)
    other.net.weight.grad = torch.ones(1, 6)
    packed = pack(one, [task])
    assert packed.size > 6 * 4 and all(type(tensor) is torch.Tensor for tensor in packed.tensors)
    back = unpack(packed, fingerprints([tensor.clone() for tensor in packed.tensors]))
    assert back is not one and type(back.net.weight) is nn.Parameter and back.net.weight.requires_grad
    assert back.optimizer.param_groups[0]["params"][0] is back.net.weight  # one object, in both places
    assert torch.equal(back.net.weight.grad, other.net.weight.grad)
    assert back.trace.flags.f_contiguous and back.trace.flags.owndata and back.trace.flags.writeable
    for state in (back, other):
        for _ in range(3):
            task.advance(state, {"lr": 0.1})
    assert back.losses == other.losses and back.log == other.log and back.blob == other.blob
    assert task.evaluate(back, "validation") == task.evaluate(other, "validation")


@pytest.mark.parametrize(
    "value",
    [
        None,
        [1, 2.5, 1j, "text", b"bytes", bytearray(b"x" * 5000), (True, {1, 2}, frozenset({3}))],
        {"a": collections.OrderedDict(x=1), "b": collections.deque([1], 3), "c": np.float32(0.1)},
        np.arange(6).reshape(2, 3),
        np.array(["2026-01-01"], dtype="datetime64[D]"),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        torch.zeros(0, 3),
        torch.ones(2, 3, dtype=torch.bfloat16),
        torch.arange(12).reshape(3, 4).t(),  # strides stay
        torch.ones(3).expand(2, 3),
    ],
)
def test_plain_values_come_back(value):
    packed = pack(value)
    back = unpack(packed, packed.tensors)
    assert type(back) is type(value)
    if isinstance(value, torch.Tensor):
        assert torch.equal(back, value) and back.dtype == value.dtype and back.stride() == value.stride()
    elif isinstance(value, np.ndarray):
        assert np.array_equal(back, value) and back.dtype == value.dtype
    else:
        assert back == value


def test_what_is_shared_stays_shared():
    tensor, array = torch.ones(4), np.ones(3)
    state = {"whole": tensor, "part": tensor[:2], "same": tensor, "arrays": [array, array]}
    state["itself"] = state
    packed = pack(state)
    back = unpack(packed, [t.clone() if t.numel() == 3 else t for t in packed.tensors])
    assert back["same"] is back["whole"] and back["itself"] is back and back["arrays"][0] is back["arrays"][1]
    data = np.zeros(10_000)  # of the task: neither copied nor counted
    packed = pack({"data": data, "w": tensor}, [data])
    assert unpack(packed, packed.tensors)["data"] is data and packed.size < 1000


class Forgetful:
    """Says nothing of one attribute when it is pickled."""

    def __init__(self):
        self.cache = 3

    def __getstate__(self):
        return {}


def hooked():
    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0)
    optimizer.register_step_pre_hook(print)
    return optimizer


def named():
    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0)
    optimizer.count = 0
    return optimizer


def attributed():
    tensor = torch.ones(1)
    tensor.note = "mine"
    return tensor


ARRAY = np.arange(10.0)
NOT = {
    "a lambda": lambda: {"f": lambda x: x},
    "a generator": lambda: (i for i in range(3)),
    "a lock": threading.Lock,
    "what leaves something out": Forgetful,
    "an optimizer with hooks": hooked,
    "an optimizer with something on it": named,
    "a tensor with a graph": lambda: 2 * torch.ones(1, requires_grad=True),
    "a tensor with attributes": attributed,
    "a sparse tensor": lambda: torch.eye(2).to_sparse(),
    "arrays that share memory": lambda: [ARRAY, ARRAY[:5]],
    "an array and its tensor": lambda: [ARRAY, torch.from_numpy(ARRAY)],
    "a strided array": lambda: np.ones((4, 4))[:, ::2],
    "an array of objects": lambda: np.array([object()], dtype=object),
    "a compiled module": lambda: torch.compile(nn.Linear(1, 1)),
    "a file": lambda: open(__file__, encoding="utf-8"),  # noqa: PTH123, SIM115
}


@pytest.mark.parametrize("what", NOT)
def test_what_would_not_come_back_is_refused(what):
    value = NOT[what]()
    with pytest.raises(UnpackableError):
        pack({"value": value})
    if what == "a file":
        value.close()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("make", [Bowl, Own])
@pytest.mark.parametrize("kept", [False, True])
def test_a_study_is_the_same_whether_its_trials_wait_in_files(make, engine, kept, tmp_path, monkeypatch):
    written = []
    save = torch.save
    options = {"seed": 0, "workers": 3, "engine": engine}
    scheduler = asha(make().space, 16, 9)
    whole = tune(make(), scheduler, **options)
    monkeypatch.setattr(waiting, "IN_MEMORY", 0)
    monkeypatch.setattr(waiting.torch, "save", lambda o, p: (written.append(str(p)), save(o, p)))
    task = make()
    study = tune(task, scheduler, **options, study=tmp_path / "mine" if kept else None)
    waited = [path for path in written if "trial-waiting-" in path]
    assert len(waited) >= 16
    assert all(path.startswith(str(tmp_path / "mine" / TRIALS)) for path in waited) == kept
    assert plain(study.history.events) == plain(whole.history.events)
    if isinstance(task, Own):
        assert len(task.begun) == 16  # nothing was trained twice
    if kept:
        assert not (tmp_path / "mine" / TRIALS).exists()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("how", ["removed", "cut", "another's"])
def test_a_file_that_is_lost_costs_time_only(engine, how, tmp_path, monkeypatch, caplog):
    whole = tune(Bowl(), asha(Bowl().space, 12, 9), seed=0, workers=2, engine=engine)
    monkeypatch.setattr(waiting, "IN_MEMORY", 0)

    def spoil(study, report):
        for path in (tmp_path / "mine" / TRIALS).glob("trial-waiting-*.pt"):
            if how == "removed":
                path.unlink()
            elif how == "cut":
                path.write_bytes(path.read_bytes()[:50])
            else:
                torch.save([torch.ones(1)], path)

    options = {"seed": 0, "workers": 2, "engine": engine, "study": tmp_path / "mine", "callbacks": [spoil]}
    study = tune(Bowl(), asha(Bowl().space, 12, 9), **options)
    assert plain(study.history.events) == plain(whole.history.events)
    assert any("cannot be read" in line and "is trained again" in line for line in caplog.messages)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_disk_that_is_full_leaves_states_in_memory(engine, tmp_path, monkeypatch, caplog):
    whole = tune(Bowl(), asha(Bowl().space), seed=0, engine=engine)
    monkeypatch.setattr(waiting, "IN_MEMORY", 0)
    save = torch.save

    def full(value, place):
        if "trial-waiting" in str(place):
            save(value, place)
            raise OSError(28, "No space left on device")
        save(value, place)

    monkeypatch.setattr(waiting.torch, "save", full)
    study = tune(Bowl(), asha(Bowl().space), seed=0, engine=engine, study=tmp_path / "mine")
    assert plain(study.history.events) == plain(whole.history.events)
    (line,) = (line for line in caplog.messages if "stay in memory" in line)
    assert "task bowl" in line and "No space left" in line
    assert not (tmp_path / "mine" / TRIALS).exists()


class Closed(Bowl):
    """Its states hold a function that nobody can pickle."""

    one_at_a_time = True

    def start(self, seed):
        state = super().start(seed)
        state.f = lambda: seed
        return state


@pytest.mark.parametrize("engine", ENGINES)
def test_a_state_that_cannot_leave_memory_is_said_once(engine, monkeypatch, caplog):
    monkeypatch.setattr(waiting, "IN_MEMORY", 0)
    study = tune(Closed(), asha(Bowl().space), seed=0, engine=engine)
    whole = tune(Bowl(), asha(Bowl().space), seed=0)
    assert plain(study.history.events) == plain(whole.history.events)
    (line,) = (line for line in caplog.messages if "stay in memory" in line)
    assert line.startswith("task bowl: ") and "lambda" in line and "\n" not in line


def test_only_so_many_bytes_wait_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(waiting, "IN_MEMORY", 10_000)
    states = WaitingStates(Own())
    states.keep_in(tmp_path)
    kept = [states.put({"w": torch.full((1000,), float(i))}) for i in range(6)]  # 4 kB each
    assert [one.path is None for one in kept] == [False] * 4 + [True] * 2
    assert len(list(tmp_path.iterdir())) == 4
    assert [states.take(kept[i])["w"][0].item() for i in (0, 5)] == [0.0, 5.0]
    del kept  # given up: their files go, and their bytes count no longer
    assert list(tmp_path.iterdir()) == []
    again = [states.put({"w": torch.ones(1000)}) for _ in range(2)]
    assert [one.path for one in again] == [None, None]


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / "trial-waiting-1-000001.pt").write_bytes(b"old")
    (tmp_path / "mine.pt").write_bytes(b"stays")
    WaitingStates(Own()).keep_in(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.pt"]


def test_no_code_of_a_file_is_run(tmp_path, monkeypatch):
    monkeypatch.setattr(waiting, "IN_MEMORY", 0)
    states = WaitingStates(Own())
    states.keep_in(tmp_path)
    one = states.put({"w": torch.ones(3)})
    torch.save(Forgetful(), one.path)
    with pytest.raises(LostStateError):
        states.take(one)


def test_a_population_of_several_studies_keeps_its_files_to_itself(tmp_path, monkeypatch):
    from hypernudge.engine.trainer import Population

    monkeypatch.setattr(waiting, "IN_MEMORY", 0)
    bowl = Bowl()
    population = Population(bowl)
    whole = tune(bowl, asha(bowl.space), seed=0, engine="population")
    for seed in (0, 1):
        engine = PopulationEngine(population=population)
        study = tune(bowl, asha(bowl.space), seed=seed, engine=engine, study=tmp_path / str(seed))
        assert not (tmp_path / str(seed) / TRIALS).exists()
        if seed == 0:
            assert plain(study.history.events) == plain(whole.history.events)


SCRIPT = """
import sys
import torch
from hypernudge import ASHA, tune
from hypernudge.engine import waiting
from tests.engine.test_waiting import Large
from tests.memory import peak_kilobytes

waiting.IN_MEMORY = 16 * 2**20
engine, trials, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3] or None
task = Large()
tune(task, ASHA(task.space, max_units=9, max_trials=3), seed=0, engine=engine)
before = peak_kilobytes()
study = tune(task, ASHA(task.space, max_units=9, max_trials=trials), seed=0, engine=engine, study=folder)
assert len(study.trials) == trials
print(peak_kilobytes() - before)
"""


class Large(Own):
    """States of eight megabytes."""

    def start(self, seed):
        return {"w": torch.full((2 * 2**20,), float(seed % 1000)), "n": 0}

    def advance(self, state, hp):
        state["n"] += 1
        state["w"] *= 1 - 0.1 * hp["lr"]
        return True

    def evaluate(self, state, split):
        return -float(state["w"][0])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kept", [False, True])
def test_memory_does_not_grow_with_trials_that_wait(engine, kept, tmp_path):
    folder = str(tmp_path / "mine") if kept else ""
    call = [sys.executable, "-c", SCRIPT, engine, "40", folder]
    done = subprocess.run(call, capture_output=True, text=True, check=True, timeout=300)
    assert int(done.stdout) < 80 * 1024  # 40 trials of 8 MB are 320 MB; 16 MB wait in memory
