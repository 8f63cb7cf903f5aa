import pytest
import torch
from torch import nn

from hypernudge.episodes.noise.gaussian import GaussianBuffer, quantile_table
from hypernudge.episodes.noise.noise import StreamedNoise
from hypernudge.episodes.pulseopt.noise import KeyedNoise


def optimizer_with(*gradients):
    parameters = []
    for gradient in gradients:
        parameter = nn.Parameter(torch.zeros(gradient.shape, dtype=gradient.dtype))
        parameter.grad = gradient
        parameters.append(parameter)
    return torch.optim.SGD(parameters, lr=0.1)


def drawn(source, *shapes, std=1.0, steps=1, dtype=torch.float32):
    gradients = [torch.zeros(shape, dtype=dtype) for shape in shapes]
    optimizer = optimizer_with(*gradients)
    for _ in range(steps):
        for gradient in gradients:
            gradient.zero_()
        source.add(optimizer, std)
    return [gradient.clone() for gradient in gradients]


SHAPES = [(100, 33), (7,), (64, 3, 3, 3), (1,), (5000,)]


@pytest.mark.parametrize("extra", [(), ((400, 500),)], ids=["kernel", "table"])
def test_chunked_noise_is_the_noise_drawn_at_once(extra):
    whole = drawn(StreamedNoise(3, chunk=1 << 20), *SHAPES, *extra, steps=2)
    for chunk in (160, 1024, 4096):
        pieces = drawn(StreamedNoise(3, chunk=chunk), *SHAPES, *extra, steps=2)
        assert all(torch.equal(a, b) for a, b in zip(whole, pieces, strict=True))


def test_noise_is_standard_normal_and_fresh_for_every_parameter_step_and_seed():
    shape = (40_000,)
    source = StreamedNoise(0)
    samples = [*drawn(source, shape, shape), *drawn(source, shape), *drawn(StreamedNoise(1), shape, shape)]
    for sample in samples:
        assert abs(sample.mean()) < 0.02
        assert abs(sample.std() - 1) < 0.02
        assert abs((sample**4).mean() - 3) < 0.2
    stacked = torch.stack(samples)
    correlation = torch.corrcoef(stacked) - torch.eye(len(samples))
    assert correlation.abs().max() < 0.025


def test_neighbouring_seeds_share_no_stream():
    first = torch.stack(drawn(StreamedNoise(0), (4000,), (4000,), (4000,)))
    second = torch.stack(drawn(StreamedNoise(1), (4000,), (4000,), (4000,)))
    assert (first @ second.T / 4000).abs().max() < 0.07
    # which is what the published scheme does: parameter 1 of seed 0 is parameter 0 of seed 1
    keyed = drawn(KeyedNoise(0), (500,), (500,)), drawn(KeyedNoise(1), (500,), (500,))
    assert torch.equal(keyed[0][1], keyed[1][0])


@pytest.mark.parametrize("source", [StreamedNoise, KeyedNoise])
def test_streams_resume(source):
    whole = source(5)
    drawn(whole, *SHAPES, steps=2)
    resumed = source(99)
    resumed.load_state_dict(whole.state_dict())
    again = source(98)
    again.load_state_dict(resumed.state_dict())  # before any stream was used
    expected = drawn(whole, *SHAPES)
    for other in (resumed, again):
        assert all(torch.equal(a, b) for a, b in zip(expected, drawn(other, *SHAPES), strict=True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes(dtype):
    (sample,) = drawn(StreamedNoise(0), (20_000,), std=0.5, dtype=dtype)
    assert abs(sample.float().std() - 0.5) < 0.02


def test_channels_last_and_transposed_gradients_are_covered():
    image = torch.zeros(8, 4, 5, 6).to(memory_format=torch.channels_last)
    turned = torch.zeros(30, 50).t()
    StreamedNoise(0).add(optimizer_with(image, turned), 1.0)
    for gradient in (image, turned):
        assert gradient.count_nonzero() == gradient.numel()
        assert gradient.unique().numel() > 0.98 * gradient.numel()
        assert abs(gradient.std() - 1) < 0.1


def test_gradients_with_overlap_are_refused_by_name():
    parameter = nn.Parameter(torch.zeros(3, 4))
    parameter.grad = torch.zeros(4).expand(3, 4)
    with pytest.raises(ValueError, match="overlaps or has holes"):
        StreamedNoise(0).add(torch.optim.SGD([parameter], lr=0.1), 1.0)


@pytest.mark.parametrize("source", [StreamedNoise, KeyedNoise])
def test_sparse_gradients_get_noise_once_per_stored_row(source):
    embedding = nn.Embedding(50, 400, sparse=True)
    optimizer = torch.optim.SGD(embedding.parameters(), lr=0.1)
    embedding(torch.tensor([3, 3, 3, 7])).sum().backward()
    before = embedding.weight.grad.to_dense()
    source(0).add(optimizer, 1.0)
    added = embedding.weight.grad.to_dense() - before
    assert set(added.abs().sum(1).nonzero().flatten().tolist()) == {3, 7}
    assert 0.85 < added[3].std() < 1.15


@pytest.mark.parametrize("source", [StreamedNoise, KeyedNoise])
def test_noise_follows_the_scale_of_a_fused_optimizer(source):
    results = []
    for scale in (None, torch.tensor(1024.0)):
        gradient = torch.zeros(1000)
        optimizer = optimizer_with(gradient)
        if scale is not None:
            optimizer.grad_scale = scale
        source(0).add(optimizer, 0.25)
        results.append(gradient)
    assert torch.equal(results[0] * 1024, results[1])


def test_memory_is_one_chunk():
    source = StreamedNoise(0, chunk=4096)
    drawn(source, (1_000_000,))
    assert sum(buffer.values.numel() for buffer in source._buffers.values()) == 4096


def test_the_table_agrees_with_torch_s_own_normal_numbers():
    from scipy import stats

    table = quantile_table(torch.float64)
    assert table.mean().abs() < 1e-12
    assert table.square().mean().item() == pytest.approx(1.0, abs=1e-12)
    assert (table**4).mean().item() == pytest.approx(3.0, abs=2e-3)
    assert torch.equal(table, -table.flip(0))
    fast = GaussianBuffer(1 << 18, torch.device("cpu"), torch.float32)
    drawn = fast.fill(1 << 18, torch.Generator().manual_seed(0)).clone()
    slow = torch.empty(1 << 18).normal_(generator=torch.Generator().manual_seed(0))
    assert stats.kstest(drawn.numpy(), "norm").pvalue > 0.01
    assert stats.ks_2samp(drawn.numpy(), slow.numpy()).pvalue > 0.01
    for lag in (1, 2, 3, 4, 8, 16):  # neighbours come from one random word
        assert abs((drawn[lag:] * drawn[:-lag]).mean()) < 0.01
        assert abs((drawn[lag:].square() * drawn[:-lag].square()).mean() - 1) < 0.03


@pytest.mark.parametrize("tabulated", [False, True])
def test_an_aligned_prefix_is_drawn_like_the_whole(tabulated):
    whole = GaussianBuffer(64, torch.device("cpu"), torch.float32, tabulated=tabulated)
    expected = whole.fill(64, torch.Generator().manual_seed(1)).clone()
    generator = torch.Generator().manual_seed(1)
    pieces = [whole.fill(count, generator).clone() for count in (16, 32, 16)]
    assert torch.equal(torch.cat(pieces), expected)


def relative(source, *gradients, factor=0.5):
    """Return what was added to copies of the gradients."""
    copies = [gradient.clone() for gradient in gradients]
    source.add_relative(optimizer_with(*copies), factor)
    return [copy - gradient for copy, gradient in zip(copies, gradients, strict=True)]


def test_relative_noise_is_a_share_of_each_gradient_s_own_spread():
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(200, 300, generator=generator) * size for size in (1e-4, 1.0, 1e3)]
    added = relative(StreamedNoise(0), *gradients)
    for noise, gradient in zip(added, gradients, strict=True):
        assert noise.std() / gradient.square().mean().sqrt() == pytest.approx(0.5, rel=0.02)
    thousandfold = relative(StreamedNoise(0), *(1000 * gradient for gradient in gradients))
    for noise, large in zip(added, thousandfold, strict=True):
        torch.testing.assert_close(large, 1000 * noise, rtol=1e-3, atol=float(large.std()) * 1e-3)
    # The numbers drawn are those of absolute noise, whatever they are multiplied by.
    drawn_at_once = drawn(StreamedNoise(0, chunk=1 << 20), *(gradient.shape for gradient in gradients))
    for noise, unit, gradient in zip(added, drawn_at_once, gradients, strict=True):
        spread = 0.5 * gradient.square().mean().sqrt()
        torch.testing.assert_close(noise, unit * spread, rtol=1e-3, atol=float(spread) * 1e-3)
    (none,) = relative(StreamedNoise(0), torch.zeros(30))
    assert torch.equal(none, torch.zeros(30))


def test_the_axis_of_relative_noise_is_another_axis():
    from hypernudge.episodes import EpisodicScheduler, GradientNoise
    from tests.episodes.helpers import Problem, sgd, train

    finals = {}
    for rescaled in (1.0, 1024.0):  # a power of two: every product is exact
        problem = Problem()
        optimizer = sgd(problem, lr=0.1 / rescaled)
        axis = GradientNoise([0.0, 0.3], relative=True)
        episodes = EpisodicScheduler(optimizer, axis, episode_length=3, seed=1)

        def rescale(step, problem=problem, rescaled=rescaled):
            for parameter in problem.model.parameters():
                parameter.grad.mul_(rescaled)

        train(problem, optimizer, 12, episodes, before_step=rescale)
        assert {record.selection.name for record in episodes.records} == {"rn0", "rn0p3"}
        finals[rescaled] = problem.parameters()
    for one, other in zip(*finals.values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    bare = sgd(Problem())
    with pytest.raises(ValueError, match=r"noise_source: must have add_relative"):
        EpisodicScheduler(bare, axis, noise_source=KeyedNoise(0))
    with pytest.raises(ValueError, match=r"axes: must not change the same, but 'noise' and 'relative_noise'"):
        EpisodicScheduler(bare, GradientNoise([0.1]), axis)
    with pytest.raises(ValueError, match=r"relative: must be True or False"):
        GradientNoise([0.1], relative="yes")
