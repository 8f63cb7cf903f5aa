"""Small trainings by the trainers of three libraries."""

import contextlib
import json
import warnings

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from hypernudge.episodes import GradientNoise, LearningRate

AXES = (LearningRate([0.5, 2.0]), GradientNoise([0.0, 0.01]))


class Digits(Dataset):
    def __init__(self, count=48):
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(count, 4, generator=generator)
        self.targets = (self.inputs[:, 0] > 0).long()

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return self.inputs[index], self.targets[index]


def network():
    generator = torch.Generator().manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return model


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=0.01)


def lightning_module(*, manual=False, optimizer=adamw, constant=None):
    """Return a module; with `constant` its loss is that number, whatever the batch."""
    import lightning.pytorch as pl

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network()
            self.automatic_optimization = not manual
            self.rates = []

        def training_step(self, batch, index):
            loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            if constant is not None:
                loss = loss * 0 + constant
            if manual:
                optimizer = self.optimizers()
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
            return loss

        def on_train_batch_end(self, outputs, batch, batch_index):
            self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])

        def validation_step(self, batch, index):
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return optimizer(self.parameters())

    return Module()


@contextlib.contextmanager
def quiet():
    """Silence a trainer's advice on workers, devices and logging, but not what the episodes say."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for said in (".*episodes start anew", ".*takes its place", ".*does not know its number"):
            warnings.filterwarnings("always", message=said)
        yield


def lightning_trainer(
    folder, *callbacks, epochs=2, accumulate=1, precision="32-true", plugins=None, **options
):
    import lightning.pytorch as pl

    with quiet():
        return pl.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            devices=1,
            callbacks=list(callbacks),
            accumulate_grad_batches=accumulate,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
            precision=None if plugins else precision,
            plugins=plugins,
            **{"logger": False, **options},
        )


def lightning_fit(folder, callback, *, resume=None, epochs=2, module=None, manual=False, **options):
    module = module or lightning_module(manual=manual)
    trainer = lightning_trainer(folder, callback, epochs=epochs, **options)
    with quiet():
        trainer.fit(module, DataLoader(Digits(), batch_size=4), ckpt_path=resume)
        if resume is None:
            trainer.save_checkpoint(folder / f"after{epochs}.ckpt")
    assert len(set(module.rates)) == 1
    return module, trainer


def hf_trainer(folder, *callbacks, cls=None, options=None, **arguments):
    """Return a trainer; `options` are the trainer's own, `arguments` its training arguments."""
    import transformers

    class Sentences(Dataset):
        def __len__(self):
            return 32

        def __getitem__(self, index):
            generator = torch.Generator().manual_seed(index)
            ids = torch.randint(5, 50, (6,), generator=generator)
            return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[0] % 2}

    def model_init():
        config = transformers.DistilBertConfig(
            vocab_size=50,
            dim=16,
            n_layers=1,
            n_heads=2,
            hidden_dim=32,
            max_position_embeddings=8,
            dropout=0.0,
            seq_classif_dropout=0.0,
            attention_dropout=0.0,
        )
        torch.manual_seed(0)  # the library initialises from the global generator
        return transformers.DistilBertForSequenceClassification(config)

    filled = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 4,
        "num_train_epochs": 2,
        "learning_rate": 1e-3,
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": True,
        "save_strategy": "steps",
        "save_steps": 7,
        "dataloader_pin_memory": False,
        **arguments,
    }
    options = dict(options or {})
    if options.pop("init", False):
        options["model_init"] = lambda trial=None: model_init()
    elif "model" not in options:
        options["model"] = model_init()
    return (cls or transformers.Trainer)(
        args=transformers.TrainingArguments(**filled),
        train_dataset=Sentences(),
        eval_dataset=Sentences(),
        callbacks=list(callbacks),
        **options,
    )


def forget_episodes(checkpoint):
    """Take the episodes' state out of a checkpoint of transformers, as one without the callback is."""
    path = checkpoint / "trainer_state.json"
    state = json.loads(path.read_text())
    del state["stateful_callbacks"]["EpisodesTrainerCallback"]
    path.write_text(json.dumps(state))
