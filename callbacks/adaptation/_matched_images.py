"""Target images for source images, one for each, in spite of other sizes."""

import torch.nn.functional as F
from torch import Tensor


def matched_images(target: Tensor, source: Tensor) -> Tensor:
    """One target image for each source image or clip, ``[batch, 3, height, width]`` of the source.

    Target images of another size are resized. A smaller target batch is used again from its start. Of target clips, the
    last frame counts.

    Args:
        target: Images ``[batch, 3, height, width]`` or clips ``[batch, time, 3, height, width]``.
        source: Images or clips.

    Raises:
        ValueError: One of the two is neither.
    """
    if source.ndim not in (4, 5) or target.ndim not in (4, 5):
        raise ValueError(
            "expected batches of images [batch, 3, height, width] or of clips [batch, time, 3, height, width], got "
            f"shapes {list(source.shape)} and {list(target.shape)}"
        )
    images = target[:, -1] if target.ndim == 5 else target
    if images.shape[-2:] != source.shape[-2:]:
        images = F.interpolate(images, source.shape[-2:], mode="bilinear", antialias=True)
    repeats = -(-len(source) // len(images))
    return images.repeat(repeats, 1, 1, 1)[: len(source)]
