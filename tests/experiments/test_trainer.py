import dataclasses
import math
import warnings

import pytest
import torch

from hypernudge.episodes import AEES
from hypernudge.errors import InvalidArgumentError
from hypernudge.experiments.batches import augmentation, epoch_order, seed_dropout, subset
from hypernudge.experiments.task_data import StepCosts
from hypernudge.experiments.training.checkpoints import checkpoint_path
from hypernudge.experiments.training.schedules import build_schedule, schedule_warnings
from hypernudge.experiments.training.trainer import CheckpointConfig, planned_flops
from tests.experiments.tools import Points, config_of, network, steered, trainer_of

CONDITIONS = {
    "baseline": config_of(),
    "baseline, SGD, cosine by epoch": config_of(
        optimizer="SGD", lr_scheduler="cosine", schedule_unit="epoch", lr=0.05
    ),
    "adaptive": steered(),
    "adaptive, conditional, trend, warm-up": steered(
        structured_control_mode="conditional",
        context_mode="trend",
        lr_scheduler="warmup_linear",
        warmup_epochs=1,
        episode_length=2,
    ),
    "random": steered("random"),
}
CLOCKS = {"seconds", "cpu_seconds", "epoch_seconds", "train_seconds", "train_cpu_seconds"}


class KilledError(Exception):
    """Stands for a process that ends at a step."""


def killed_at(step):
    def on_step(steps):
        if steps == step:
            raise KilledError

    return on_step


def seen(trainer):
    progress = dataclasses.asdict(trainer.run())
    counters = {key: value for key, value in progress.items() if key not in CLOCKS}
    parameters = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    return counters, trainer.stepper.logs(), parameters


@pytest.mark.parametrize("name", list(CONDITIONS))
def test_a_killed_run_resumes_to_bit_equal_results(name, tmp_path):
    config, path = CONDITIONS[name], tmp_path / "run.checkpoint.pt"
    counters, logs, parameters = seen(trainer_of(config))
    assert counters["step"] == 15 and len(counters["val_accuracies"]) == 3
    for kill, at in ((3, 2), (9, 8)):  # inside an epoch and an episode; then again, in the next epoch
        with pytest.raises(KilledError):
            checkpoints = CheckpointConfig(path, 2, resume=True)
            trainer_of(config, checkpoints=checkpoints, on_step=killed_at(kill)).run()
        assert torch.load(path, weights_only=True)["state"]["progress"]["step"] == at
    again = trainer_of(config, checkpoints=CheckpointConfig(path, 2, resume=True))
    resumed = seen(again)
    assert again.resumed_at == 8
    assert resumed[0] == counters and resumed[1] == logs
    assert all(torch.equal(a, b) for a, b in zip(resumed[2], parameters, strict=True))


def test_the_regimes_differ_and_the_neutral_arm_is_the_bare_optimizer():
    results = {name: seen(trainer_of(config))[0]["train_losses"] for name, config in CONDITIONS.items()}
    assert len({tuple(losses) for losses in results.values()}) == len(CONDITIONS)
    neutral = steered(lr_candidates=(1.0,), noise_candidates=(0.0,))
    assert seen(trainer_of(neutral))[0]["train_losses"] == results["baseline"]


def test_the_loop_is_the_loop_that_one_would_write_by_hand():
    config = steered(episode_length=3)
    counters, logs, parameters = seen(trainer_of(config))
    samples = Points()
    torch.manual_seed(0)
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    aees = AEES(
        optimizer, lr_candidates=(0.5, 1.0, 2.0), noise_candidates=(0.0, 0.01), episode_length=3, seed=0
    )
    step, losses = 0, []
    with torch.random.fork_rng(devices=[]):
        for epoch in range(3):
            total = 0.0
            for rows in torch.split(epoch_order(0, epoch, 37), 8):
                seed_dropout(0, step)
                batch = samples.batch("train", rows, augmentation(0, step))
                aees.step_start(step)
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(model(**batch), samples.labels["train"][rows])
                loss.backward()
                aees.step_end(loss)
                total += loss.item() * len(rows)
                step += 1
            losses.append(total / 37)
    aees.finalize()
    assert counters["train_losses"] == pytest.approx(losses, rel=1e-12)
    assert logs[0] == aees.get_logs()
    assert all(torch.equal(a, b) for a, b in zip(parameters, model.parameters(), strict=True))


def test_controller_logs_tell_what_the_controller_knows():
    trainer = trainer_of(steered(noise_candidates=(0.0,)))
    trainer.run()
    episodes, controllers = trainer.stepper.logs()
    log = controllers["lr_controller_logs"]
    assert (
        log["controller_type"] == "DiscountedUCB"
        and sum(log["pulls"]) == len(episodes["episode_rewards"]) == 4
    )
    (bandit,) = trainer.stepper.aees.episodes.controller.state_dict()["bandits"][0]
    expected = [s / n for s, n in zip(bandit["sums"], bandit["counts"], strict=True)]
    assert log["value_estimates_history"][-1] == expected
    assert controllers["noise_controller_logs"]["controller_type"] == "FixedAxis"


def test_a_diverged_run_goes_on_and_says_so():
    progress = trainer_of(steered(lr_candidates=(1e30, 1e31), optimizer="SGD")).run()
    assert math.isnan(progress.train_losses[-1]) and len(progress.val_accuracies) == 3


def test_planned_flops_are_those_of_the_run():
    trainer = trainer_of(config_of())
    assert planned_flops(trainer.config, trainer.data, trainer.costs) == trainer.run().epoch_flops


def test_the_test_part_is_evaluated_where_validation_is_best():
    trainer = trainer_of(config_of(), evaluate_test=True)
    progress = trainer.run()
    assert 0.5 < progress.test_at_best <= 1.0
    assert trainer_of(config_of()).run().test_at_best is None


def test_a_checkpoint_of_other_settings_or_a_damaged_one_is_refused(tmp_path):
    path = checkpoint_path(tmp_path / "run.json")
    with pytest.raises(KilledError):
        trainer_of(config_of(), checkpoints=CheckpointConfig(path, 2), on_step=killed_at(4)).run()
    with pytest.raises(InvalidArgumentError, match=r"lr: saved 0\.02, here 0\.03"):
        trainer_of(config_of(lr=0.03), checkpoints=CheckpointConfig(path, 2, resume=True)).run()
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InvalidArgumentError, match="must be a checkpoint"):
        trainer_of(config_of(), checkpoints=CheckpointConfig(path, 2, resume=True)).run()
    path.unlink()
    assert trainer_of(config_of(), checkpoints=CheckpointConfig(path, 0, resume=True)).run().step == 15


def factors(config, steps_per_epoch, count):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = build_schedule(optimizer, config, steps_per_epoch)
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the schedule is looked at without an optimizer that steps
        for _ in range(count):
            rates.append(optimizer.param_groups[0]["lr"])
            schedule.step()
    return rates


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"lr_scheduler": "linear", "schedule_unit": "epoch", "epochs": 4}, [0.75, 0.5, 0.25, 0.0]),
        (
            {"lr_scheduler": "warmup_linear", "warmup_epochs": 2, "schedule_unit": "epoch", "epochs": 4},
            [0.5, 1.0, 0.5, 0.0],
        ),
        ({"lr_scheduler": "linear", "epochs": 2}, [1.0, 0.75, 0.5, 0.25]),
        ({"lr_scheduler": "warmup_linear", "epochs": 2}, [1.0, 0.75, 0.5, 0.25]),
        ({"lr_scheduler": "warmup_linear", "warmup_epochs": 1, "epochs": 2}, [0.5, 1.0, 1.0, 0.5]),
        ({"lr_scheduler": "linear", "epochs": 2, "scheduler_t_max": 2}, [1.0, 0.5, 0.0, 0.0]),
        ({"lr_scheduler": "cosine", "epochs": 2}, [1.0, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125)]),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_schedules_are_the_published_ones(settings, expected):
    assert factors(config_of(**settings), 2, 4) == pytest.approx(expected)


def test_schedules_that_surprise_are_named():
    no_warmup = config_of(lr_scheduler="warmup_linear")
    assert "no warm-up" in schedule_warnings(no_warmup, 10)[0]
    assert schedule_warnings(config_of(lr_scheduler="warmup_linear", warmup_epochs=1), 10) == []
    (idle,) = schedule_warnings(config_of(lr_scheduler="linear", schedule_unit="epoch", epochs=4), 10)
    assert "--scheduler-t-max 5" in idle
    stretched = config_of(lr_scheduler="linear", schedule_unit="epoch", epochs=4, scheduler_t_max=5)
    assert schedule_warnings(stretched, 10) == []


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        ({"epochs": 0}, "--epochs"),
        ({"batch_size": 0}, "--batch-size"),
        ({"lr": 0.0}, "--lr"),
        ({"weight_decay": -1.0}, "--weight-decay"),
        ({"momentum": 1.0}, "--momentum"),
        ({"warmup_epochs": -1}, "--warmup-epochs"),
        ({"scheduler_t_max": 0}, "--scheduler-t-max"),
        ({"label_noise_rate": 0.1}, "--label-noise-rate"),
        ({"label_noise_type": "symmetric", "label_noise_rate": 1.5}, "--label-noise-rate"),
        ({"episode_length": 0}, "--episode-length"),
        ({"reward_clip_min": 2.0}, "--reward-clip-min"),
        ({"context_trend_window": 0}, "--context-trend-window"),
    ],
)
def test_bad_settings_are_refused_by_flag(settings, flag):
    with pytest.raises(InvalidArgumentError, match=f"^{flag}: "):
        config_of(**settings)


def test_subsets_are_the_same_for_every_run():
    assert subset(10, None, "train").tolist() == subset(10, 20, "train").tolist() == list(range(10))
    rows = subset(1000, 50, "train")
    assert len(set(rows)) == 50 and sorted(rows) == rows.tolist()
    assert subset(1000, 50, "train").tolist() == rows.tolist() != subset(1000, 50, "test").tolist()


def test_costs_of_a_model_without_length_are_counted_on_the_real_step():
    from hypernudge.flops import count_flops

    samples, model = Points(), network()
    costs = StepCosts(network("meta"), samples)

    def step():
        batch = samples.batch("train", torch.arange(5), None)
        torch.nn.functional.cross_entropy(model(**batch), samples.labels["train"][:5]).backward()

    assert costs(5, 1, training=True) == count_flops(step)[1]
