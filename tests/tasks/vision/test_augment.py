import pytest
import torch
from torch.func import vmap

from hypernudge.errors import InvalidArgumentError
from hypernudge.tasks.supervised.augment import translate, translation_taps
from hypernudge.tasks.vision.augment import (
    Augmentation,
    crop_and_flip,
    cut_out,
    jitter_colour,
    shifted,
    standardised,
)

MEAN, DEVIATION = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])


@pytest.fixture
def images():
    return torch.randint(
        0, 256, (6, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def test_draws_belong_to_seed_and_step_and_not_to_what_is_switched_on():
    first, again = Augmentation().draw(3, 7, 5), Augmentation(cutout=8, colour=0.3).draw(3, 7, 5)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["centre"], Augmentation().draw(3, 8, 5)["centre"])
    many = Augmentation().draw(0, 0, 20_000)
    assert many["offset"].flatten().bincount().tolist() == pytest.approx([40_000 / 9] * 9, rel=0.1)
    assert many["flip"].double().mean().item() == pytest.approx(0.5, abs=0.02)
    assert not Augmentation(flip=False, crop=0).draw(0, 0, 100)["flip"].any()


def test_crop_and_flip_are_those_of_torchvision(images):
    transforms = pytest.importorskip("torchvision.transforms.functional", reason="extra vision")
    x = images.permute(0, 3, 1, 2)
    draws = Augmentation(crop=3).draw(0, 0, 6)
    found = crop_and_flip(x, draws["offset"], draws["flip"], 3)
    for image, (top, left), flip, result in zip(
        x, draws["offset"].tolist(), draws["flip"], found, strict=True
    ):
        slow = transforms.crop(transforms.pad(image, [3]), top, left, 16, 16)
        assert torch.equal(transforms.hflip(slow) if flip else slow, result)


def test_colour_is_that_of_torchvision_where_nothing_is_clipped(images):
    transforms = pytest.importorskip("torchvision.transforms.functional", reason="extra vision")
    x = 0.3 + 0.4 * images.permute(0, 3, 1, 2) / 255
    amount = 2 * torch.rand(6, 3) - 1
    for image, (b, c, s), result in zip(
        x, (1 + 0.2 * amount).tolist(), jitter_colour(x, amount, 0.2), strict=True
    ):
        slow = transforms.adjust_contrast(transforms.adjust_brightness(image, b), c)
        torch.testing.assert_close(transforms.adjust_saturation(slow, s), result, atol=1e-3, rtol=1e-3)


def test_translation_of_many_pixels_continues_that_of_one():
    torch.manual_seed(0)
    x, offset = torch.rand(5, 2, 8, 8, dtype=torch.float64), 2 * torch.rand(5, 2, dtype=torch.float64) - 1
    torch.testing.assert_close(
        shifted(x, offset, 0.7, 1), translate(translation_taps(x, offset), offset, 0.7)
    )
    # Against PyTorch's own sampler: what is moved by s shows at i what was at i + s.
    base = torch.stack(torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij"), -1).double()
    for magnitude in (0.0, 1.0, 2.6, 5.0):
        at = (base + magnitude * offset.view(5, 1, 1, 2)) / 3.5 - 1
        slow = torch.nn.functional.grid_sample(x, at.flip(-1), align_corners=True)
        torch.testing.assert_close(shifted(x, offset, magnitude, 5), slow)


@pytest.mark.parametrize("magnitude", [0.0, 0.31, 0.9])
def test_the_magnitude_has_the_derivative_of_finite_differences(images, magnitude):
    augmentation = Augmentation(colour=0.4, shift=3.0, cutout=6)
    draws = augmentation.draw(1, 2, 6)
    mean, deviation = MEAN.double(), DEVIATION.double()
    weight = torch.randn(6, 3, 16, 16, dtype=torch.float64)

    def loss(m):
        return (augmentation(images, draws, mean, deviation, m) * weight).sum()

    m = torch.tensor(magnitude, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(m), m)
    h = 1e-6
    low, high = (
        loss(torch.tensor(magnitude + s, dtype=torch.float64)).item()
        for s in ((0.0, h) if magnitude == 0 else (-h, h))
    )
    assert slope.item() == pytest.approx((high - low) / (h if magnitude == 0 else 2 * h), rel=1e-3)


def test_magnitude_zero_leaves_flips_and_crops_and_nothing_else(images):
    augmentation = Augmentation(crop=0, flip=False, colour=0.4, shift=3.0, cutout=6)
    plain = standardised(images, MEAN, DEVIATION)
    found = augmentation(images, augmentation.draw(0, 0, 6), MEAN, DEVIATION, 0.0)
    torch.testing.assert_close(found, plain)
    assert not torch.allclose(augmentation(images, augmentation.draw(0, 0, 6), MEAN, DEVIATION), plain)
    whole = Augmentation()
    x = whole(images, whole.draw(0, 0, 6), MEAN, DEVIATION)
    assert torch.equal(x, whole(images, whole.draw(0, 0, 6), MEAN, DEVIATION, 0.0))


def test_cutout_sets_a_square_to_the_mean():
    x = torch.ones(2, 3, 8, 8)
    found = cut_out(x, torch.tensor([[0.5, 0.5], [0.0, 0.99]]), 4, 1.0)
    assert not found[0, :, 2:6, 2:6].any() and found[0].sum() == 3 * (64 - 16)
    assert not found[1, :, :2, 5:].any() and found[1].sum() == 3 * (64 - 6)
    assert torch.equal(cut_out(x, torch.zeros(2, 2), 4, 0.25)[:, :, 0, 0], torch.full((2, 3), 0.75))


def test_magnitudes_of_many_members_at_once(images):
    augmentation = Augmentation(colour=0.4, shift=2.5, cutout=6)
    draws = augmentation.draw(0, 0, 6)
    magnitudes = torch.tensor([0.0, 0.5, 1.0])
    together = vmap(lambda m: augmentation(images, draws, MEAN, DEVIATION, m))(magnitudes)
    for member, m in zip(together, magnitudes, strict=True):
        torch.testing.assert_close(member, augmentation(images, draws, MEAN, DEVIATION, m))


def test_negative_amounts_are_refused():
    for options, named in (({"crop": -1}, "crop"), ({"cutout": 1.5}, "cutout"), ({"colour": 2}, "colour")):
        with pytest.raises(InvalidArgumentError, match=named):
            Augmentation(**options)


def test_draws_follow_the_images_to_their_device(images):
    augmentation = Augmentation(colour=0.4, shift=2.5, cutout=6)
    mean, deviation = MEAN.to("meta"), DEVIATION.to("meta")
    found = augmentation(images.to("meta"), augmentation.draw(0, 0, 6), mean, deviation)
    assert found.device.type == "meta" and found.shape == (6, 3, 16, 16)
