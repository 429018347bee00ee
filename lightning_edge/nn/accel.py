"""Accel and what it is compared with: nets for video that spend much on key frames and little between them."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.nn.flow import Flow
from lightning_edge.nn.segmentation.branch import SegmentationBranch
from lightning_edge.ops.resize import resize_flow, resize_scores
from lightning_edge.ops.warp import warp

Frame = Float[Tensor, "batch 3 height width"]
Scores = Float[Tensor, "batch classes height width"]


class KeyframeState(NamedTuple):
    """What is carried from frame to frame: all of a stream's memory."""

    features: Float[Tensor, "batch channels h w"]
    """Features of the reference branch, aligned with ``anchor``."""
    anchor: Frame
    """The frame that the features are aligned with, from which flow starts."""
    frame: Frame
    """The present frame."""
    is_key: bool
    """Whether the present frame is the key frame."""
    observed: Tensor | None = None
    """What ``AccelNet.observe`` gives on the present frame, if known; states with different key frames can share it."""


class AccelNet(nn.Module):
    """Accel (Jain et al. 2019, arXiv:1807.06667): warp the features of an accurate net, correct them by a fast one.

    On a key frame the reference branch runs alone. On the frames after it, its features are warped along the optical
    flow, and a 1x1 convolution fuses what they give with what the update branch sees on the present frame: the scores
    of both, or, as in Accel-101, their features, which the reference's head reads then. The parts can be left out:
    without ``update`` this is Deep Feature Flow (arXiv:1611.07715), without ``flow`` features are copied as they are,
    and with a key frame at every frame it is ``reference`` alone.

    Args:
        reference: Accurate branch, run on key frames.
        update: Fast branch, run on all others.
        flow: Module of ``(current, previous)`` frames that gives the flow in pixels (see ``nn.flow``).
        direct: Warp from the key frame to the present one in one step, as Deep Feature Flow does, in place of a warp
            from each frame to the next, as Accel's released code does.
        fuse_features: Fuse features in place of scores. Without ``update`` the encoder of the reference runs on every
            frame, which is Accel-101: dearer than the reference alone, and meant to be more accurate.
    """

    def __init__(
        self,
        reference: SegmentationBranch,
        update: SegmentationBranch | None = None,
        flow: nn.Module | None = None,
        direct: bool = False,
        fuse_features: bool = False,
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
        self.fuse_features = fuse_features
        self.fusion: nn.Conv2d | None = None
        if fuse_features:
            present = reference if update is None else update
            self.fusion = correction(reference.feature_channels, present.feature_channels, keep_present=update is None)
        elif update is not None:
            self.fusion = correction(self.num_classes, self.num_classes)

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
            return state._replace(frame=frame, is_key=False, observed=None)
        motion = self.flow(frame, state.anchor) if flow is None else flow
        features = warp(state.features, resize_flow(motion, state.features))
        return KeyframeState(features, anchor=frame, frame=frame, is_key=False)

    def scores(self, state: KeyframeState) -> Scores:
        """Scores (logits) of the classes on the present frame, at its size."""
        features = self.aligned(state)
        if state.is_key:
            return resize_scores(self.reference.head(features), state.frame)
        return self.corrected(features, state.frame, state.observed)

    def corrected(
        self, features: Float[Tensor, "batch channels h w"], frame: Frame, observed: Tensor | None = None
    ) -> Scores:
        """Scores (logits) of the classes on a frame, by features that were carried to it.

        Args:
            features: Features of the reference branch, aligned with the frame.
            frame: The frame.
            observed: What ``observe`` gives on it, if known.
        """
        scores = self.fuse(self.carried(features), self.observe(frame) if observed is None else observed)
        return resize_scores(scores, frame)

    def aligned(self, state: KeyframeState) -> Float[Tensor, "batch channels h w"]:
        """Features of the reference branch on the present frame."""
        if state.is_key or not self.direct or self.flow is None:
            return state.features
        return warp(state.features, resize_flow(self.flow(state.frame, state.anchor), state.features))

    def observe(self, frame: Frame) -> Float[Tensor, "batch channels h w"] | None:
        """What is seen on the present frame itself: scores of the update branch, or features where these are fused.

        ``None`` where nothing is: Deep Feature Flow looks at the frame for its flow alone.
        """
        if self.fusion is None:
            return None
        branch = self.reference if self.update is None else self.update
        features = branch.features(frame)
        return features if self.fuse_features else branch.head(features)

    def observed_scores(self, observed: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch classes h w"]:
        """Scores (logits) by what is observed alone."""
        if not self.fuse_features:
            return observed
        return (self.reference if self.update is None else self.update).head(observed)

    def carried(self, features: Float[Tensor, "batch channels h1 w1"]) -> Float[Tensor, "batch carried h2 w2"]:
        """What carried features give to the fusion: scores of the reference branch, or themselves."""
        return self.reference.head(features) if self._fuses_scores else features

    def fuse(
        self, carried: Float[Tensor, "batch carried h1 w1"], observed: Float[Tensor, "batch observed h2 w2"] | None
    ) -> Float[Tensor, "batch classes h w"]:
        """Scores (logits) by what is carried and what is observed, if anything, at the finer of their sizes.

        The paper fuses scores at the size of the frame. A 1x1 convolution and bilinear interpolation commute, so for
        branches of one stride fusing first gives the same scores for a fraction of the work.
        """
        return self.carried_scores(
            carried if self.fusion is None or observed is None else self._fused(carried, observed)
        )

    def carried_scores(self, carried: Float[Tensor, "batch carried h1 w1"]) -> Float[Tensor, "batch classes h2 w2"]:
        """Scores (logits) by what is carried alone."""
        return carried if self._fuses_scores else self.reference.head(carried)

    @property
    def _fuses_scores(self) -> bool:
        return self.fusion is not None and not self.fuse_features

    def _fused(self, carried: Tensor, observed: Tensor) -> Tensor:
        assert self.fusion is not None
        finer = carried if carried.shape[-2] >= observed.shape[-2] else observed
        return self.fusion(torch.cat((resize_scores(carried, finer), resize_scores(observed, finer)), dim=1))

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


def states_by_distance(net: AccelNet, starts: list[KeyframeState]) -> list[KeyframeState]:
    """States of ``net`` on the last frame of a clip, for a key frame 0, 1, ... frames before it.

    Args:
        net: The net that carries the states.
        starts: State of the reference branch on each frame of the clip, oldest first.
    """
    states: list[KeyframeState] = []
    flow = None
    for start in starts:
        if states and net.flow is not None and not net.direct:
            flow = net.flow(start.frame, states[0].frame)  # one for all key frames
        states = [start, *(net.advance(state, start.frame, flow) for state in states)]
    return states


def correction(carried: int, observed: int, keep_present: bool = False) -> nn.Conv2d:
    """1x1 convolution over what is carried and what is observed, that starts by giving one of both as it is.

    What is carried, by default: so Accel starts as Deep Feature Flow and learns what to correct. The released code
    draws the fusion of scores from N(0, 0.01), after which the first fused steps must learn anew what both branches
    already know.

    Args:
        carried: Channels that are carried, which is also how many the fusion gives.
        observed: Channels that are observed.
        keep_present: Start with what is observed, which must have as many channels, as the released code of Accel-101.
    """
    fusion = nn.Conv2d(carried + observed, carried, 1)
    first = carried if keep_present else 0
    with torch.no_grad():
        nn.init.zeros_(fusion.weight)
        fusion.weight[:, first : first + carried, 0, 0] = torch.eye(carried)
        nn.init.zeros_(fusion.bias)  # pyright: ignore[reportArgumentType]
    return fusion
