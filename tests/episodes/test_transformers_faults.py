"""Episodes in a Hugging Face trainer: the right checkpoint's state, true losses, trainings in a row."""

import json
import shutil

import pytest
import torch
from torch import nn

from hypernudge.episodes import Alignment, EmaLogReward, GradientNoise, LearningRate
from tests.episodes.helpers import same
from tests.episodes.trainers import AXES, hf_trainer

transformers = pytest.importorskip("transformers", reason="the extra `trainers` is not installed")
pytestmark = pytest.mark.slow


def callback(*axes, **options):
    from hypernudge.integrations.transformers import EpisodesTrainerCallback

    return EpisodesTrainerCallback(*(axes or AXES), **{"episode_length": 3, "seed": 0, **options})


@pytest.fixture
def whole(tmp_path):
    """A whole training of 16 steps, with a checkpoint at step 7."""
    own = callback()
    trainer = hf_trainer(tmp_path / "first", own)
    trainer.train()
    return tmp_path / "first" / "checkpoint-7", own, list(trainer.model.parameters())


# ------------------------------------------------------------------ checkpoints


@pytest.mark.parametrize("place", ["another output_dir", "moved elsewhere", "resume_from_checkpoint=True"])
def test_the_state_is_that_of_the_checkpoint_wherever_it_lies(tmp_path, whole, place):
    checkpoint, reference, parameters = whole
    # Another training's checkpoint of the same name lies where the state was once looked for.
    output = tmp_path / "second"
    hf_trainer(output, callback(seed=9)).train()
    where = checkpoint
    if place == "moved elsewhere":
        where = tmp_path / "kept"
        shutil.move(checkpoint, where)
    elif place == "resume_from_checkpoint=True":
        shutil.rmtree(output)
        shutil.copytree(checkpoint, output / "checkpoint-7")
        where = True
    own = callback()
    trainer = hf_trainer(output, own)
    trainer.train(resume_from_checkpoint=where if where is True else str(where))
    assert own.scheduler.records == reference.scheduler.records
    assert same(parameters, list(trainer.model.parameters()))


def test_alignment_resumes_too(tmp_path):
    from hypernudge.integrations.transformers import EpisodesTrainerCallback

    reference = EpisodesTrainerCallback(controller=Alignment)
    hf_trainer(tmp_path / "a", reference).train()
    own = EpisodesTrainerCallback(controller=Alignment)
    hf_trainer(tmp_path / "b", own).train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-7"))
    assert own.scheduler.records == reference.scheduler.records
    assert own.scheduler.controller.multiplier == reference.scheduler.controller.multiplier


def test_a_state_of_other_settings_is_refused(tmp_path, whole):
    own = callback(episode_length=5)
    trainer = hf_trainer(tmp_path / "second", own)
    with pytest.raises(ValueError, match=r"saved under other settings.*episode_length: saved 3, here 5"):
        trainer.train(resume_from_checkpoint=str(whole[0]))
    assert not own.scheduler.attached


def test_a_state_that_the_trainer_carried_on_from_an_earlier_step_is_none(tmp_path, whole):
    output = tmp_path / "second"
    hf_trainer(output).train(resume_from_checkpoint=str(whole[0]))  # without the callback
    carried = json.loads((output / "checkpoint-14" / "trainer_state.json").read_text())
    assert "EpisodesTrainerCallback" in carried["stateful_callbacks"]
    own = callback()
    with pytest.warns(UserWarning, match="checkpoint of step 14 holds no state .* episodes start anew"):
        hf_trainer(output, own).train(resume_from_checkpoint=str(output / "checkpoint-14"))
    assert own.scheduler.step_count == 2


def test_a_checkpoint_without_a_state_says_so_and_the_next_one_has_it(tmp_path):
    hf_trainer(tmp_path).train()
    own = callback()
    with pytest.warns(UserWarning, match="checkpoint of step 7 holds no state .* episodes start anew"):
        hf_trainer(tmp_path, own).train(resume_from_checkpoint=str(tmp_path / "checkpoint-7"))
    assert own.scheduler.step_count == 9
    again = callback()
    hf_trainer(tmp_path, again).train(resume_from_checkpoint=str(tmp_path / "checkpoint-14"))
    assert again.scheduler.records == own.scheduler.records


def test_two_callbacks_of_different_axes_resume_each_its_own(tmp_path):
    def pair():
        return (
            callback(LearningRate([0.5, 2.0])),
            callback(GradientNoise([0.0, 0.01]), episode_length=2, seed=1),
        )

    reference, own = pair(), pair()
    first = hf_trainer(tmp_path, *reference)
    first.train()
    second = hf_trainer(tmp_path / "second", *own)
    second.train(resume_from_checkpoint=str(tmp_path / "checkpoint-14"))
    for left, right in zip(reference, own, strict=True):
        assert left.scheduler.records == right.scheduler.records
        assert right.scheduler.step_count == 16
    assert same(list(first.model.parameters()), list(second.model.parameters()))


def test_restored_callbacks_are_refused_where_they_would_lose_their_axes(tmp_path):
    with pytest.raises(
        ValueError, match="restore_callback_states_from_checkpoint: must be False with episodes"
    ):
        hf_trainer(tmp_path, callback(), restore_callback_states_from_checkpoint=True)


def test_a_hyperparameter_search_runs_and_its_checkpoints_resume(tmp_path):
    optuna = pytest.importorskip("optuna", reason="the extra `optuna` is not installed")
    optuna.logging.disable_default_handler()
    own = callback()
    trainer = hf_trainer(tmp_path, own, options={"init": True}, num_train_epochs=1, save_steps=3)
    counts = []
    trainer.add_callback(_AtEnd(lambda: counts.append(own.scheduler.step_count)))
    best = trainer.hyperparameter_search(
        hp_space=lambda trial: {"learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)},
        n_trials=2,
        backend="optuna",
        direction="minimize",
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    assert best.objective > 0
    assert counts == [8, 8]
    resumed = callback()
    again = hf_trainer(tmp_path / "later", resumed, num_train_epochs=1)
    again.train(resume_from_checkpoint=str(tmp_path / "run-1" / "checkpoint-3"))
    assert resumed.scheduler.step_count == 8


class _AtEnd(transformers.TrainerCallback):
    def __init__(self, call):
        self.call = call

    def on_train_end(self, *_, **__):
        self.call()


# ------------------------------------------------------------------ losses


def smoothed(outputs, labels, num_items_in_batch=None):
    total = nn.functional.cross_entropy(outputs["logits"], labels, reduction="sum", label_smoothing=0.1)
    return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)


class OwnLoss(transformers.Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = smoothed(outputs, labels, num_items_in_batch)
        return (loss, outputs) if return_outputs else loss


KINDS = {
    "label_smoothing_factor": ({}, {"label_smoothing_factor": 0.1}, None),
    "compute_loss_func": ({"compute_loss_func": smoothed}, {}, None),
    "a subclass's compute_loss": ({}, {}, OwnLoss),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_that_the_trainer_computes_is_seen_once_it_is_watched(tmp_path, kind):
    options, arguments, cls = KINDS[kind]
    own = callback()
    trainer = hf_trainer(tmp_path, own, options=options, cls=cls, logging_steps=1, **arguments)
    with pytest.raises(
        RuntimeError, match=r"no training loss was seen.*call callback\.watch\(trainer\)"
    ) as said:
        trainer.train()
    assert "\n" not in str(said.value)
    assert trainer.state.global_step == 0
    own = callback()
    trainer = hf_trainer(tmp_path, own, options=options, cls=cls, logging_steps=1, **arguments)
    own.watch(trainer)
    trainer.train()
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    starts = [record.loss_start for record in own.scheduler.records]
    assert [float(loss) for loss in logged[::3]] == pytest.approx(starts, abs=2e-4)
    assert "backward" not in vars(trainer.accelerator)


def test_a_loss_may_be_reported_by_hand(tmp_path):
    own = callback()

    class ByHand(transformers.Trainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            loss = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            if torch.is_grad_enabled():
                own.scheduler.observe(3.0)
            return loss

    hf_trainer(tmp_path, own, cls=ByHand).train()
    assert {record.loss_start for record in own.scheduler.records} == {3.0}


class Heeding(nn.Module):
    """A model that divides by the items of the whole step, as language models of the library do."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.config = inner.config

    def forward(self, input_ids, attention_mask, labels, num_items_in_batch=None, **kwargs):
        outputs = self.inner(input_ids=input_ids, attention_mask=attention_mask)
        return {"loss": smoothed({"logits": outputs.logits}, labels, num_items_in_batch)}


def heeding(model):
    return Heeding(model)


def unaware(model):
    model.accepts_loss_kwargs = False
    return model


@pytest.mark.parametrize(
    "model", [heeding, unaware, lambda model: model], ids=["heeds", "is not told", "ignores"]
)
@pytest.mark.parametrize("watched", [True, False])
def test_the_recorded_loss_is_the_step_s_whatever_is_accumulated(tmp_path, watched, model):
    finals = []
    # The last step of an epoch of 32 accumulates fewer batches than the others: 3 and 3 and 2.
    for batch, accumulate in ((12, 1), (4, 3)):
        own = callback(reward=EmaLogReward(), episode_length=1)
        folder = tmp_path / str(accumulate)
        plain = hf_trainer(folder).model
        trainer = hf_trainer(
            folder,
            own,
            options={"model": model(plain)},
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulate,
            learning_rate=1e-9,
            save_strategy="no",
        )
        if watched:
            own.watch(trainer)
        trainer.train()
        assert own.scheduler.step_count == 6
        finals.append([record.loss_start for record in own.scheduler.records])
    assert finals[0] == pytest.approx(finals[1], rel=1e-4)
    assert all(0.5 < loss < 0.9 for loss in finals[0])


def test_only_a_trainer_is_watched():
    with pytest.raises(ValueError, match="trainer: must have accelerator"):
        callback().watch(3)


# ------------------------------------------------------------------ one training after the other


@pytest.mark.parametrize("watched", [True, False])
def test_a_second_training_and_one_after_a_failure_begin_anew(tmp_path, watched):
    class Fail(transformers.TrainerCallback):
        armed = False

        def on_step_end(self, args, state, control, **kwargs):
            if self.armed and state.global_step == 4:
                raise KeyError("stop")

    own, fail = callback(), Fail()
    trainer = hf_trainer(tmp_path, own, fail, save_strategy="no", lr_scheduler_type="constant")
    if watched:
        own.watch(trainer)
    trainer.train()
    rates = []
    trainer.add_callback(_Each(lambda optimizer: rates.append(optimizer.param_groups[0]["lr"])))
    fail.armed = True
    with pytest.raises(KeyError, match="stop"):
        trainer.train()
    fail.armed = False
    trainer.train()
    assert own.scheduler.step_count == 16
    assert set(rates) == {1e-3}
    assert "backward" not in vars(trainer.accelerator)
    assert not trainer.model._forward_hooks


class _Each(transformers.TrainerCallback):
    def __init__(self, call):
        self.call = call

    def on_step_end(self, args, state, control, optimizer=None, **kwargs):
        self.call(optimizer)
