import sys
import threading

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.func import functional_call

from hypernudge.errors import InvalidArgumentError
from hypernudge.hypergradient.attention import twice_differentiable
from hypernudge.registry import check_name, registered_only
from hypernudge.tasks.networks import build_network
from hypernudge.tasks.vision import resnet
from hypernudge.tasks.vision.vit import VisionTransformer
from tests.harness.tools import ROOT

SHAPE = (3, 32, 32)


def size(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("depth", "millions", "exact"),
    [
        (20, 0.27, 269_722),
        (32, 0.46, 464_154),
        (44, 0.66, 658_586),
        (56, 0.85, 853_018),
        (110, 1.7, 1_727_962),
    ],
)
def test_residual_networks_are_those_of_the_paper(depth, millions, exact):
    network = build_network({"name": f"resnet{depth}"}, SHAPE, 10)
    assert size(network) == exact and f"{exact / 1e6:.2g}" == f"{millions:.2g}"
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth
    # Option A: what the shortcuts add has no parameters.
    assert all(m.kernel_size == (3, 3) and m.bias is None for m in layers if isinstance(m, nn.Conv2d))
    shapes = []
    for block in network.blocks:
        block.register_forward_hook(lambda module, given, out: shapes.append(tuple(out.shape[1:])))
    assert network(torch.zeros(2, *SHAPE)).shape == (2, 10)
    each = (depth - 2) // 6
    assert shapes == [(16, 32, 32)] * each + [(32, 16, 16)] * each + [(64, 8, 8)] * each


def test_the_shortcut_subsamples_and_pads_with_zeros():
    block = resnet.ResidualBlock(2, 4, 2).eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.rand(1, 2, 4, 4)
    out = block(x)
    assert torch.equal(out[:, :2], x[:, :, ::2, ::2]) and not out[:, 2:].any()


def test_convolutions_start_with_he_variance_and_signals_keep_their_size():
    torch.manual_seed(0)
    network = resnet.resnet20(width=32)
    for name, value in network.named_parameters():
        if "conv" in name and value[0].numel() > 200:
            assert value.var().item() == pytest.approx(2 / value[0].numel(), rel=0.1), name
    out = network.conv(torch.randn(8, *SHAPE))
    assert out.std().item() == pytest.approx(2**0.5, rel=0.2)


def test_width_and_classes_can_be_chosen():
    network = build_network({"name": "resnet20", "width": 8}, (1, 28, 28), 7)
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 7)
    assert network.head.in_features == 32
    for options, named in (({"width": 0}, "width"), ({"width": 1.5}, "width"), ({"depth": 3}, "model.depth")):
        with pytest.raises(InvalidArgumentError, match=named):
            build_network({"name": "resnet20", **options}, SHAPE, 10)
    with pytest.raises(InvalidArgumentError, match=r"depth: must be 6 n \+ 2"):
        resnet.CifarResNet(22)
    with pytest.raises(InvalidArgumentError, match="channels, height, width"):
        build_network({"name": "resnet20"}, (32,), 10)


def test_resnet18_keeps_the_resolution_in_its_stem():
    pytest.importorskip("torchvision", reason="extra vision")
    network = build_network({"name": "resnet18_cifar"}, SHAPE, 100)
    assert size(network) == 11_220_132
    seen = []
    network.layer1.register_forward_hook(lambda module, given, out: seen.append(out.shape))
    with torch.no_grad():
        assert network(torch.zeros(2, *SHAPE)).shape == (2, 100)
    assert seen == [(2, 64, 32, 32)]
    narrow = build_network({"name": "resnet18_cifar", "width": 8}, SHAPE, 100)
    assert narrow(torch.zeros(2, *SHAPE)).shape == (2, 100)
    stages = [narrow.layer1, narrow.layer2, narrow.layer3, narrow.layer4]
    assert [stage[-1].conv2.out_channels for stage in stages] == [8, 16, 32, 64]
    assert 174_000 < size(narrow) < 11_220_132 / 50


def test_vit_is_a_small_one():
    network = build_network({"name": "vit"}, SHAPE, 10)
    assert size(network) == 5_362_762
    small = build_network({"name": "vit", "width": 24, "depth": 2, "heads": 2, "dropout": 0.5}, SHAPE, 10)
    x = torch.rand(3, *SHAPE)
    assert small(x).shape == (3, 10) and not torch.equal(small(x), small(x))
    assert torch.equal(small.eval()(x), small(x))
    for options, named in (
        ({"patch_size": 5}, "patch_size"),
        ({"heads": 5}, "width"),
        ({"dropout": 2}, "dropout"),
    ):
        with pytest.raises(InvalidArgumentError, match=named):
            build_network({"name": "vit", **options}, SHAPE, 10)


def test_vit_is_timms():
    timm = pytest.importorskip("timm", reason="extra vision")
    options = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 2}
    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=5, **options)
    ours = VisionTransformer(5, 16, 4, 24, 2, 2)
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(ours(x), theirs(x))


def test_networks_of_timm_go_by_name():
    pytest.importorskip("timm", reason="extra vision")
    assert build_network({"name": "timm/resnet18"}, SHAPE, 7)(torch.zeros(2, *SHAPE)).shape == (2, 7)
    vit = {"name": "timm/vit_tiny_patch16_224", "img_size": 32, "patch_size": 4, "depth": 1}
    assert build_network(vit, SHAPE, 10)(torch.zeros(2, *SHAPE)).shape == (2, 10)
    for spec, said in (
        ({"name": "timm/resnot18"}, "did you mean .*timm/resne"),
        (
            {"name": "timm/vit_tiny_patch16_224"},
            r"images of \(224, 224\), but got \(32, 32\); add img_size: 32",
        ),
        ({"name": "timm/resnet18", "image_size": 3}, "timm says: .*image_size"),
        ({"name": "timm/resnet18", "pretrained": True}, "without trained weights, but got .'pretrained'"),
    ):
        with pytest.raises(InvalidArgumentError, match=said) as caught:
            build_network(spec, SHAPE, 10)
        assert "\n" not in str(caught.value)


def test_without_timm_or_torchvision_it_is_said_what_to_install(monkeypatch):
    for name, package in (("timm/resnet18", "timm"), ("resnet18_cifar", "torchvision.models")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(InvalidArgumentError, match=r"pip install 'hypernudge\[vision\]'"):
            build_network({"name": name}, SHAPE, 10)
    with pytest.raises(InvalidArgumentError, match="timm/NAME"):
        build_network({"name": "resnet19"}, SHAPE, 10)


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "resnet20", "width": 2},
        {"name": "vit", "width": 8, "heads": 2, "depth": 2},
        {
            "name": "timm/vit_tiny_patch16_224",
            "img_size": 16,
            "patch_size": 4,
            "embed_dim": 8,
            "num_heads": 2,
            "depth": 2,
        },
    ],
    ids=lambda spec: spec["name"],
)
def test_second_derivatives_are_right(spec):
    if spec["name"].startswith("timm/"):
        pytest.importorskip("timm", reason="extra vision")
    torch.manual_seed(0)
    network = build_network(spec, (3, 16, 16), 4).double()
    x, y = torch.rand(4, 3, 16, 16, dtype=torch.float64), torch.tensor([0, 1, 2, 3])
    params = {name: value.detach() for name, value in network.named_parameters()}
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    direction = {name: torch.randn_like(value) for name, value in params.items()}

    def slope(step):
        moved = {name: (value + step * direction[name]).requires_grad_() for name, value in params.items()}
        with twice_differentiable():
            state = moved | {name: value.clone() for name, value in buffers.items()}
            loss = F.cross_entropy(functional_call(network, state, (x,)), y)
            return moved, torch.autograd.grad(loss, list(moved.values()), create_graph=True)

    moved, gradients = slope(0.0)
    along = sum((g * d).sum() for g, d in zip(gradients, direction.values(), strict=True))
    second = torch.autograd.grad(along, list(moved.values()))
    found = sum((h * d).sum() for h, d in zip(second, direction.values(), strict=True)).item()
    h = 1e-8  # so small that hardly a rectifier changes its side
    up, down = (
        sum((g * d).sum() for g, d in zip(slope(s)[1], direction.values(), strict=True)).item()
        for s in (h, -h)
    )
    assert found == pytest.approx((up - down) / (2 * h), rel=1e-3)


def test_fused_attention_alone_has_no_second_derivative():
    """Why `twice_differentiable` is there; once this fails, it may go."""
    network = VisionTransformer(4, 8, 4, 8, 1, 2)
    x, y = torch.rand(2, 3, 8, 8), torch.tensor([0, 1])

    def curvature():
        params = list(network.parameters())
        loss = F.cross_entropy(network(x), y)
        (first,) = torch.autograd.grad(loss, [params[0]], create_graph=True)
        return torch.autograd.grad(first.sum(), params[0])

    with pytest.raises(RuntimeError, match="not implemented"):
        curvature()
    with twice_differentiable():
        assert curvature()[0].isfinite().all()


def test_where_results_are_read_a_family_is_a_known_name_and_code_is_not():
    with registered_only():
        assert check_name("model", "timm/resnet18") == "timm/resnet18"
        for name in ("os:system", "timm:create_model", "other/resnet18"):
            with pytest.raises(InvalidArgumentError, match="must be a known name where results are read"):
                check_name("model", name)


@pytest.mark.parametrize(
    ("written", "where"),
    [
        ("BatchNorm2d(", {"hypernudge/tasks/vision/resnet.py"}),
        ("native_batch_norm(", {"benchmarks/confirmation/networks.py"}),  # as its cells were sealed
        ("data_batch_", {"hypernudge/tasks/vision/cifar.py"}),
        ("fine_labels", {"hypernudge/tasks/vision/cifar.py"}),
        ("pickle.Unpickler", {"hypernudge/tasks/vision/cifar.py"}),
        ("np.memmap(", {"hypernudge/tasks/data/cache.py"}),
    ],
)
def test_networks_readers_and_caches_are_written_once(written, where):
    """The experiments and the benchmarks have no second stem, reader or cache."""
    found = set()
    for room in ("hypernudge", "experiments", "benchmarks", "scripts", "src", "examples"):
        for path in (ROOT / room).rglob("*.py"):
            if written in path.read_text(encoding="utf-8"):
                found.add(path.relative_to(ROOT).as_posix())
    assert found == where


def test_threads_that_differentiate_twice_at_once_leave_attention_as_it_was():
    entered, left = threading.Event(), threading.Event()
    fused = torch.backends.cuda.flash_sdp_enabled
    seen = []

    def another():
        with twice_differentiable():
            entered.set()
            assert left.wait(300)
            seen.append(fused())

    for outlives in (True, False):  # the thread that came first leaves last, and first
        entered.clear(), left.clear(), seen.clear()
        thread = threading.Thread(target=another)
        thread.start()
        assert entered.wait(300)
        with twice_differentiable(), twice_differentiable():
            if not outlives:
                left.set()
                thread.join()
                assert not fused(), "a thread that leaves takes nothing away from one that is within"
        left.set()
        thread.join()
        assert seen == [False] and fused()
