"""Unmodified training loops of three libraries, with one callback or line added."""

import functools

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from hypernudge.episodes import Alignment
from tests.episodes.helpers import same
from tests.episodes.trainers import (
    AXES,
    Digits,
    forget_episodes,
    hf_trainer,
    lightning_fit,
    lightning_module,
    lightning_trainer,
    network,
    quiet,
)


def test_a_controller_instance_is_refused():
    from hypernudge.integrations._scheduler_factory import SchedulerFactory

    with pytest.raises(TypeError, match="controller: must be a callable"):
        SchedulerFactory((), Alignment(), {})


@pytest.mark.slow
class TestLightning:
    @pytest.fixture(autouse=True)
    def library(self):
        pytest.importorskip("lightning", reason="the extra `trainers` is not installed")

    def fit(self, folder, callback, **options):
        return lightning_fit(folder, callback, **options)

    def callback(self, **options):
        from hypernudge.integrations.lightning import EpisodesCallback

        return EpisodesCallback(*AXES, episode_length=5, seed=0, **options)

    @pytest.mark.parametrize(
        ("accumulate", "manual", "precision", "steps"),
        [
            (1, False, "32-true", 24),
            (4, False, "32-true", 6),
            (1, True, "32-true", 24),
            (1, False, "bf16-mixed", 24),
        ],
    )
    def test_trains_and_counts_real_steps(self, tmp_path, accumulate, manual, precision, steps):
        callback = self.callback()
        self.fit(tmp_path, callback, accumulate=accumulate, manual=manual, precision=precision)
        (episodes,) = callback.schedulers
        assert episodes.step_count == steps
        assert sum(r.end_step - r.start_step + 1 for r in episodes.records) == steps
        assert all(record.reward is not None for record in episodes.records)

    def test_equals_a_plain_loop(self, tmp_path):
        from hypernudge.episodes import EpisodicScheduler

        callback = self.callback()
        module, _ = self.fit(tmp_path, callback)
        model = network()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        with EpisodicScheduler(optimizer, *AXES, episode_length=5, seed=0) as episodes:
            for _ in range(2):
                for inputs, targets in DataLoader(Digits(), batch_size=4):
                    optimizer.zero_grad()
                    loss = nn.functional.cross_entropy(model(inputs), targets)
                    loss.backward()
                    episodes.observe(loss)
                    optimizer.step()
        assert episodes.records == callback.schedulers[0].records
        assert same(list(module.net.parameters()), list(model.parameters()))

    def test_resumes_from_the_trainer_s_checkpoint(self, tmp_path):
        whole, first, second = self.callback(), self.callback(), self.callback()
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        reference, _ = self.fit(tmp_path / "a", whole, epochs=4)

        class SaveEarly(type(first)):
            def on_train_epoch_end(self, trainer, module):
                if trainer.current_epoch == 1:
                    trainer.save_checkpoint(tmp_path / "b" / "cut.ckpt")

        early = SaveEarly(*AXES, episode_length=5, seed=0)
        early.__class__.__qualname__ = type(second).__qualname__  # the key of its state in the checkpoint
        self.fit(tmp_path / "b", early, epochs=2)
        resumed, _ = self.fit(tmp_path / "b", second, epochs=4, resume=tmp_path / "b" / "cut.ckpt")
        assert second.schedulers[0].records == whole.schedulers[0].records
        assert same(list(reference.parameters()), list(resumed.parameters()))

    def test_alignment(self, tmp_path):
        from hypernudge.integrations.lightning import EpisodesCallback

        callback = EpisodesCallback(controller=functools.partial(Alignment, initial_multiplier=0.1))
        self.fit(tmp_path, callback)
        assert len({record.selection.values for record in callback.schedulers[0].records}) > 1

    def test_it_is_told_the_number_of_steps_and_a_longer_training_extends(self, tmp_path):
        from hypernudge.integrations.lightning import EpisodesCallback

        callback = EpisodesCallback()
        module, trainer = self.fit(tmp_path, callback, epochs=4, accumulate=2)
        (episodes,) = callback.schedulers
        assert episodes.total_steps == trainer.global_step == episodes.step_count == 24
        assert episodes.phase == "anneal" and 0 < episodes.last_lr[0] < 0.3 * 1.25 * module.rates[0]
        longer = EpisodesCallback()
        path = tmp_path / "after4.ckpt"
        self.fit(tmp_path, longer, epochs=6, accumulate=2, resume=path)
        (episodes,) = longer.schedulers
        assert episodes.total_steps == episodes.step_count == 36
        fell = next(r for r in episodes.records if r.end_step == 23).selection.values[0]
        returned = next(r for r in episodes.records if r.start_step == 24).selection
        assert returned.values[0] > 2 * fell and returned.bucket == "search"
        endless = EpisodesCallback(total_steps=None)
        self.fit(tmp_path, endless, epochs=1)
        assert endless.schedulers[0].total_steps is None

    def test_a_trainer_without_an_end_says_that_nothing_is_annealed(self, tmp_path):
        import lightning.pytorch as pl

        from hypernudge.integrations.lightning import EpisodesCallback

        class Stop(pl.Callback):
            def on_train_batch_end(self, trainer, *args):
                trainer.should_stop = trainer.global_step >= 3

        callback = EpisodesCallback()
        trainer = lightning_trainer(tmp_path, callback, Stop(), epochs=-1)
        said = pytest.warns(UserWarning, match="does not know its number of optimizer steps")
        with said, quiet():
            trainer.fit(lightning_module(), DataLoader(Digits(), batch_size=4))
        assert callback.schedulers[0].total_steps is None


@pytest.mark.slow
class TestTransformers:
    @pytest.fixture(autouse=True)
    def library(self):
        pytest.importorskip("transformers", reason="the extra `trainers` is not installed")

    def trainer(self, folder, callback, **arguments):
        return hf_trainer(folder, callback, **arguments)

    def callback(self):
        from hypernudge.integrations.transformers import EpisodesTrainerCallback

        return EpisodesTrainerCallback(*AXES, episode_length=3, seed=0)

    @pytest.mark.parametrize(("accumulate", "steps"), [(1, 16), (4, 4)])
    def test_trains_and_counts_real_steps(self, tmp_path, accumulate, steps):
        callback = self.callback()
        trainer = self.trainer(tmp_path, callback, gradient_accumulation_steps=accumulate)
        trainer.train()
        assert trainer.state.global_step == callback.scheduler.step_count == steps
        assert sum(r.end_step - r.start_step + 1 for r in callback.scheduler.records) == steps
        assert all(record.loss_start is not None for record in callback.scheduler.records)

    def test_resumes_from_the_trainer_s_checkpoint(self, tmp_path):
        whole, second = self.callback(), self.callback()
        reference = self.trainer(tmp_path, whole)
        reference.train()
        resumed = self.trainer(tmp_path, second)
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-7"))
        assert second.scheduler.records == whole.scheduler.records
        assert same(list(reference.model.parameters()), list(resumed.model.parameters()))
        forget_episodes(tmp_path / "checkpoint-7")
        with pytest.warns(UserWarning, match="episodes start anew"):
            self.trainer(tmp_path, self.callback()).train(
                resume_from_checkpoint=str(tmp_path / "checkpoint-7")
            )

    @pytest.mark.filterwarnings("ignore:the search for a rate ended")  # trainings of two dozen steps
    @pytest.mark.parametrize("kind", ["linear", "constant"])
    def test_it_is_told_the_number_of_steps_and_a_longer_training_extends(self, tmp_path, kind):
        from hypernudge.integrations.transformers import EpisodesTrainerCallback

        arguments = {"num_train_epochs": 3, "lr_scheduler_type": kind, "save_steps": 12}
        callback = EpisodesTrainerCallback()
        trainer = self.trainer(tmp_path, callback, **arguments)
        trainer.train()
        episodes = callback.scheduler
        assert episodes.total_steps == trainer.state.max_steps == episodes.step_count == 24
        assert episodes.phase == "anneal" and 0 < episodes.last_lr[0] < 3e-4 * 2.0 / 1.25
        falling = [r.selection.values[0] for r in episodes.records if r.selection.bucket == "anneal"]
        assert (len(set(falling)) > 1) == (kind == "constant")  # else the trainer's own schedule falls
        again = EpisodesTrainerCallback()
        arguments |= {"num_train_epochs": 4}
        where = str(tmp_path / "checkpoint-12")
        self.trainer(tmp_path / "b", again, **arguments).train(resume_from_checkpoint=where)
        assert again.scheduler.total_steps == again.scheduler.step_count == 32
        same_length = EpisodesTrainerCallback()
        arguments |= {"num_train_epochs": 3}
        self.trainer(tmp_path / "c", same_length, **arguments).train(resume_from_checkpoint=where)
        assert same_length.scheduler.records == episodes.records


@pytest.mark.slow
class TestAccelerate:
    @pytest.fixture(autouse=True)
    def library(self):
        pytest.importorskip("accelerate", reason="the extra `trainers` is not installed")

    @pytest.mark.filterwarnings("ignore:the search for a rate ended")  # trainings of two dozen steps
    @pytest.mark.parametrize(("accumulate", "steps"), [(1, 24), (5, 6)])
    def test_the_length_is_that_of_the_loader(self, accumulate, steps):
        from accelerate import Accelerator

        from hypernudge.integrations.accelerate import attach

        accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulate)
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model, optimizer, loader = accelerator.prepare(model, optimizer, DataLoader(Digits(), batch_size=4))
        episodes = attach(accelerator, optimizer, loader=loader, epochs=2)
        for _ in range(2):
            for inputs, targets in loader:
                with accelerator.accumulate(model):
                    accelerator.backward(nn.functional.cross_entropy(model(inputs), targets))
                    optimizer.step()
                    optimizer.zero_grad()
        assert episodes.total_steps == episodes.step_count == steps
        assert 0 < episodes.last_lr[0] < 0.1 and episodes.phase == "anneal"
        with pytest.raises(ValueError, match="total_steps: must be left out where there is a loader"):
            attach(accelerator, optimizer, loader=loader, total_steps=3)
        with pytest.raises(ValueError, match="loader: must have a length, but got 'generator'"):
            attach(accelerator, optimizer, loader=(batch for batch in loader))

    def test_loop_with_accumulation_and_checkpoint(self, tmp_path):
        from accelerate import Accelerator

        from hypernudge.integrations.accelerate import attach

        def build():
            accelerator = Accelerator(cpu=True, gradient_accumulation_steps=3)
            model = network()
            prepared = accelerator.prepare(
                model,
                torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
                DataLoader(Digits(), batch_size=4),
            )
            criterion = nn.CrossEntropyLoss()
            episodes = attach(accelerator, prepared[1], *AXES, criterion=criterion, episode_length=2, seed=0)
            return accelerator, *prepared, criterion, episodes

        def run(stack, epochs):
            accelerator, model, optimizer, loader, criterion, _ = stack
            for _ in range(epochs):
                for inputs, targets in loader:
                    with accelerator.accumulate(model):
                        loss = criterion(model(inputs), targets)
                        accelerator.backward(loss)
                        optimizer.step()
                        optimizer.zero_grad()
                        assert optimizer.param_groups[0]["lr"] == 0.1

        whole = build()
        run(whole, 3)
        assert whole[-1].step_count == 12
        assert len(whole[-1].records) == 6
        first = build()
        run(first, 1)
        first[0].save_state(str(tmp_path / "state"))
        second = build()
        second[0].load_state(str(tmp_path / "state"))
        run(second, 2)
        assert second[-1].records == whole[-1].records
        assert same(list(whole[1].parameters()), list(second[1].parameters()))
