"""Encoders of timm: feature maps with their channels first, of images of the size that the encoder takes."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from timm.layers.format import Format
from torch import Tensor, nn

import lightning_edge.nn.encoders.small_resnet  # noqa: F401 (gives timm their names)
from lightning_edge.nn.encoders.timm_models import load_timm_features, make_timm_model


def make_encoder(name: str, weights: str | None, options: Mapping[str, Any]) -> nn.Module:
    """An encoder of timm that gives feature maps, to be called by :func:`feature_maps`.

    Args:
        name: Any timm model that supports ``features_only``, those of
            :mod:`~lightning_edge.nn.encoders.small_resnet` among them.
        weights: File of encoder weights in timm's format; ``None`` starts from random ones.
        options: What else ``timm.create_model`` takes for it.

    Raises:
        ValueError: timm has no such encoder, it does not take the options, or the weights are those of another net.
        FileNotFoundError: There is no file ``weights``.
    """
    options = {"features_only": True, **options}
    if weights is None:
        encoder = make_timm_model("encoder", name, options)
    else:
        encoder = load_timm_features("encoder", name, weights, options)
    # as timm, to which only the registered size is known, decides whether a net takes no other
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
    """Maps of normalized images, finest first, with their channels first even where the net has them last.

    Args:
        encoder: Made by :func:`make_encoder`.
        image: Of the size that the encoder takes, where it takes only one.

    Raises:
        ValueError: The images are of another size.
    """
    config: Any = encoder.pretrained_cfg
    expected, given = tuple(config["input_size"][1:]), tuple(image.shape[-2:])
    if config["fixed_input_size"] and given != expected:
        raise ValueError(
            f"expected images of {expected[0]} x {expected[1]} pixels, the only size that the encoder "
            f"{config['architecture']} takes, got {given[0]} x {given[1]}: resize them, or give "
            f"encoder_options={{'img_size': {given}}}"
        )
    maps = encoder(image)
    if getattr(encoder, "output_fmt", Format.NCHW) == Format.NHWC:
        return [features.permute(0, 3, 1, 2) for features in maps]
    return list(maps)
