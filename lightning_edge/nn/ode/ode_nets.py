"""AlexNet and two small ResNets for images of 32x32 pixels, some of whose blocks are differential equations.

Importing this module registers the nets in timm, so that ``timm.create_model("ode_resnet4", num_steps=2)`` works. The
settings decide which method a net implements:

=====================  ============================================================================
plain residual net     ``num_steps=1``, the default
Neural ODE             ``num_steps=2, gradient="continuous_adjoint"``; ``time_channel=True`` adds the time
ANODE                  ``num_steps=2``
ANODEV2, config. 1     ``num_steps=2, weight_steps=10``: activations and weights advance together
ANODEV2, config. 2     ``num_steps=1, weight_steps=10, weights_first=True``
=====================  ============================================================================

Source: Zhang et al., arXiv:1906.04596. The authors released no code, and the layers here are a reconstruction from
memory of the paper. One block of each width is an equation, as in the code of ANODE
(https://github.com/amirgholami/anode). The time derivative is a convolution, a norm and a ReLU, applied twice.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from jaxtyping import Float
from timm.models import register_model
from torch import Tensor, nn

from lightning_edge.checks import check_at_least
from lightning_edge.nn.encoders.cifar_resnet import ResidualBlock, cifar_configs, conv, initialize
from lightning_edge.nn.image_classifier import ImageClassifier, build_net
from lightning_edge.nn.ode.anodev2 import ODEBlock
from lightning_edge.nn.ode.weight_evolution import ReactionDiffusionAdvection, WeightEvolution
from lightning_edge.ops.ode import STEPS
from lightning_edge.ops.ode_gradients import GRADIENTS

_CELL_PX = 8
"""Side, in pixels of the last stage, of the cells that the classifier of a residual net averages."""


def make_block(
    channels: int,
    make_field: Callable[[int], nn.Module],
    num_steps: int = 1,
    weight_steps: int = 0,
    weights_first: bool = False,
    per_channel: bool = False,
    time_channel: bool = False,
    step: str = "euler",
    gradient: str = "backprop",
    norm_by_time: bool = False,
) -> ODEBlock:
    """An ODE block from settings that a config can contain.

    Args:
        channels: Number of channels of the activations.
        make_field: Function that creates the time derivative from its number of input channels.
        num_steps: Number of integration steps of the activations.
        weight_steps: Number of evolution steps of the weights (reaction, diffusion and advection). At 0 the weights are
            constant.
        weights_first: See :class:`~lightning_edge.nn.ode.anodev2.ODEBlock`.
        per_channel: See :class:`~lightning_edge.nn.ode.weight_evolution.ReactionDiffusionAdvection`.
        time_channel: See :class:`~lightning_edge.nn.ode.anodev2.ODEBlock`.
        step: ``euler``, ``midpoint`` or ``rk4``.
        gradient: ``backprop``, or the name of a function of :mod:`~lightning_edge.ops.ode_gradients`.
        norm_by_time: See :class:`~lightning_edge.nn.ode.anodev2.ODEBlock`.

    Raises:
        ValueError: A name is unknown, or a number of steps is out of range.
    """
    check_at_least(0, weight_steps=weight_steps)
    if step not in STEPS:
        raise ValueError(f"expected step to be one of {list(STEPS)}, got {step!r}")
    if gradient not in GRADIENTS:
        raise ValueError(f"expected gradient to be one of {list(GRADIENTS)}, got {gradient!r}")
    field = make_field(channels + time_channel)
    equation = partial(ReactionDiffusionAdvection, per_channel=per_channel)
    evolution = WeightEvolution(field, weight_steps, equation) if weight_steps else None
    return ODEBlock(
        field,
        num_steps,
        evolution,
        weights_first,
        STEPS[step],
        GRADIENTS[gradient],
        time_channel,
        norm_by_time=norm_by_time,
    )


class ODEResNet(ImageClassifier):
    """A stem, one equation for each width, and a linear classifier; deeper nets also have residual blocks.

    Args:
        widths: Numbers of channels of the stages. Every stage but the first halves the resolution.
        residual_blocks: Whether a residual block precedes each equation. It is needed for more than one width.
        num_classes: Number of classes; 0 leaves the classifier out.
        in_chans: Number of channels of the image.
        global_pool: See :class:`~lightning_edge.nn.image_classifier.ImageClassifier`.
        settings: Further arguments of :func:`make_block`.

    Raises:
        ValueError: There are more than three widths, there are several widths without residual blocks, or a setting is
            wrong.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (16,),
        residual_blocks: bool = False,
        num_classes: int = 10,
        in_chans: int = 3,
        global_pool: str = "avg",
        **settings: Any,
    ) -> None:
        num_widths = len(widths)
        if num_widths not in (1, 2, 3):
            raise ValueError(f"expected 1 to 3 widths, because the last stage needs at least 8x8 pixels, got {widths}")
        if num_widths > 1 and not residual_blocks:
            raise ValueError(f"expected residual_blocks=True, because only they change the width, for widths {widths}")
        num_cells = 32 // _CELL_PX // 2 ** (num_widths - 1)
        super().__init__(widths[-1], widths[-1] * num_cells**2, num_classes, in_chans, global_pool)
        self.stem = nn.Sequential(conv(in_chans, widths[0], 3), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True))
        self.stages = nn.Sequential()
        self.feature_info = [{"num_chs": widths[0], "reduction": 1, "module": "stem.2"}]
        before = widths[0]
        for index, width in enumerate(widths):
            blocks = [ResidualBlock(before, width, 2 if index else 1)] if residual_blocks else []
            equation = make_block(width, partial(_resnet_field, width=width), **settings)
            self.stages.append(nn.Sequential(*blocks, equation))
            self.feature_info.append({"num_chs": width, "reduction": 2**index, "module": f"stages.{index}"})
            before = width
        self.cells = nn.AvgPool2d(_CELL_PX)
        self.feature_info.append({"num_chs": before, "reduction": _CELL_PX * 2 ** (num_widths - 1), "module": "cells"})
        self.fc = self.make_classifier()
        initialize(self)

    def forward_features(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch c h w"]:
        """Features of the last stage."""
        return self.stages(self.stem(image))

    def pool(self, features: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch hidden"]:
        """Means over cells of 8x8 pixels of the last stage."""
        return self.cells(features).flatten(1)


class ODEAlexNet(ImageClassifier):
    """Two 5x5 convolutions and three linear layers. The second convolution is the time derivative of an equation.

    Args:
        num_classes: Number of classes; 0 leaves the last layer out.
        in_chans: Number of channels of the image.
        global_pool: See :class:`~lightning_edge.nn.image_classifier.ImageClassifier`.
        settings: Further arguments of :func:`make_block`.

    Raises:
        ValueError: A setting is wrong.
    """

    def __init__(self, num_classes: int = 10, in_chans: int = 3, global_pool: str = "avg", **settings: Any) -> None:
        super().__init__(64, 192, num_classes, in_chans, global_pool)
        self.stem = _norm_relu(nn.Conv2d(in_chans, 64, 5, padding=2), 64)
        self.halve = nn.MaxPool2d(2)
        self.equation = make_block(64, _alexnet_field, **settings)
        self.quarter = nn.MaxPool2d(2)
        self.hidden = nn.Sequential(
            nn.Linear(64 * 8 * 8, 384), nn.ReLU(inplace=True), nn.Linear(384, 192), nn.ReLU(inplace=True)
        )
        self.fc = self.make_classifier()
        self.feature_info = [
            {"num_chs": 64, "reduction": reduction, "module": module}
            for reduction, module in ((1, "stem"), (2, "equation"), (4, "quarter"))
        ]
        initialize(self)

    def forward_features(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch c h w"]:
        """Features after the equation, at a quarter of the image's size."""
        return self.quarter(self.equation(self.halve(self.stem(image))))

    def pool(self, features: Float[Tensor, "batch c 8 8"]) -> Float[Tensor, "batch hidden"]:
        """Output of two linear layers on the features."""
        return self.hidden(features.flatten(1))


def _resnet_field(channels: int, width: int) -> nn.Module:
    return nn.Sequential(*_norm_relu(conv(channels, width, 3), width), *_norm_relu(conv(width, width, 3), width))


def _alexnet_field(channels: int) -> nn.Module:
    return _norm_relu(nn.Conv2d(channels, 64, 5, padding=2), 64)


def _norm_relu(convolution: nn.Conv2d, width: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True))


default_cfgs = (
    cifar_configs("ode_alexnet")
    | cifar_configs("ode_resnet4", pool_size=(32, 32))
    | cifar_configs("ode_resnet10", pool_size=(16, 16))
)


@register_model
def ode_alexnet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """AlexNet for CIFAR; further arguments are those of :func:`make_block`."""
    return build_net(ODEAlexNet, "ode_alexnet", pretrained, feature_cfg={"out_indices": (0, 1, 2)}, **kwargs)


@register_model
def ode_resnet4(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """A stem, an equation and a classifier; further arguments are those of :func:`make_block`."""
    return _resnet("ode_resnet4", pretrained, **kwargs)


@register_model
def ode_resnet10(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Two widths, with a residual block and an equation each; further arguments are those of :func:`make_block`."""
    return _resnet("ode_resnet10", pretrained, **{"widths": (16, 32), "residual_blocks": True, **kwargs})


def _resnet(name: str, pretrained: bool, widths: tuple[int, ...] = (16,), **kwargs: Any) -> nn.Module:
    feature_cfg = {"out_indices": tuple(range(len(widths) + 2)), "flatten_sequential": True}
    return build_net(ODEResNet, name, pretrained, feature_cfg=feature_cfg, widths=widths, **kwargs)
