"""The classification models of torchvision 0.28, randomly initialised and in train mode, on random images and labels.

Names and input shapes are written down here, so that listing them imports nothing; a test compares the names with torchvision's own.
Images are as small as each model allows while every BatchNorm still sees four values per channel or more: over two, its output is +1 and
-1 whatever its input.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gradfuzz.errors import BadInput
from gradfuzz.subjects import Provider, providers

if TYPE_CHECKING:
    from torch import nn

    from gradfuzz.subjects.case import Case

_TABLE = """
    alexnet
    convnext_base convnext_large convnext_small convnext_tiny
    densenet121 densenet161 densenet169 densenet201
    efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5 efficientnet_b6 efficientnet_b7
    efficientnet_v2_l efficientnet_v2_m efficientnet_v2_s
    googlenet inception_v3 maxvit_t
    mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_large mobilenet_v3_small
    regnet_x_16gf regnet_x_1_6gf regnet_x_32gf regnet_x_3_2gf regnet_x_400mf regnet_x_800mf regnet_x_8gf
    regnet_y_128gf regnet_y_16gf regnet_y_1_6gf regnet_y_32gf regnet_y_3_2gf regnet_y_400mf regnet_y_800mf regnet_y_8gf
    resnet101 resnet152 resnet18 resnet34 resnet50 resnext101_32x8d resnext101_64x4d resnext50_32x4d
    shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1
    swin_b swin_s swin_t swin_v2_b swin_v2_s swin_v2_t
    vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn
    vit_b_16 vit_b_32 vit_h_14 vit_l_16 vit_l_32 wide_resnet101_2 wide_resnet50_2
"""
NAMES: tuple[str, ...] = tuple(_TABLE.split())

_USUAL = (2, 3, 64, 64)
_FOUR = (4, 3, 64, 64)  # stochastic depth of 0.3 to 0.5 skips a block for both images of two often enough to leave it without gradient
_SHAPES: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("convnext_base", "convnext_large", "convnext_small", "swin_b", "swin_s", "swin_v2_b", "swin_v2_s"), _FOUR),
    "inception_v3": (4, 3, 299, 299),  # the auxiliary head takes no fewer pixels, and its last BatchNorm sees one value per image
    "maxvit_t": (2, 3, 224, 224),  # windows of 7 must tile every stage: multiples of 224
    "resnet152": (8, 3, 64, 64),  # with 2 images, nine of ten float32 gradients are a tenth or more off those of float64
    "vit_h_14": (2, 3, 56, 56),  # patches of 14
}
_HEADS = {"googlenet": 3, "inception_v3": 2}  # outputs in train mode, the auxiliary ones included; all are trained on the same labels


def input_shape(name: str) -> tuple[int, ...]:
    """``(batch, channels, height, width)`` of the images that ``name`` is given unless the user asks for others."""
    return _SHAPES.get(name, _USUAL)


def _names() -> Iterable[str]:
    return NAMES


def _build(name: str, seed: int, shape: tuple[int, ...] | None) -> Case:
    import torch

    from gradfuzz.subjects.case import Case, default_loss
    from gradfuzz.subjects.loading import blame
    from gradfuzz.subjects.normalise import checked
    from gradfuzz.subjects.shim import mend_torchvision

    mend_torchvision()
    try:
        import torchvision
    except (ImportError, RuntimeError) as error:
        raise BadInput(f"torchvision:{name}: torchvision does not import here: {blame(error)}. Try `pip install torchvision`") from error
    images = torch.randn(shape or input_shape(name))
    try:
        model: nn.Module = torchvision.models.get_model(name, weights=None, **_options(name, images.shape)).train()
    except (ValueError, AssertionError) as error:
        given = "x".join(map(str, images.shape))
        raise BadInput(f"torchvision:{name} cannot be built for images of {given}: {blame(error)}. Give another --input") from error
    if name.startswith("vit_"):  # torchvision starts the head at zero, so that nothing below it has a gradient on the first step
        torch.nn.init.trunc_normal_(model.get_submodule("heads.head").get_parameter("weight"), std=0.02)
    labels = torch.randint(0, 1000, (len(images),))
    heads = _HEADS.get(name, 1)
    case = Case(model, ((images,), (labels,) * heads if heads > 1 else labels), default_loss)
    return checked(case, f"torchvision:{name}") if shape else case


def _options(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """What the constructor must be told of the image size, or else warns about."""
    if name.startswith("vit_"):
        return {"image_size": shape[-1]}
    if name == "maxvit_t":
        return {"input_size": tuple(shape[-2:])}
    return {"init_weights": True} if name in _HEADS else {}


def _code(name: str, seed: int, shape: tuple[int, ...] | None) -> str:
    from gradfuzz.subjects.source import default_loss_source, import_torchvision

    images = tuple(shape or input_shape(name))
    options = "".join(f", {key}={value!r}" for key, value in _options(name, images).items())
    start = ["torch.nn.init.trunc_normal_(model.heads.head.weight, std=0.02)"] if name.startswith("vit_") else []
    heads = _HEADS.get(name, 1)
    return "\n".join(
        [
            import_torchvision(),
            f"images = torch.randn({images})",
            f'model = torchvision.models.get_model("{name}", weights=None{options}).train()',
            *start,
            "labels = torch.randint(0, 1000, (len(images),))",
            f"inputs, target = (images,), {f'(labels,) * {heads}' if heads > 1 else 'labels'}",
            default_loss_source(["cross_entropy"] * heads if heads > 1 else "cross_entropy"),
        ]
    )


providers.add("torchvision", Provider("torchvision", "classification models of torchvision, randomly initialised", _names, _build, _code))
