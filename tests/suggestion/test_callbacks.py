"""The suggestion inside trainers."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hypernudge import suggest

QUICK = {"trial_steps": 40, "seconds": None}


def data():
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), batch_size=8)


def module(schedule=None, several=False):
    import lightning.pytorch as pl

    class Classifier(pl.LightningModule):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
            self.before, self.rates = None, []

        def training_step(self, batch):
            assert self.trainer.current_epoch >= 0
            loss = F.cross_entropy(self.net(batch[0]), batch[1])
            self.log("train_loss", loss)
            return {"loss": loss}

        def on_train_epoch_start(self):  # after the callback, before the first step
            if self.before is None:
                self.before = copy.deepcopy(self.net.state_dict())

        def on_before_optimizer_step(self, optimizer):
            self.rates.append(optimizer.param_groups[0]["lr"])

        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=1e-4)
            if several:
                return [optimizer, torch.optim.SGD(self.parameters(), lr=1e-4)], []
            return (
                optimizer
                if schedule is None
                else {"optimizer": optimizer, "lr_scheduler": schedule(optimizer)}
            )

    return Classifier()


def fitted(model, callback, folder, **options):
    import lightning.pytorch as pl

    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lightning: on workers, on Slurm, on what it will rename
        trainer = pl.Trainer(
            accelerator="cpu", max_epochs=3, callbacks=[callback], default_root_dir=folder,
            enable_checkpointing=False, **quiet, **options,
        )  # fmt: skip
        trainer.fit(model, data())
    return trainer


@pytest.fixture
def lightning():
    pytest.importorskip("lightning", reason="the extra `trainers` is not installed")
    from hypernudge.integrations.lightning import SuggestedRateCallback

    return SuggestedRateCallback


@pytest.mark.parametrize("only_print", [False, True])
def test_lightning_trains_at_the_suggestion(lightning, tmp_path, capsys, only_print):
    callback, model = lightning(only_print, **QUICK), module()
    drawn = copy.deepcopy(model.net.state_dict())
    fitted(model, callback, tmp_path, gradient_clip_val=10.0)
    expected = suggest(
        module().net, nn.CrossEntropyLoss(), data(), torch.optim.SGD, steps=24, grad_clip=10.0, **QUICK
    )
    assert callback.suggestion.lr == pytest.approx(expected.lr, rel=1e-6)
    assert model.rates == pytest.approx([1e-4 if only_print else expected.lr] * 24, rel=1e-6)
    assert all(torch.equal(drawn[name], value) for name, value in model.before.items())
    assert f"hypernudge: lr {expected.lr:.2g} [" in capsys.readouterr().err


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_lightning_in_another_precision(lightning, tmp_path, precision):
    callback = lightning(trial_steps=20)
    model = module()
    trainer = fitted(model, callback, tmp_path, precision=precision)
    assert trainer.global_step == 24 and callback.suggestion.basis == "trials"
    assert model.rates == pytest.approx([callback.suggestion.lr] * 24)


@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_lightning_s_scheduler_is_followed_and_scaled(lightning, tmp_path, interval):
    length = 24 if interval == "step" else 3

    def schedule(optimizer):
        made = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=length)
        return {"scheduler": made, "interval": interval}

    callback, model = lightning(**QUICK), module(schedule)
    fitted(model, callback, tmp_path)
    lr = callback.suggestion.lr
    assert callback.suggestion.schedule == "CosineAnnealingLR" and callback.suggestion.steps == 24
    assert model.rates[0] == pytest.approx(lr) and lr > 1e-3
    halves = model.rates[12] if interval == "step" else model.rates[8] * 2 / 3
    assert halves == pytest.approx(lr / 2, rel=0.01)


def test_lightning_with_two_optimizers_is_refused(lightning, tmp_path):
    model = module(several=True)
    model.automatic_optimization = False
    with pytest.raises(ValueError, match=r"^configure_optimizers: must return one optimizer, but got 2; "):
        fitted(model, lightning(**QUICK), tmp_path)
    model = module()
    model.automatic_optimization = False
    with pytest.raises(ValueError, match=r"^automatic_optimization: must be true, but got False; "):
        fitted(model, lightning(**QUICK), tmp_path)


def test_a_bad_option_is_refused_when_the_callback_is_built(lightning):
    with pytest.raises(ValueError, match=r"^trial_steps: must be a whole number >= 20, but got 3; "):
        lightning(trial_steps=3)
    with pytest.raises(ValueError, match=r"^only_print: must be true or false"):
        lightning("yes")


@pytest.mark.parametrize("only_print", [False, True])
def test_hugging_face(tmp_path, capsys, only_print):
    pytest.importorskip("transformers", reason="the extra `trainers` is not installed")
    from transformers import DistilBertConfig, DistilBertForSequenceClassification, Trainer, TrainingArguments

    from hypernudge.integrations.transformers_rate import SuggestedRateTrainerCallback

    drawn = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 50, (64, 6), generator=drawn)
    rows = [{"input_ids": row, "labels": row[0] % 2} for row in tokens]
    config = DistilBertConfig(vocab_size=50, dim=8, hidden_dim=16, n_layers=1, n_heads=2)
    model = DistilBertForSequenceClassification(config)
    before = copy.deepcopy(model.state_dict())
    rates = []

    class Watch(SuggestedRateTrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            super().on_train_begin(args, state, control, **kwargs)
            now = kwargs["model"].state_dict()
            assert all(torch.equal(before[name], value) for name, value in now.items())

        def on_pre_optimizer_step(self, args, state, control, **kwargs):
            rates.append(kwargs["optimizer"].param_groups[0]["lr"])

    arguments = TrainingArguments(
        str(tmp_path), max_steps=10, per_device_train_batch_size=8, warmup_steps=2, report_to=[],
        use_cpu=True, learning_rate=1e-7, save_strategy="no", disable_tqdm=True, logging_strategy="no",
    )  # fmt: skip
    callback = Watch(only_print, **QUICK)
    Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[callback]).train()
    found = callback.suggestion
    assert found.steps == 10 and found.schedule == "LambdaLR" and found.basis == "trials"
    assert f"hypernudge: lr {found.lr:.2g} [" in capsys.readouterr().err
    peak = 1e-7 if only_print else found.lr
    assert found.lr > 1e-5
    expected = [0, peak / 2, *(peak * (10 - step) / 8 for step in range(2, 10))]
    assert rates == pytest.approx(expected, rel=1e-6)
