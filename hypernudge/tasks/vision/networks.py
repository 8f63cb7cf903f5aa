"""Networks for images as `hypernudge.tasks.networks.build_network` asks for them: by shape and classes."""

from __future__ import annotations

from typing import Any

from torch import nn

from hypernudge.errors import InvalidArgumentError, require, unknown_name
from hypernudge.tasks.vision import resnet
from hypernudge.tasks.vision.vit import VisionTransformer

Shape = tuple[int, ...]


def _channels(shape: Shape) -> int:
    ok = len(shape) == 3
    require(ok, "shape", "a network for images needs (channels, height, width)", shape, "use 'mlp'")
    return shape[0]


def resnet20(shape: Shape, classes: int, width: int = 16) -> nn.Module:
    """Return ResNet-20; see `hypernudge.tasks.vision.resnet`."""
    return resnet.resnet20(classes, width, _channels(shape))


def resnet32(shape: Shape, classes: int, width: int = 16) -> nn.Module:
    """Return ResNet-32; see `hypernudge.tasks.vision.resnet`."""
    return resnet.resnet32(classes, width, _channels(shape))


def resnet44(shape: Shape, classes: int, width: int = 16) -> nn.Module:
    """Return ResNet-44; see `hypernudge.tasks.vision.resnet`."""
    return resnet.resnet44(classes, width, _channels(shape))


def resnet56(shape: Shape, classes: int, width: int = 16) -> nn.Module:
    """Return ResNet-56; see `hypernudge.tasks.vision.resnet`."""
    return resnet.resnet56(classes, width, _channels(shape))


def resnet110(shape: Shape, classes: int, width: int = 16) -> nn.Module:
    """Return ResNet-110; see `hypernudge.tasks.vision.resnet`."""
    return resnet.resnet110(classes, width, _channels(shape))


def resnet18_cifar(shape: Shape, classes: int, width: int = 64) -> nn.Module:
    """Return ResNet-18 with a stem for small images; see `hypernudge.tasks.vision.resnet`."""
    return resnet.resnet18_cifar(classes, _channels(shape), width)


def vit(
    shape: Shape,
    classes: int,
    patch_size: int = 4,
    width: int = 192,
    depth: int = 12,
    heads: int = 3,
    dropout: float = 0.0,
) -> nn.Module:
    """Return a vision transformer; see `hypernudge.tasks.vision.vit`."""
    channels = _channels(shape)
    require(shape[1] == shape[2], "shape", "a ViT needs square images", shape, "crop them")
    return VisionTransformer(classes, shape[1], patch_size, width, depth, heads, dropout, channels)


def timm_network(name: str, shape: Shape, classes: int, **options: Any) -> nn.Module:
    """Return a network of timm (https://github.com/huggingface/pytorch-image-models) without trained weights.

    Args:
        name: As timm spells it, `"resnet50"` or `"vit_tiny_patch16_224"`.
        shape: `(channels, height, width)` of one image.
        classes: Number of outputs.
        **options: Passed on to `timm.create_model`: `img_size`, `patch_size`, `drop_rate`, ...

    Raises:
        InvalidArgumentError: timm is not installed, does not know the name or an option, or makes a network
            for images of another size.
    """
    try:
        import timm
    except ImportError:
        raise InvalidArgumentError(
            f"model: timm/{name} needs timm, which is not installed; pip install 'hypernudge[vision]'"
        ) from None
    if not timm.is_model(name.split(".")[0]):
        raise unknown_name("model", f"timm/{name}", [f"timm/{known}" for known in timm.list_models()])
    trained = sorted({"pretrained", "pretrained_cfg", "checkpoint_path", "cache_dir"} & set(options))
    remedy = "load weights in a model of your own (module:attribute)"
    require(not trained, "model", f"timm/{name} is made without trained weights", trained, remedy)
    given = {"num_classes": classes, "in_chans": _channels(shape), **options}
    try:
        network: nn.Module = timm.create_model(name, **given)
    except (TypeError, ValueError, AssertionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InvalidArgumentError(
            f"model: timm/{name} must take the options {sorted(given)}, but timm says: {reason}; correct them"
        ) from None
    wanted = getattr(getattr(network, "patch_embed", None), "img_size", None)
    strict = getattr(getattr(network, "patch_embed", None), "strict_img_size", False)
    require(
        wanted is None or not strict or tuple(wanted) == tuple(shape[1:]),
        "model",
        f"timm/{name} is made for images of {wanted}",
        tuple(shape[1:]),
        f"add img_size: {shape[1]} (and a patch_size that divides it)",
    )
    return network
