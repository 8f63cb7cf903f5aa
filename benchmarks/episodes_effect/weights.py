"""Whether weights tell a pretrained network from a new one: shares of new and of trained networks.

    HYPERNUDGE_DATA=... python -m benchmarks.episodes_effect.weights [--output weights.jsonl] [--seeds 3]
        [--states NAME=FILE ...]

A row for each network has `trained_share`, which the default of known length asks, the largest singular
value of a matrix over the Marchenko-Pastur edge, and the processor seconds that asking took. `new`: layers
and networks of torch, torchvision, timm and transformers (extras `vision`, `text`) as their libraries
initialise them. `small`: the five networks of the planned studies, the worst of 200 seeds. `begun`: a network
after so many steps. `trained`: MiniLM (extra `minilm`), and, with `--states`, files of tensors that
`torch.load` reads with `weights_only=True` or that are TorchScript. The last line is a JSON object: the
greatest and the least share of each kind.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 -- the usual name
from torch import Tensor, nn

from benchmarks.episodes_effect.fine_tuning import TASKS as FINE_TUNED
from benchmarks.episodes_effect.tasks import TASKS as STUDIED
from benchmarks.suggest.tasks import cifar, digits
from hypernudge.episodes.trained_weights import matrix_of, over_edge, trained_share
from hypernudge.results.files import write_text
from hypernudge.tasks.vision.resnet import resnet18_cifar

SEEDS_OF_SMALL = 200
BEGUN = (1, 5, 20, 50, 300)
TORCHVISION = (
    "resnet18", "vgg11", "mobilenet_v3_small", "efficientnet_b0", "densenet121", "vit_b_16", "swin_t",
    "convnext_tiny", "squeezenet1_1", "shufflenet_v2_x1_0",
)  # fmt: skip
TIMM = (
    "vit_tiny_patch16_224", "deit_tiny_patch16_224", "mixer_s32_224", "convmixer_768_32", "cait_xxs24_224",
    "resnetv2_50", "regnety_002", "maxvit_tiny_rw_224", "pit_ti_224", "volo_d1_224", "efficientformer_l1",
    "ghostnet_100", "levit_128s", "crossvit_tiny_240", "xcit_nano_12_p16_224",
)  # fmt: skip
_BERT = {"num_hidden_layers": 3, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 512}
_DISTIL = {"n_layers": 3, "dim": 256, "hidden_dim": 512, "n_heads": 4, "vocab_size": 8000}
_OPT = {"num_hidden_layers": 3, "hidden_size": 256, "num_attention_heads": 4, "ffn_dim": 512}
TRANSFORMERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gpt2": (
        "GPT2Config",
        "GPT2LMHeadModel",
        {"n_layer": 3, "n_embd": 256, "n_head": 4, "vocab_size": 8000, "bos_token_id": 0, "eos_token_id": 0},
    ),
    "bert": ("BertConfig", "BertForSequenceClassification", {**_BERT, "vocab_size": 8000}),
    "llama": ("LlamaConfig", "LlamaForCausalLM", {**_BERT, "vocab_size": 8000}),
    "albert": ("AlbertConfig", "AlbertForSequenceClassification", {**_BERT, "vocab_size": 8000}),
    "t5": (
        "T5Config",
        "T5ForConditionalGeneration",
        {"num_layers": 3, "d_model": 256, "d_kv": 64, "num_heads": 4, "d_ff": 512, "vocab_size": 8000},
    ),
    "distilbert": ("DistilBertConfig", "DistilBertForSequenceClassification", _DISTIL),
    "distilbert_sinusoids": (
        "DistilBertConfig",
        "DistilBertForSequenceClassification",
        {**_DISTIL, "sinusoidal_pos_embds": True},
    ),
    "mamba": (
        "MambaConfig",
        "MambaForCausalLM",
        {"num_hidden_layers": 3, "hidden_size": 256, "vocab_size": 8000},
    ),
    "wav2vec2": ("Wav2Vec2Config", "Wav2Vec2ForCTC", _BERT),
    "opt": ("OPTConfig", "OPTForCausalLM", {**_OPT, "vocab_size": 8000, "word_embed_proj_dim": 256}),
}


def looked_at(parameters: Iterable[Tensor]) -> dict[str, float]:
    """Return the share that is taken for trained, the largest value over the edge, and the seconds taken."""
    optimizer = torch.optim.SGD(list(parameters), lr=0.0)
    begun = time.process_time()
    share = trained_share(optimizer)
    seconds = time.process_time() - begun
    matrices = [matrix_of(parameter) for parameter in optimizer.param_groups[0]["params"]]
    largest = max((float(over_edge(matrix)) for matrix in matrices if matrix is not None), default=0.0)
    return {"share": round(share, 3), "largest": round(largest, 2), "seconds": round(seconds, 3)}


def _filled(fill: Callable[[Tensor], Any]) -> nn.Module:
    module = nn.LSTM(64, 128)
    for parameter in module.parameters():
        if parameter.dim() > 1:
            fill(parameter)
    return module


def builders() -> Iterator[tuple[str, Callable[[], nn.Module]]]:
    """Yield names and builders of new networks."""
    import timm
    import torchvision
    import transformers

    yield "torch LSTM", lambda: nn.LSTM(64, 128, 2)
    yield "torch GRU", lambda: nn.GRU(64, 128, 2)
    yield "torch Embedding", lambda: nn.Embedding(5000, 64, padding_idx=0)
    yield "torch TransformerEncoder", lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(128, 4), 4)
    for name in ("orthogonal_", "xavier_normal_", "kaiming_uniform_", "uniform_", "eye_", "ones_", "zeros_"):
        yield f"torch init.{name}", functools.partial(_filled, getattr(nn.init, name))
    yield "torch init.sparse_", lambda: _filled(lambda parameter: nn.init.sparse_(parameter, 0.9))
    for name in TORCHVISION:
        yield f"torchvision {name}", getattr(torchvision.models, name)
    for name in TIMM:
        yield f"timm {name}", functools.partial(timm.create_model, name)
    for name, (config, model, options) in TRANSFORMERS.items():
        settings = getattr(transformers, config)(**options)
        yield f"transformers {name}", functools.partial(getattr(transformers, model), settings)


def new(seeds: int) -> Iterator[dict[str, Any]]:
    """Yield rows of new networks."""
    for name, build in builders():
        for seed in range(seeds):
            torch.manual_seed(seed)
            yield {"kind": "new", "name": name, "seed": seed, **looked_at(build().parameters())}


def small(seeds: int = SEEDS_OF_SMALL) -> Iterator[dict[str, Any]]:
    """Yield rows of the networks of the planned studies, the worst of all seeds."""
    for name, task in STUDIED.items():
        data = task.data(0)
        rows = [
            looked_at([nn.Parameter(p) for p in task.init(data, seed, torch.float32).values()])
            for seed in range(seeds)
        ]
        worst = {key: max(row[key] for row in rows) for key in ("share", "largest", "seconds")}
        yield {"kind": "small", "name": name, "seeds": seeds, **worst}


def begun(seed: int = 0) -> Iterator[dict[str, Any]]:
    """Yield rows of networks after so many steps."""
    x, y, _, _ = digits((64,), 16.0)
    images, labels, _, _ = cifar()
    mlp = functools.partial(_mlp, 64, 256, 10)
    resnet = functools.partial(resnet18_cifar, num_classes=10, width=8)
    cases: list[
        tuple[str, Callable[[], nn.Module], Tensor, Tensor, type[torch.optim.Optimizer], dict[str, Any]]
    ]
    sgd = {"lr": 0.1, "momentum": 0.9}
    cases = [
        ("MLP, digits, AdamW 1e-3", mlp, x, y, torch.optim.AdamW, {"lr": 1e-3}),
        ("MLP, digits, SGD .01", mlp, x, y, torch.optim.SGD, {**sgd, "lr": 0.01}),
        ("MLP, digits, SGD .1", mlp, x, y, torch.optim.SGD, sgd),
        ("ResNet-18, CIFAR-10, SGD .1", resnet, images, labels, torch.optim.SGD, sgd),
        ("ResNet-18, CIFAR-10, AdamW 3e-3", resnet, images, labels, torch.optim.AdamW, {"lr": 3e-3}),
    ]
    for name, build, inputs, targets, kind, options in cases:
        torch.manual_seed(seed)
        model = build()
        optimizer = kind(model.parameters(), **options)
        losses = []
        for step in range(1, max(BEGUN) + 1):
            rows = torch.randint(len(targets), (32,))
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs[rows]), targets[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
            if step in BEGUN:
                recent = losses[-10:]
                told = {"steps": step, "loss": round(sum(recent) / len(recent), 2)}
                yield {"kind": "begun", "name": name, **told, **looked_at(model.parameters())}


def _mlp(inputs: int, hidden: int, classes: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden, classes))


def trained(states: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield rows of trained networks: MiniLM as it is fine-tuned, and those of files."""
    for name in ("sst2", "agnews"):
        row = looked_at(FINE_TUNED[name].model().parameters())
        yield {"kind": "trained", "name": f"MiniLM with a new head, {name}", **row}
    for state in states:
        name, _, path = state.partition("=")
        tensors = [tensor.float() for tensor in _tensors(_loaded(path)) if tensor.is_floating_point()]
        yield {"kind": "trained", "name": name, **looked_at([nn.Parameter(tensor) for tensor in tensors])}


def _loaded(path: str) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except RuntimeError:  # TorchScript
        return dict(torch.jit.load(path, map_location="cpu").named_parameters())  # type: ignore[no-untyped-call]


def _tensors(found: Any) -> Iterator[Tensor]:
    if isinstance(found, Tensor):
        yield found.detach()
    elif isinstance(found, dict):
        for value in found.values():
            yield from _tensors(value)


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the least and the greatest share and value of each kind."""
    found: dict[str, Any] = {}
    for kind in dict.fromkeys(row["kind"] for row in rows):
        of = [row for row in rows if row["kind"] == kind]
        found[kind] = {"networks": len({row["name"] for row in of})}
        for key in ("share", "largest"):
            found[kind][key] = [min(row[key] for row in of), max(row[key] for row in of)]
    return found


def main() -> int:
    """Print a line for each network, and the summary."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="of each new network")
    parser.add_argument(
        "--states", nargs="*", default=[], metavar="NAME=FILE", help="further trained networks"
    )
    parser.add_argument("--output", type=Path, help="file of rows (JSON lines)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries, about their own networks
        for part in (new(options.seeds), small(), begun(), trained(options.states)):
            for row in part:
                rows.append(row)
                print(json.dumps(row), flush=True)
    if options.output is not None:
        write_text(options.output, "".join(json.dumps(row) + "\n" for row in rows))
    print(json.dumps(summary(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
