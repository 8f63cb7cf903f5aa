"""Episodes in a Lightning trainer: true losses, the right checkpoint's state, fits one after the other."""

import importlib.util
import math
import shutil

import pytest
import torch
from torch.utils.data import DataLoader

from hypernudge.episodes import EmaLogReward
from tests.episodes.helpers import same
from tests.episodes.trainers import (
    AXES,
    Digits,
    lightning_fit,
    lightning_module,
    lightning_trainer,
    quiet,
)

# Looked for, not imported: that takes seconds in every process that collects these tests.
LACKING = importlib.util.find_spec("lightning") is None
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(LACKING, reason="the extra `trainers` is not installed"),
]


def callback(**options):
    from hypernudge.integrations.lightning import EpisodesCallback

    return EpisodesCallback(*AXES, **{"episode_length": 5, "seed": 0, **options})


def mixed(scale, **options):
    from lightning.pytorch.plugins.precision import MixedPrecision

    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=3, **options)
    return MixedPrecision("16-mixed", "cpu", scaler=scaler)


@pytest.mark.parametrize("accumulate", [1, 3, 4])
@pytest.mark.parametrize("plugin", [None, 2.0**10], ids=["full", "mixed"])
def test_the_recorded_loss_is_the_module_s_whatever_is_accumulated_or_scaled(tmp_path, accumulate, plugin):
    own = callback(episode_length=2, reward=EmaLogReward())
    module = lightning_module(constant=0.7)
    plugins = None if plugin is None else mixed(plugin)
    lightning_fit(tmp_path, own, module=module, accumulate=accumulate, plugins=plugins)
    (episodes,) = own.schedulers
    assert episodes.step_count == 24 // accumulate
    for record in episodes.records:
        assert record.loss_start == pytest.approx(0.7, rel=1e-6)
        assert record.loss_end == pytest.approx(0.7, rel=1e-6)
        assert record.reward.value == pytest.approx(0.0, abs=1e-6)


def test_a_change_of_the_accumulation_earns_nothing(tmp_path):
    from lightning.pytorch.callbacks import GradientAccumulationScheduler

    own = callback(episode_length=9, reward=EmaLogReward())
    with quiet():
        trainer = lightning_trainer(tmp_path, own, GradientAccumulationScheduler({0: 1, 1: 4}), epochs=4)
        trainer.fit(lightning_module(constant=0.7), DataLoader(Digits(), batch_size=4))
    (episodes,) = own.schedulers
    assert episodes.step_count == 12 + 3 * 3
    assert [record.reward.value for record in episodes.records] == pytest.approx([0.0] * 3, abs=1e-6)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("manual", [False, True])
def test_steps_that_overflow_do_not_count(tmp_path, fused, manual):
    own = callback(episode_length=3)
    module = lightning_module(
        manual=manual, optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=0.01, fused=fused)
    )
    _, trainer = lightning_fit(tmp_path, own, module=module, plugins=mixed(2.0**22, backoff_factor=0.25))
    (episodes,) = own.schedulers
    (optimizer,) = trainer.optimizers
    taken = {int(state["step"]) for state in optimizer.state.values()}
    assert taken == {episodes.step_count}
    assert 0 < episodes.step_count < 24
    assert all(0 < record.loss_start < 5 for record in episodes.records)


def test_every_fit_has_schedulers_of_its_own(tmp_path):
    own, once = callback(reward=EmaLogReward()), callback(reward=EmaLogReward())
    lightning_fit(tmp_path, once)
    for _ in range(2):
        lightning_fit(tmp_path, own)
        assert own.schedulers[0].records == once.schedulers[0].records
        assert own.schedulers[0].step_count == 24


def test_a_memory_of_the_reward_does_not_reach_the_next_fit(tmp_path):
    from hypernudge.episodes import StandardisedReward

    own = callback(reward=StandardisedReward(EmaLogReward()))
    first, _ = lightning_fit(tmp_path, own)
    records = own.schedulers[0].records
    second, _ = lightning_fit(tmp_path, own)
    assert own.schedulers[0].records == records
    assert same(list(first.parameters()), list(second.parameters()))


@pytest.mark.parametrize("again", ["same callback", "another callback"])
def test_a_fit_that_failed_leaves_nothing_on_an_optimizer_that_is_used_again(tmp_path, again):
    kept = []

    def one_for_all(parameters):
        kept.append(kept[0] if kept else torch.optim.AdamW(parameters, lr=0.01))
        return kept[-1]

    from lightning.pytorch.callbacks import Callback

    class Fail(Callback):
        armed = True

        def on_train_batch_end(self, trainer, module, outputs, batch, index):
            if index == 3 and self.armed:
                raise KeyError("stop")

    module, own, fail = lightning_module(optimizer=one_for_all), callback(), Fail()
    with quiet():
        trainer = lightning_trainer(tmp_path, own, fail)
        with pytest.raises(KeyError, match="stop"):
            trainer.fit(module, DataLoader(Digits(), batch_size=4))
        fail.armed = False
        later = own if again == "same callback" else callback()
        lightning_trainer(tmp_path, later, fail).fit(module, DataLoader(Digits(), batch_size=4))
    assert kept[0] is kept[-1]
    assert later.schedulers[0].step_count == 24
    assert set(module.rates) == {0.01}


@pytest.fixture
def cut(tmp_path):
    """A checkpoint of a finished training of two epochs."""
    lightning_fit(tmp_path, callback())
    return tmp_path / "after2.ckpt"


def test_the_state_is_that_of_the_file_wherever_it_lies(tmp_path, cut):
    other = tmp_path / "other"
    other.mkdir()
    lightning_fit(other, callback(seed=9))  # leaves another training's file of the same name
    moved = tmp_path / "moved.ckpt"
    shutil.move(cut, moved)
    finals = []
    for folder in (tmp_path, other):
        own = callback()
        module, _ = lightning_fit(folder, own, epochs=3, resume=moved)
        finals.append((list(module.parameters()), own.schedulers[0].records))
        assert own.schedulers[0].step_count == 36
    assert finals[0][1] == finals[1][1]
    assert same(finals[0][0], finals[1][0])


def test_a_checkpoint_without_a_state_says_that_episodes_start_anew(tmp_path):
    lightning_trainer_without = lightning_trainer(tmp_path)
    with quiet():
        lightning_trainer_without.fit(lightning_module(), DataLoader(Digits(), batch_size=4))
        lightning_trainer_without.save_checkpoint(tmp_path / "bare.ckpt")
    own = callback()
    with pytest.warns(UserWarning, match="holds no state of this callback: .* episodes start anew"):
        lightning_fit(tmp_path, own, epochs=3, resume=tmp_path / "bare.ckpt")
    assert own.schedulers[0].step_count == 12


def test_a_state_that_an_evaluation_read_is_not_taken_for_the_next_training_s(tmp_path, cut):
    own, fresh = callback(), callback()
    with quiet():
        trainer = lightning_trainer(tmp_path, own)
        loader = DataLoader(Digits(), batch_size=4)
        trainer.validate(lightning_module(), loader, ckpt_path=cut, verbose=False)
        trainer.fit(lightning_module(), loader)
    lightning_fit(tmp_path, fresh)
    assert own.schedulers[0].step_count == 24
    assert own.schedulers[0].records == fresh.schedulers[0].records


def test_a_state_of_other_settings_or_optimizers_is_refused(tmp_path, cut):
    with pytest.raises(ValueError, match=r"state: was saved under other settings.*episode_length"):
        lightning_fit(tmp_path, callback(episode_length=7), epochs=3, resume=cut)
    saved = torch.load(cut, weights_only=True)
    saved["callbacks"]["EpisodesCallback"]["schedulers"] *= 2
    torch.save(saved, cut)
    with pytest.raises(ValueError, match=r"as many schedulers of episodes as there are optimizers \(1\)"):
        lightning_fit(tmp_path, callback(), epochs=3, resume=cut)
    own = callback()
    with pytest.raises(ValueError, match=r"state of EpisodesCallback: lacks \['schedulers'\]"):
        own.load_state_dict({"other": []})


@pytest.mark.parametrize(
    ("axes", "options", "message"),
    [
        (("lr",), {}, "axes: must be axes, not names"),
        (AXES, {"episode_length": 0}, "episode_length: must be at least 1"),
        (AXES, {"seed": "x"}, "seed: must be None or a whole number"),
        (AXES, {"episode_lenght": 3}, "did you mean 'episode_length'"),
        (AXES, {"update_norm": "yes"}, "update_norm: must be True or False"),
        ((), {"seed": math.nan}, "seed: must be None or a whole number"),
    ],
)
def test_wrong_arguments_are_refused_before_there_is_a_trainer(axes, options, message):
    from hypernudge.integrations.lightning import EpisodesCallback

    with pytest.raises(ValueError, match=message):
        EpisodesCallback(*axes, **options)
