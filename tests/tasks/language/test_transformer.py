import pytest
import torch
from torch import nn
from torch.func import functional_call

from hypernudge.errors import InvalidArgumentError
from hypernudge.hypergradient.attention import twice_differentiable
from hypernudge.tasks.decay import decayed, parameter_groups
from hypernudge.tasks.language.transformer import TransformerLM, rotated
from hypernudge.tasks.networks import build_network
from hypernudge.tasks.networks.losses import cross_entropy


def size(model):
    return sum(p.numel() for p in model.parameters())


def tokens(*shape, vocabulary=11):
    return torch.randint(0, vocabulary, shape, generator=torch.Generator().manual_seed(1))


def small(**options):
    torch.manual_seed(0)
    length = options.pop("length", 12)
    spec = {"name": "transformer_lm", "width": 16, "depth": 2, "heads": 2, **options}
    return build_network(spec, (length,), 11)


def test_sizes_reach_from_one_million_to_125_million():
    def expected(vocabulary, width, depth):
        return vocabulary * width + 12 * depth * width**2 + (2 * depth + 1) * width

    for shape in ((11, 16, 2), (50, 24, 1), (2048, 128, 4)):
        assert size(TransformerLM((64,), *shape)) == expected(*shape)
    assert expected(2048, 128, 4) == 1_049_728 and expected(50_257, 768, 12) == 123_551_232


def test_no_token_sees_a_later_one():
    model = small().eval()
    x = tokens(2, 12)
    logits = model(x)
    changed = x.clone()
    changed[:, 7:] = (changed[:, 7:] + 1) % 11
    assert logits.shape == (2, 12, 11)
    torch.testing.assert_close(model(changed)[:, :7], logits[:, :7])
    assert not torch.allclose(model(changed)[:, 7:], logits[:, 7:])
    torch.testing.assert_close(model(x[:, :5]), logits[:, :5])


def test_rotations_depend_on_distances_alone():
    model = small()
    q, k = torch.randn(8), torch.randn(8)
    at = [rotated(v.expand(12, 8), model.cosine, model.sine) for v in (q, k)]
    scores = at[0] @ at[1].T
    for distance in (1, 4):
        diagonal = scores.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    torch.testing.assert_close(at[0].norm(dim=1), q.norm().expand(12))
    assert not torch.allclose(scores[3, 0], scores[4, 0])


def test_the_embedding_is_the_output_layer():
    model = small()
    assert not any("head" in name for name, _ in model.named_parameters())
    x = tokens(1, 4)
    before = model(x)
    with torch.no_grad():
        model.embedding.weight[5] *= 3
    assert not torch.allclose(model(x)[..., 5], before[..., 5])
    # As a function of its parameters too, one tensor serves both.
    params = {name: value.detach() for name, value in model.named_parameters()}
    torch.testing.assert_close(functional_call(model, params, (x,)), model(x))


def test_the_features_are_what_the_output_layer_gets():
    model = small()
    x = tokens(2, 12)
    torch.testing.assert_close(model.features(x) @ model.embedding.weight.T, model(x))
    with pytest.raises(InvalidArgumentError, match="length: must be at most 12"):
        model.features(tokens(1, 13))


def test_dropout_is_drawn_alike_by_fused_and_plain_attention():
    model = small(dropout=0.3)
    x = tokens(2, 12)

    def run(seed):
        torch.manual_seed(seed)
        return model(x)

    fused, other = run(0), run(1)
    with twice_differentiable():
        torch.testing.assert_close(run(0), fused)
    assert not torch.allclose(fused, other)
    model.eval()
    assert torch.equal(model(x), model(x))


def test_second_derivatives_are_right():
    model = small().double()
    x, y = tokens(2, 8), tokens(2, 8)
    params = {name: value.detach() for name, value in model.named_parameters()}
    direction = {name: torch.randn_like(value) for name, value in params.items()}

    def slope(step):
        moved = {name: (value + step * direction[name]).requires_grad_() for name, value in params.items()}
        with twice_differentiable():
            loss = cross_entropy(functional_call(model, moved, (x,)), y, torch.tensor(0.1))
        gradients = torch.autograd.grad(loss, list(moved.values()), create_graph=True)
        return moved, sum((g * d).sum() for g, d in zip(gradients, direction.values(), strict=True))

    moved, along = slope(0.0)
    second = torch.autograd.grad(along, list(moved.values()))
    found = sum((h * d).sum() for h, d in zip(second, direction.values(), strict=True)).item()
    h = 1e-5
    assert found == pytest.approx((slope(h)[1] - slope(-h)[1]).item() / (2 * h), rel=1e-4)


def test_the_loss_is_pytorchs_and_has_a_derivative_in_the_smoothing():
    logits, y = torch.randn(3, 4, 11, dtype=torch.float64), tokens(3, 4)
    for smoothing in (0.0, 0.2):
        expected = nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), label_smoothing=smoothing)
        torch.testing.assert_close(cross_entropy(logits, y, smoothing), expected)
    smoothing = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(cross_entropy(logits, y, smoothing), smoothing)
    difference = cross_entropy(logits, y, 1e-6) - cross_entropy(logits, y)
    assert slope.item() == pytest.approx(difference.item() / 1e-6, rel=1e-6)


def test_matrices_decay_and_scales_do_not():
    model = small()
    does = decayed(model)
    assert {name for name, it in does.items() if not it} == {
        "norm.weight",
        *(f"blocks.{i}.norm{j}.weight" for i in (0, 1) for j in (1, 2)),
    }
    model.blocks[0].up.requires_grad_(False)
    matrices, rest = parameter_groups(model, 0.1)
    assert (matrices["weight_decay"], rest["weight_decay"]) == (0.1, 0.0)
    assert len(matrices["params"]) == 1 + 2 * 4 - 1 and len(rest["params"]) == 5
    torch.optim.AdamW([matrices, rest], lr=1e-3)
    assert len(parameter_groups(nn.Linear(2, 2, bias=False), 0.1)) == 1


def test_it_learns_a_pattern():
    model = small()
    x = torch.arange(13).remainder(5).expand(4, 13)
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.01), lr=1e-2)
    for _ in range(40):
        loss = cross_entropy(model(x[:, :-1]), x[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


def test_bad_shapes_are_refused():
    for options, named in (({"width": 18}, "width"), ({"depth": 0}, "depth"), ({"dropout": -1}, "dropout")):
        with pytest.raises(InvalidArgumentError, match=named):
            small(**options)
    with pytest.raises(InvalidArgumentError, match="length: must be at most 12"):
        small()(tokens(1, 13))
    assert isinstance(small(), TransformerLM)
