"""What is in force, as numbers for a logger and as a picture."""

import sys

import pytest
import torch

from hypernudge.episodes import AEES, EpisodicScheduler, GradientNoise, LearningRate
from hypernudge.errors import InvalidArgumentError, MissingExtraError
from tests.episodes.trainers import AXES, hf_trainer, lightning_fit, lightning_module, network, quiet


def train(*axes, steps=47, seen=None, optimizer=None, **options):
    """Return a scheduler after some steps; `seen` is told of its metrics after each of them."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    episodes = EpisodicScheduler(optimizer, *axes, seed=0, **options)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        loss = model(torch.randn(8, 4, generator=generator)).square().mean()
        episodes.observe(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if seen is not None:
            seen.append(episodes.metrics())
    return episodes


def test_metrics_are_what_was_in_force_at_each_step():
    seen = []
    episodes = train(LearningRate([0.5, 1, 2]), GradientNoise([0, 0.01]), episode_length=5, seen=seen)
    assert len(episodes.records) == 9 and len({m["episodes/lr"] for m in seen}) > 1
    for record in episodes.records:
        for step in range(record.start_step, record.end_step + 1):
            lr, noise = record.selection.values
            arm, other = record.selection.arms
            shown = seen[step]
            assert (shown["episodes/lr"], shown["episodes/lr/arm"]) == (lr, arm)
            assert (shown["episodes/noise"], shown["episodes/noise/arm"]) == (noise, other)
        assert seen[record.end_step]["episodes/closed"] == record.index + 1
        assert seen[record.end_step]["episodes/reward"] == record.reward.value
    assert "episodes/reward" not in seen[0] and all(type(v) is float for m in seen for v in m.values())
    assert episodes.device_reads == 0  # on a CPU none is deferred, and metrics ask for none


def test_the_default_has_a_multiplier_and_no_reward():
    episodes = train(steps=60)
    metrics = episodes.metrics()
    assert set(metrics) == {"episodes/closed", "episodes/lr", "episodes/lr/arm"}
    before = EpisodicScheduler(torch.optim.SGD(network().parameters(), lr=0.1))
    assert before.metrics() == {"episodes/closed": 0.0}


def test_the_picture_shows_each_episode_where_it_was(tmp_path):
    episodes = train(LearningRate([0.5, 1, 2]), GradientNoise([0, 0.01]), episode_length=5)
    figure = episodes.plot(path=tmp_path / "episodes.svg")
    rate, noise, reward = figure.axes
    for axes, index in ((rate, 0), (noise, 1)):
        x, y = axes.lines[0].get_data()
        for place, record in enumerate(episodes.records):
            value = record.selection.values[index]
            assert (x[2 * place], x[2 * place + 1]) == (record.start_step, record.end_step + 1)
            assert (y[2 * place], y[2 * place + 1]) == (value, value)
        assert len(x) == 20 and x[-1] == 47  # the open episode, too
    assert [t.get_text() for t in rate.get_yticklabels()] == ["0.5 (arm 0)", "1 (arm 1)", "2 (arm 2)"]
    assert (rate.get_yscale(), noise.get_yscale()) == ("log", "linear")
    assert reward.lines[0].get_ydata().tolist() == [r.reward.value for r in episodes.records]
    assert "optimizer step" in (tmp_path / "episodes.svg").read_text()
    (alone,) = train(steps=60).plot().axes  # the default has no reward
    assert alone.get_yscale() == "log" and alone.get_ylabel() == "lr [factor]"


def test_the_front_of_pulseopt_has_both():
    model = network()
    aees = AEES(
        torch.optim.SGD(model.parameters(), lr=0.01), lr_candidates=[0.5, 2.0], episode_length=5, seed=0
    )
    for step in range(10):
        aees.step_start(step)
        loss = model(torch.ones(2, 4)).square().mean()
        loss.backward()
        aees.step_end(loss)
    assert aees.episodes.metrics()["episodes/closed"] == 2
    assert len(aees.episodes.plot().axes) == 3


def test_nothing_to_draw_and_nothing_to_draw_with(monkeypatch, tmp_path):
    episodes = EpisodicScheduler(torch.optim.SGD(network().parameters(), lr=0.1))
    with pytest.raises(InvalidArgumentError, match=r"^plot: the scheduler must have taken a step, but got 0"):
        episodes.plot()
    with pytest.raises(InvalidArgumentError, match=r"^path: must end in one of"):
        episodes.plot(path=tmp_path / "a.gif")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"^plot needs matplotlib"):
        episodes.plot()


@pytest.mark.slow
@pytest.mark.parametrize(("manual", "accumulate"), [(False, 1), (False, 2), (True, 1)])
def test_lightnings_loggers_are_told_when_they_are_told_of_steps(tmp_path, manual, accumulate):
    pytest.importorskip("lightning", reason="the extra `trainers` is not installed")
    from lightning.pytorch.loggers.logger import Logger

    from hypernudge.integrations.lightning import EpisodesCallback

    class Noted(Logger):
        name, version = "noted", 0

        def __init__(self):
            super().__init__()
            self.rows = []

        def log_metrics(self, metrics, step=None):
            self.rows.append((step, dict(metrics)))

        def log_hyperparams(self, *args, **kwargs):
            pass

    class Logs(type(lightning_module(manual=manual))):
        def training_step(self, batch, index):
            loss = super().training_step(batch, index)
            self.log("loss", loss.detach())
            return loss

    logger, callback = Noted(), EpisodesCallback(*AXES, episode_length=2, seed=0)
    with quiet():
        module = Logs()
        options = {"logger": logger, "log_every_n_steps": 3, "accumulate": accumulate}
        lightning_fit(tmp_path, callback, module=module, **options)
    (episodes,) = callback.schedulers
    ours = {step: row for step, row in logger.rows if "episodes/lr" in row}
    theirs = {step for step, row in logger.rows if "loss" in row}
    assert set(ours) == theirs and len(ours) == 24 // accumulate // 3
    for step, row in ours.items():
        (record,) = [r for r in episodes.records if r.start_step <= step <= r.end_step]
        assert (row["episodes/lr"], row["episodes/noise"]) == record.selection.values
        assert row["episodes/lr/arm"] == record.selection.arms[0]


@pytest.mark.slow
@pytest.mark.parametrize("watched", [False, True])
def test_the_trainer_of_hugging_face_logs_it_with_the_loss(tmp_path, watched):
    transformers = pytest.importorskip("transformers", reason="the extra `trainers` is not installed")
    from hypernudge.integrations.transformers import EpisodesTrainerCallback

    class Tracker(transformers.TrainerCallback):
        """Stands before the callback, as those of `report_to` do."""

        def __init__(self):
            self.rows = []

        def on_log(self, args, state, control, logs=None, **kwargs):
            self.rows.append(dict(logs))

    tracker, callback = Tracker(), EpisodesTrainerCallback(*AXES, episode_length=2, seed=0)
    trainer = hf_trainer(tmp_path, tracker, callback, logging_steps=3)
    if watched:
        callback.watch(trainer)
    with quiet():
        trainer.train()
    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert [row["step"] for row in rows] == [3, 6, 9, 12, 15]
    for row in rows:
        record = callback.scheduler.records[(row["step"] - 1) // 2]
        assert (row["episodes/lr"], row["episodes/noise"]) == record.selection.values
    assert all("episodes/lr" not in row for row in trainer.state.log_history if "loss" not in row)
    tracked = [row for row in tracker.rows if "loss" in row]
    assert all(("episodes/lr" in row) == watched for row in tracked)
