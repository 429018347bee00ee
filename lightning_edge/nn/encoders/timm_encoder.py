"""Timm encoders that return feature maps with channels first and check the size of the images."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from timm.layers.format import Format
from torch import Tensor, nn

import lightning_edge.nn.encoders.small_resnet  # noqa: F401 (registers its nets in timm)
from lightning_edge.nn.encoders.timm_models import load_timm_features, make_timm_model


def make_encoder(name: str, weights: str | None, options: Mapping[str, Any]) -> nn.Module:
    """A timm encoder that returns feature maps, to be called by :func:`feature_maps`.

    Args:
        name: Name of any timm model that supports ``features_only``, including those of
            :mod:`~lightning_edge.nn.encoders.small_resnet`.
        weights: Path of a file of encoder weights in timm's format; random weights if ``None``.
        options: Further arguments of ``timm.create_model`` for this encoder.

    Raises:
        ValueError: timm has no such encoder, the encoder does not take the options, or the weights belong to another
            net.
        FileNotFoundError: The file ``weights`` does not exist.
    """
    options = {"features_only": True, **options}
    if weights is None:
        encoder = make_timm_model("encoder", name, options)
    else:
        encoder = load_timm_features("encoder", name, weights, options)
    # timm only knows the registered size, so whether the net takes other sizes is decided here
    config: Any = encoder.pretrained_cfg
    is_flexible = options.get("dynamic_img_size", False) or not options.get("strict_img_size", True)
    size = options.get("img_size", config["input_size"][1:])
    encoder.pretrained_cfg = {  # pyright: ignore[reportArgumentType]
        **config,
        "input_size": (config["input_size"][0], *((size, size) if isinstance(size, int) else size)),
        "fixed_input_size": config.get("fixed_input_size", False) and not is_flexible,
    }
    return encoder


def feature_maps(
    encoder: nn.Module, image: Float[Tensor, "batch channels height width"]
) -> list[Float[Tensor, "batch _ _ _"]]:
    """Feature maps of normalized images, finest first, with channels first even if the net has them last.

    Args:
        encoder: Encoder from :func:`make_encoder`.
        image: Normalized images. They must have the encoder's input size if it takes only one size.

    Raises:
        ValueError: The encoder takes only one size and the images have another one.
    """
    config: Any = encoder.pretrained_cfg
    expected, actual = tuple(config["input_size"][1:]), tuple(image.shape[-2:])
    if config["fixed_input_size"] and actual != expected:
        raise ValueError(
            f"expected images of {expected[0]} x {expected[1]} pixels, the only size that the encoder "
            f"{config['architecture']} takes, got {actual[0]} x {actual[1]}: resize them, or set "
            f"encoder_options={{'img_size': {actual}}}"
        )
    maps = encoder(image)
    if getattr(encoder, "output_fmt", Format.NCHW) == Format.NHWC:
        return [features.permute(0, 3, 1, 2) for features in maps]
    return list(maps)
