"""Third-party segmentation nets as branches of a video net."""

from jaxtyping import Float
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from lightning_edge.nn.encoders.normalize import Normalize
from lightning_edge.nn.segmentation.branch import SegmentationBranch


class WrappedBranch(SegmentationBranch):
    """A whole segmentation net, split before its last layers: ``head`` reads the output of all layers before it.

    Nets of ``segmentation_models_pytorch`` (``smp``) become branches like this::

        net = smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=19)
        branch = WrappedBranch(net)

    Args:
        net: Net that maps normalized images to class logits and applies ``head`` last. It is changed in place: its head
            is moved to the branch.
        head: Name of the submodule with the last layers. Its first layer must be a convolution.
        mean: Mean of each channel, which is subtracted from images in [0, 1].
        std: Standard deviation of each channel, by which the difference is divided.

    Raises:
        ValueError: The net has no submodule of that name, or the submodule has no convolution.
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
                f"expected head to be the name of a submodule of {type(net).__name__}, such as {last}, got {head!r}"
            )
        convs = [module for module in modules[head].modules() if isinstance(module, nn.Conv2d)]
        if not convs:
            raise ValueError(f"expected head to contain a convolution, got {modules[head]}")
        self.num_classes, self.feature_channels = convs[-1].out_channels, convs[0].in_channels
        self.normalize = Normalize(mean, std)
        self.head = modules[head]
        net.set_submodule(head, nn.Identity())
        self.body = net

    def features(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channels h w"]:
        """Output of the net before its head, for images in [0, 1]."""
        features = self.body(self.normalize(image))
        if not isinstance(features, Tensor):
            raise ValueError(
                f"expected a net that ends with its head, got {type(features).__name__} as the input of the head"
            )
        return features
