"""Accel and what it is compared with: nets for video that spend much on key frames and little between them."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.nn.branch import SegmentationBranch
from lightning_edge.nn.flow import Flow
from lightning_edge.ops.resize import resize_flow, resize_scores
from lightning_edge.ops.warp import warp

Frame = Float[Tensor, "batch 3 height width"]
Scores = Float[Tensor, "batch classes height width"]


class KeyframeState(NamedTuple):
    """What is carried from frame to frame: all of a stream's memory."""

    features: Float[Tensor, "batch channels h w"]
    """Features of the reference branch, aligned with ``anchor``."""
    anchor: Frame
    """The frame that the features are aligned with: flow starts from it."""
    frame: Frame
    """The present frame."""
    is_key: bool
    """Whether the present frame is the key frame."""


class AccelNet(nn.Module):
    """Accel (Jain et al. 2019, arXiv:1807.06667): warp the features of an accurate net, correct them by a fast one.

    On a key frame the reference branch runs alone. On the frames after it, its features are warped along the optical
    flow, and a 1x1 convolution fuses the scores that they give with the scores of the update branch on the present
    frame. The parts can be left out: without ``update`` this is Deep Feature Flow (arXiv:1611.07715), without ``flow``
    features are copied as they are, and with a key frame at every frame it is ``reference`` alone.

    Args:
        reference: Accurate branch, run on key frames.
        update: Fast branch, run on all others.
        flow: Module of ``(current, previous)`` frames that gives the flow in pixels (see ``nn.flow``).
        direct: Warp from the key frame to the present one in one step, as Deep Feature Flow does, in place of a warp
            from each frame to the next, as Accel's released code does.
    """

    def __init__(
        self,
        reference: SegmentationBranch,
        update: SegmentationBranch | None = None,
        flow: nn.Module | None = None,
        direct: bool = False,
    ) -> None:
        super().__init__()
        if update is not None and update.num_classes != reference.num_classes:
            raise ValueError(
                f"expected branches with as many classes, got {reference.num_classes} of reference and "
                f"{update.num_classes} of update"
            )
        self.num_classes = reference.num_classes
        self.reference = reference
        self.update = update
        self.flow = flow
        self.direct = direct
        self.fusion = correction(reference.num_classes) if update is not None else None

    def start(self, frame: Frame) -> KeyframeState:
        """Run the reference branch on a key frame."""
        return KeyframeState(self.reference.features(frame), anchor=frame, frame=frame, is_key=True)

    def advance(self, state: KeyframeState, frame: Frame, flow: Flow | None = None) -> KeyframeState:
        """Carry the features to the next frame.

        Args:
            state: State on the frame before.
            frame: The next frame.
            flow: From it to the one before, if known: states with different key frames can share it.
        """
        if self.direct or self.flow is None:
            return state._replace(frame=frame, is_key=False)
        motion = self.flow(frame, state.anchor) if flow is None else flow
        features = warp(state.features, resize_flow(motion, state.features))
        return KeyframeState(features, anchor=frame, frame=frame, is_key=False)

    def scores(self, state: KeyframeState) -> Scores:
        """Scores (logits) of the classes on the present frame, at its size."""
        reference, update = self.branch_scores(state)
        scores = reference if update is None else self.fuse(reference, update)
        return resize_scores(scores, state.frame)

    def branch_scores(self, state: KeyframeState) -> tuple[Tensor, Tensor | None]:
        """Scores of the carried reference features and of the update branch, each at its own size.

        On a key frame, or without an update branch, the second is ``None``.
        """
        features = state.features
        if not state.is_key and self.direct and self.flow is not None:
            features = warp(features, resize_flow(self.flow(state.frame, state.anchor), features))
        reference = self.reference.head(features)
        if state.is_key or self.update is None:
            return reference, None
        return reference, self.update.head(self.update.features(state.frame))

    def fuse(
        self, reference: Float[Tensor, "batch classes h1 w1"], update: Float[Tensor, "batch classes h2 w2"]
    ) -> Float[Tensor, "batch classes h w"]:
        """Fuse the scores of both branches, at the finer of their sizes.

        The paper fuses at the size of the frame. A 1x1 convolution and bilinear interpolation commute, so for branches
        of one stride fusing first gives the same scores for a fraction of the work.
        """
        assert self.fusion is not None
        finer = reference if reference.shape[-2] >= update.shape[-2] else update
        return self.fusion(torch.cat((resize_scores(reference, finer), resize_scores(update, finer)), dim=1))

    def forward(self, frames: Float[Tensor, "batch time 3 height width"]) -> Scores:
        """Scores on the last frame of a clip whose first frame is the key frame."""
        return self.scores(self.carry(frames))

    def carry(self, frames: Float[Tensor, "batch time 3 height width"]) -> KeyframeState:
        """State on the last frame of a clip whose first frame is the key frame."""
        first, *rest = frames.unbind(1)
        state = self.start(first)
        for frame in rest:
            state = self.advance(state, frame)
        return state


def correction(num_classes: int) -> nn.Conv2d:
    """1x1 convolution over the scores of both branches that starts as the reference branch's alone.

    So Accel starts as Deep Feature Flow and learns what to correct. The released code starts from N(0, 0.01), after
    which the first fused steps must learn anew what both branches already know.
    """
    fusion = nn.Conv2d(2 * num_classes, num_classes, 1)
    with torch.no_grad():
        nn.init.zeros_(fusion.weight)
        fusion.weight[:, :num_classes, 0, 0] = torch.eye(num_classes)
        nn.init.zeros_(fusion.bias)  # pyright: ignore[reportArgumentType]
    return fusion
