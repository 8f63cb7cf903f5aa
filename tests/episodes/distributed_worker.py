"""What each rank of the distributed tests runs; started by torch.multiprocessing."""

import os

import torch
from torch import distributed as dist
from torch import nn

from hypernudge.episodes import Alignment, EpisodicScheduler, GradientNoise, LearningRate
from tests.episodes.pretrained import network, plant


def build(seed=0):
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 4))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return model


def batch(rank, step):
    generator = torch.Generator().manual_seed(1000 * rank + step)
    return torch.randn(8, 4, generator=generator)


def run(model, episodes, optimizer, rank, steps, collectives):
    original = dist.all_reduce

    def counted(*args, **kwargs):
        collectives.append(1)
        return original(*args, **kwargs)

    dist.all_reduce = counted
    try:
        for step in range(steps):
            x = batch(rank, step)
            loss = (model(x) - x.roll(1, 1)).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            episodes.observe(loss)
            optimizer.step()
    finally:
        dist.all_reduce = original


def flat(model):
    return [p.full_tensor() if hasattr(p, "full_tensor") else p.detach() for p in model.parameters()]


def ddp(rank, deferred):
    model = nn.parallel.DistributedDataParallel(build())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    episodes = EpisodicScheduler(
        optimizer,
        LearningRate([0.25, 1.0, 4.0]),
        GradientNoise([0.0, 0.02]),
        episode_length=3,
        deferred_reads=deferred,
    )
    collectives = []
    run(model, episodes, optimizer, rank, 120, collectives)
    return {
        "seed": episodes.seed,
        "arms": [record.selection.arms for record in episodes.records],
        "losses": [record.loss_start for record in episodes.records],
        "parameters": [p.detach().clone() for p in model.parameters()],
        "collectives": len(collectives),
    }


def ddp_alignment(rank):
    model = nn.parallel.DistributedDataParallel(build())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    episodes = EpisodicScheduler(optimizer, controller=Alignment(look_every=3))
    run(model, episodes, optimizer, rank, 60, [])
    return {
        "values": [record.selection.values for record in episodes.records],
        "parameters": [p.detach().clone() for p in model.parameters()],
    }


def fsdp(rank):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (2,))
    model = build()
    fully_shard(model[0], mesh=mesh)
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    episodes = EpisodicScheduler(
        optimizer, LearningRate([0.25, 4.0]), GradientNoise([0.0, 0.02]), episode_length=3, seed=1
    )
    run(model, episodes, optimizer, rank, 60, [])
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    episodes._noise.add(optimizer, 1.0)
    aligned = build()
    fully_shard(aligned, mesh=mesh)
    optimizer = torch.optim.SGD(aligned.parameters(), lr=0.05)
    warming = EpisodicScheduler(optimizer, controller=Alignment(look_every=3))
    run(aligned, warming, optimizer, rank, 60, [])
    return {
        "arms": [record.selection.arms for record in episodes.records],
        "values": [record.selection.values for record in warming.records],
        "parameters": [*flat(model), *flat(aligned)],
        "noise": next(iter(model.parameters())).grad.to_local().clone(),
    }


def mismatch(rank):
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    rates = LearningRate([0.5, 1.0, 2.0])
    episodes = EpisodicScheduler(optimizer, rates, episode_length=1, seed=11 * rank)
    try:
        run(model, episodes, optimizer, 0, 20, [])
    except RuntimeError as error:
        return str(error)
    return "no error"


def pretrained(rank):
    """Ranks see different weights: one of them trained ones, as shards of one network may look."""
    import warnings

    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    own = plant(network(4)) if rank == 0 else network(4)
    sharded = plant(network(4))
    fully_shard(sharded, mesh=init_device_mesh("cpu", (2,)))
    found = []
    for model in (own, sharded):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        episodes = EpisodicScheduler(optimizer, total_steps=50)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the network is taken for pretrained")
            run(model, episodes, optimizer, rank, 2, [])
        found.append(episodes.controller.state_dict()["share"])
    return found


def main(rank, folder):
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        results = {
            "ddp": ddp(rank, None),
            "ddp_deferred": ddp(rank, True),
            "alignment": ddp_alignment(rank),
            "mismatch": mismatch(rank),
            "fsdp": fsdp(rank),
            "pretrained": pretrained(rank),
        }
        torch.save(results, f"{folder}/rank{rank}.pt")
        dist.barrier()
    finally:
        dist.destroy_process_group()
    # On a busy machine a thread of gloo may outlive its group and abort an interpreter that ends in order.
    os._exit(0)
