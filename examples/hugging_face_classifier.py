"""A text classifier of Hugging Face, from a configuration: python examples/hugging_face_classifier.py."""

import torch
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from hypernudge import ASHA, ModuleTask, Real, SearchSpace, tune

drawn = torch.Generator().manual_seed(0)  # the label says which of two tokens a text has more of
tokens = torch.randint(2, 50, (600, 16), generator=drawn) * (torch.rand(600, 16, generator=drawn) < 0.5)
tokens = torch.where(tokens == 0, torch.randint(1, 3, (600, 16), generator=drawn), tokens)
labels = ((tokens == 1).sum(1) > (tokens == 2).sum(1)).long()
texts = [{"input_ids": row, "labels": label} for row, label in zip(tokens, labels, strict=True)]
config = DistilBertConfig(vocab_size=50, dim=32, hidden_dim=64, n_layers=2, n_heads=2)
space = SearchSpace(
    [Real("lr", 1e-4, 1e-1, log=True), Real("weight_decay", 1e-4, 1, log=True), Real("warmup", 0, 0.3)]
)
task = ModuleTask(
    model=lambda hp: DistilBertForSequenceClassification(config),
    data=(texts[:400], texts[400:500], texts[500:]),
    loss=lambda model, batch, hp: model(**batch).loss,
    score="accuracy",
    space=space,
    optimizer={"name": "adamw", "decay": "matrices"},
    schedule="linear",
    batch_size=32,
)
study = tune(task, ASHA(space, max_units=9, max_trials=6), warm_start="informed", seed=0)
trial, unit = study.best()
print(f"accuracy {unit.validation:.3f} (validation), {unit.test:.3f} (test): {trial.config}")
