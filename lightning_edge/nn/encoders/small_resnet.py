"""Residual nets that are small enough to train from random weights in minutes on a CPU, registered in timm.

Importing this module registers the nets, so that ``timm.create_model("resnet18_half")`` works. Their names can be used
wherever the name of a timm encoder is expected.
"""

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

default_cfgs = generate_default_cfgs(
    {
        name: {
            "num_classes": 1000,
            "input_size": (3, 224, 224),
            "pool_size": (7, 7),
            "first_conv": "conv1",
            "classifier": "fc",
        }
        for name in ("resnet18_half.untrained", "resnet10_quarter.untrained")
    }
)


@register_model
def resnet18_half(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-18 with half of the channels in each of its four stages: 32, 64, 128 and 256."""
    return _resnet("resnet18_half", pretrained, {"layers": (2, 2, 2, 2), "channels": (32, 64, 128, 256), **kwargs})


@register_model
def resnet10_quarter(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """One basic block in each of four stages, with 16, 32, 64 and 128 channels: a quarter of ResNet-18's."""
    return _resnet("resnet10_quarter", pretrained, {"layers": (1, 1, 1, 1), "channels": (16, 32, 64, 128), **kwargs})


def _resnet(name: str, pretrained: bool, options: dict[str, Any]) -> nn.Module:
    return build_model_with_cfg(ResNet, name, pretrained, block=BasicBlock, **options)
