"""Optical flow from a frame to an earlier one: OpenCV's DIS, which needs no training, and FlowNet-S and RAFT, which do.

A flow module is called with the present and the earlier frame, both in [0, 1]. For each pixel of the present frame it
returns the displacement ``(right, down)`` to the position of the same point in the earlier frame. The flow map has its
own resolution, and its displacements are measured in its own cells; ``ops.resize.resize_flow`` converts it to another
resolution.
"""

from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.optical_flow import raft_large, raft_small

from lightning_edge.checks import check_at_least
from lightning_edge.nn.encoders.weight_files import load_weights, read_weights
from lightning_edge.ops.resize import resize_flow

Frames = Float[Tensor, "batch 3 height width"]
Flow = Float[Tensor, "batch 2 h w"]


class DISFlow(nn.Module):
    """OpenCV's dense inverse search (Kroeger et al. 2016, arXiv:1603.03590), on the CPU and without gradients.

    Args:
        preset: OpenCV's preset, which trades quality for speed.
    """

    def __init__(self, preset: Literal["ultrafast", "fast", "medium"] = "fast") -> None:
        super().__init__()
        if preset not in ("ultrafast", "fast", "medium"):
            raise ValueError(f"expected preset ultrafast, fast or medium, got {preset!r}")
        self.preset = preset

    def forward(self, current: Frames, previous: Frames) -> Flow:
        """Flow at the size of the frames.

        Sides below 16 pixels are enlarged to 16 before the search, because DIS compares patches of 8 pixels.
        """
        return _dense_inverse_search(current, previous, self.preset)


class FlowNetS(nn.Module):
    """FlowNet-S (Dosovitskiy et al. 2015, arXiv:1504.06852), as DFF and Accel use it: at half the frame's resolution.

    It returns the finest prediction, at an eighth of the frame's size. Gradients reach it through the warped features,
    so no flow labels are needed. Weights that were trained on flow labels are still a better start.

    Args:
        width: Factor by which all channel counts are multiplied; 1 is the paper's net of 38 million parameters.
    """

    _ENCODER = (  # name, channels, kernel, stride
        ("conv1", 64, 7, 2),
        ("conv2", 128, 5, 2),
        ("conv3", 256, 5, 2),
        ("conv3_1", 256, 3, 1),
        ("conv4", 512, 3, 2),
        ("conv4_1", 512, 3, 1),
        ("conv5", 512, 3, 2),
        ("conv5_1", 512, 3, 1),
        ("conv6", 1024, 3, 2),
        ("conv6_1", 1024, 3, 1),
    )
    _SKIPS = ("conv6_1", "conv5_1", "conv4_1", "conv3_1", "conv2")
    _DECODER = (512, 256, 128, 64)
    _FLOW_SCALE_PX = 20.0
    """The net predicts flow in units of 20 pixels of its input, the scale of the authors' training."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        if not 0 < width <= 4:
            raise ValueError(f"expected width within (0, 4], got {width}")
        channels = {name: max(8, round(count * width)) for name, count, _, _ in self._ENCODER}
        before = 6
        self.encoder = nn.ModuleDict()
        for name, _, kernel, stride in self._ENCODER:
            self.encoder[name] = nn.Sequential(
                nn.Conv2d(before, channels[name], kernel, stride, kernel // 2), nn.LeakyReLU(0.1)
            )
            before = channels[name]
        self.predict, self.deconv, self.up_flow = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level, skip in enumerate(self._SKIPS):
            if level > 0:
                count = max(8, round(self._DECODER[level - 1] * width))
                self.deconv.append(nn.Sequential(nn.ConvTranspose2d(before, count, 4, 2, 1), nn.LeakyReLU(0.1)))
                self.up_flow.append(nn.ConvTranspose2d(2, 2, 4, 2, 1))
                before = count + channels[skip] + 2
            self.predict.append(nn.Conv2d(before, 2, 3, 1, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, a=0.1)
                nn.init.zeros_(module.bias)  # pyright: ignore
        for predict in self.predict:
            nn.init.normal_(predict.weight, std=1e-3)  # pyright: ignore  # the first predictions are close to no motion

    def forward(self, current: Frames, previous: Frames) -> Flow:
        """Flow at an eighth of the frame's size (rounded up), in units of eight pixels."""
        half = F.avg_pool2d(torch.cat((current, previous), 1) - 0.5, 2, ceil_mode=True)
        outputs, features = {}, half
        for name, layer in self.encoder.items():
            outputs[name] = features = layer(features)
        flow = self.predict[0](features)
        for level, skip in enumerate(self._SKIPS[1:]):
            lateral = outputs[skip]
            finer = _crop(self.deconv[level](features), lateral), lateral, _crop(self.up_flow[level](flow), lateral)
            features = torch.cat(finer, 1)
            flow = self.predict[level + 1](features)
        return flow * (self._FLOW_SCALE_PX / 4)  # eight pixels of the frame are four of the halved input


class RAFTFlow(nn.Module):
    """RAFT (Teed and Deng 2020, arXiv:2003.12039) from torchvision, which refines one flow many times.

    Args:
        weights: Path of a file of weights of torchvision's ``raft_small`` (or ``raft_large``). ``None`` uses random
            weights, which give no useful flow before training. Nothing is downloaded.
        num_updates: Number of refinements of the flow, 12 in the paper. The run time grows with it.
        large: Whether to use the paper's net of 5.3 million parameters instead of the one of 1.0 million.

    Raises:
        FileNotFoundError: The file ``weights`` does not exist.
        ValueError: The file is damaged or contains the weights of another net, or ``num_updates`` is less than 1.
    """

    _STRIDE_PX = 8
    _LEAST_PX = 128
    """Smallest input side: the coarsest of four correlation maps must have two rows and columns."""

    def __init__(self, weights: str | None = None, num_updates: int = 12, large: bool = False) -> None:
        super().__init__()
        check_at_least(1, num_updates=num_updates)
        self.num_updates = num_updates
        self.raft = raft_large() if large else raft_small()
        if weights is not None:
            state = read_weights(weights, "weights of torchvision's RAFT")
            load_weights(self.raft, state, weights, "raft_large" if large else "raft_small")

    def forward(self, current: Frames, previous: Frames) -> Flow:
        """Flow at the size of the frames. Frames that are too small for RAFT are padded by repeating the border."""
        height, width = current.shape[-2:]
        down, right = (self._missing_px(size) for size in (height, width))
        padded = (F.pad(2 * frames - 1, (0, right, 0, down), mode="replicate") for frames in (current, previous))
        return self.raft(*padded, num_flow_updates=self.num_updates)[-1][..., :height, :width]

    def _missing_px(self, size: int) -> int:
        return max(self._LEAST_PX, -(-size // self._STRIDE_PX) * self._STRIDE_PX) - size


def _crop(features: Tensor, like: Tensor) -> Tensor:
    """Crop the output of a transposed convolution, which is too large if the frame's size is no multiple of 128."""
    return features[..., : like.shape[-2], : like.shape[-1]]


@torch.compiler.disable()  # calls of OpenCV cannot be traced
def _dense_inverse_search(current: Frames, previous: Frames, preset: str) -> Flow:
    size = max(current.shape[-2], 16), max(current.shape[-1], 16)
    search = cv2.DISOpticalFlow.create(getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{preset.upper()}"))
    pairs = zip(_gray(current, size), _gray(previous, size), strict=True)
    flow = np.stack([search.calc(now, before, None) for now, before in pairs])  # pyright: ignore[reportCallIssue, reportArgumentType]
    return resize_flow(torch.from_numpy(flow).permute(0, 3, 1, 2).to(current), current)


def _gray(frames: Frames, size: tuple[int, int]) -> np.ndarray:
    weights = frames.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)  # luma of ITU-R BT.601
    gray = (frames.detach() * weights).sum(1, keepdim=True)
    if gray.shape[-2:] != size:
        gray = F.interpolate(gray, size, mode="bilinear", align_corners=False)
    return (gray[:, 0] * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
