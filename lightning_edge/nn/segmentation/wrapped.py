"""Segmentation nets by other hands as branches of a video net."""

from jaxtyping import Float
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from lightning_edge.nn.encoders.normalize import Normalize
from lightning_edge.nn.segmentation.branch import SegmentationBranch


class WrappedBranch(SegmentationBranch):
    """A whole segmentation net, parted before its last layers: ``head`` reads what all layers before them give.

    So nets of ``segmentation_models_pytorch`` (``smp``) are branches::

        net = smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=19)
        branch = WrappedBranch(net)

    Args:
        net: Maps normalized images to scores of the classes, by ``head`` as the last thing it does. It is changed: its
            head becomes that of the branch.
        head: Name of its last layers, the first of which is a convolution.
        mean: Subtracted from images in [0, 1], one for each channel.
        std: By which the rest is divided.

    Raises:
        ValueError: if the net has no module of that name, or none with a convolution.
    """

    def __init__(
        self,
        net: nn.Module,
        head: str = "segmentation_head",
        mean: tuple[float, ...] = IMAGENET_DEFAULT_MEAN,
        std: tuple[float, ...] = IMAGENET_DEFAULT_STD,
    ) -> None:
        super().__init__()
        modules = dict(net.named_modules())
        if head not in modules:
            last = list(dict(net.named_children()))[-3:]
            raise ValueError(
                f"expected head to be the name of a module of {type(net).__name__}, such as {last}, got {head!r}"
            )
        convs = [module for module in modules[head].modules() if isinstance(module, nn.Conv2d)]
        if not convs:
            raise ValueError(f"expected head to hold a convolution, got {modules[head]}")
        self.num_classes, self.feature_channels = convs[-1].out_channels, convs[0].in_channels
        self.normalize = Normalize(mean, std)
        self.head = modules[head]
        net.set_submodule(head, nn.Identity())
        self.body = net

    def features(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channels h w"]:
        """What the net computes before its head, of images in [0, 1]."""
        features = self.body(self.normalize(image))
        if not isinstance(features, Tensor):
            raise ValueError(f"expected a net that ends with its head, got {type(features).__name__} without the head")
        return features
