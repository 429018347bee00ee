"""Accel and the methods that it is compared with: video nets that run a large net on key frames only."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.nn.flow import Flow
from lightning_edge.nn.segmentation.branch import SegmentationBranch
from lightning_edge.ops.resize import resize_flow, resize_logits
from lightning_edge.ops.warp import warp

Frame = Float[Tensor, "batch 3 height width"]
Logits = Float[Tensor, "batch classes height width"]


class KeyframeState(NamedTuple):
    """The state that a stream keeps from one frame to the next."""

    features: Float[Tensor, "batch channels h w"]
    """Features of the reference branch, aligned with ``anchor``."""
    anchor: Frame
    """The frame that the features are aligned with; the next flow is computed from it."""
    frame: Frame
    """The present frame."""
    is_key: bool
    """Whether the present frame is the key frame."""
    update_output: Tensor | None = None
    """Output of ``run_update_branch`` on the present frame, if known. States with other key frames can share it."""


class AccelNet(nn.Module):
    """Accel (Jain et al. 2019, arXiv:1807.06667) warps the features of an accurate net and corrects them by a fast net.

    On a key frame the reference branch runs alone. On the frames after it, its features are warped along the optical
    flow. A 1x1 convolution then fuses them with the output of the update branch on the present frame. It fuses the
    logits of both branches or, as in Accel-101, their features, which the head of the reference branch then reads.
    Parts can be left out: without ``update`` this is Deep Feature Flow (arXiv:1611.07715), without ``flow`` the
    features are copied unchanged, and with a key frame at every frame it is ``reference`` alone.

    Args:
        reference: Accurate branch. It runs on key frames.
        update: Fast branch. It runs on all other frames.
        flow: Module that maps ``(current, previous)`` frames to the optical flow in pixels (see ``nn.flow``).
        direct: Whether features are warped from the key frame to the present frame in one step, as in Deep Feature
            Flow. By default they are warped from each frame to the next, as in Accel's released code.
        fuse_features: Whether features are fused instead of logits. Without ``update`` the encoder of the reference
            branch runs on every frame. This is Accel-101: more expensive than the reference alone, and meant to be more
            accurate.
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
                "expected reference and update with the same number of classes, got "
                f"{reference.num_classes} for reference and {update.num_classes} for update"
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
            self.fusion = make_fusion(reference.feature_channels, present.feature_channels, keep_present=update is None)
        elif update is not None:
            self.fusion = make_fusion(self.num_classes, self.num_classes)

    def start(self, frame: Frame) -> KeyframeState:
        """Run the reference branch on a key frame."""
        return KeyframeState(self.reference.features(frame), anchor=frame, frame=frame, is_key=True)

    def advance(self, state: KeyframeState, frame: Frame, flow: Flow | None = None) -> KeyframeState:
        """Propagate the features to the next frame.

        Args:
            state: State on the previous frame.
            frame: The next frame.
            flow: Flow from the next frame to the previous one, if known. States with different key frames can share it.
        """
        if self.direct or self.flow is None:
            return state._replace(frame=frame, is_key=False, update_output=None)
        motion = self.flow(frame, state.anchor) if flow is None else flow
        features = warp(state.features, resize_flow(motion, state.features))
        return KeyframeState(features, anchor=frame, frame=frame, is_key=False)

    def logits(self, state: KeyframeState) -> Logits:
        """Class logits on the present frame, at the size of the frame."""
        features = self.aligned(state)
        if state.is_key:
            return resize_logits(self.reference.head(features), state.frame)
        return self.corrected(features, state.frame, state.update_output)

    def corrected(
        self, features: Float[Tensor, "batch channels h w"], frame: Frame, update_output: Tensor | None = None
    ) -> Logits:
        """Class logits on a frame, from features that were propagated to it.

        Args:
            features: Features of the reference branch, aligned with the frame.
            frame: The frame.
            update_output: Output of ``run_update_branch`` on the frame, if known.
        """
        if update_output is None:
            update_output = self.run_update_branch(frame)
        return resize_logits(self.fuse(self.propagated_output(features), update_output), frame)

    def aligned(self, state: KeyframeState) -> Float[Tensor, "batch channels h w"]:
        """Features of the reference branch on the present frame."""
        if state.is_key or not self.direct or self.flow is None:
            return state.features
        return warp(state.features, resize_flow(self.flow(state.frame, state.anchor), state.features))

    def run_update_branch(self, frame: Frame) -> Float[Tensor, "batch channels h w"] | None:
        """Logits of the update branch on the present frame, or its features where features are fused.

        It is ``None`` without a fusion: Deep Feature Flow uses the present frame for its flow only.
        """
        if self.fusion is None:
            return None
        branch = self.reference if self.update is None else self.update
        features = branch.features(frame)
        return features if self.fuse_features else branch.head(features)

    def update_logits(self, update_output: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch classes h w"]:
        """Logits from the output of the update branch alone."""
        if not self.fuse_features:
            return update_output
        return (self.reference if self.update is None else self.update).head(update_output)

    def propagated_output(
        self, features: Float[Tensor, "batch channels h1 w1"]
    ) -> Float[Tensor, "batch propagated h2 w2"]:
        """Input of the fusion from propagated features: logits of the reference branch, or the features themselves."""
        return self.reference.head(features) if self._fuses_logits else features

    def fuse(
        self,
        propagated: Float[Tensor, "batch propagated h1 w1"],
        update_output: Float[Tensor, "batch update_output h2 w2"] | None,
    ) -> Float[Tensor, "batch classes h w"]:
        """Logits from the propagated output and, if given, the update branch's, at the finer of their two resolutions.

        The paper fuses logits at the size of the frame. A 1x1 convolution and bilinear interpolation commute. So if
        both branches have the same stride, fusing before the interpolation gives the same logits at a fraction of the
        cost.
        """
        return self.propagated_logits(
            propagated if self.fusion is None or update_output is None else self._fused(propagated, update_output)
        )

    def propagated_logits(
        self, propagated: Float[Tensor, "batch propagated h1 w1"]
    ) -> Float[Tensor, "batch classes h2 w2"]:
        """Logits from the propagated output alone."""
        return propagated if self._fuses_logits else self.reference.head(propagated)

    @property
    def _fuses_logits(self) -> bool:
        return self.fusion is not None and not self.fuse_features

    def _fused(self, propagated: Tensor, update_output: Tensor) -> Tensor:
        assert self.fusion is not None
        finer = propagated if propagated.shape[-2] >= update_output.shape[-2] else update_output
        return self.fusion(torch.cat((resize_logits(propagated, finer), resize_logits(update_output, finer)), dim=1))

    def forward(self, frames: Float[Tensor, "batch time 3 height width"]) -> Logits:
        """Logits on the last frame of a clip whose first frame is the key frame."""
        return self.logits(self.propagate(frames))

    def propagate(self, frames: Float[Tensor, "batch time 3 height width"]) -> KeyframeState:
        """State on the last frame of a clip whose first frame is the key frame."""
        first, *rest = frames.unbind(1)
        state = self.start(first)
        for frame in rest:
            state = self.advance(state, frame)
        return state


def states_by_distance(net: AccelNet, starts: list[KeyframeState]) -> list[KeyframeState]:
    """States of ``net`` on the last frame of a clip, for a key frame 0, 1, ... frames before it.

    Args:
        net: The net that propagates the states.
        starts: State of the reference branch on each frame of the clip, oldest first.
    """
    states: list[KeyframeState] = []
    flow = None
    for start in starts:
        if states and net.flow is not None and not net.direct:
            flow = net.flow(start.frame, states[0].frame)  # one flow serves all key frames
        states = [start, *(net.advance(state, start.frame, flow) for state in states)]
    return states


def make_fusion(propagated: int, update_output: int, keep_present: bool = False) -> nn.Conv2d:
    """1x1 convolution over the propagated and the update branch's output; at first it returns one of them unchanged.

    By default it returns the propagated output, so that Accel starts as Deep Feature Flow and learns what to correct.
    The released code draws the weights of the logit fusion from N(0, 0.01), so its first training steps must relearn
    what both branches already know.

    Args:
        propagated: Number of propagated channels, which is also the number of output channels.
        update_output: Number of channels of the update branch.
        keep_present: Whether the fusion at first returns the output of the update branch, as in the released code of
            Accel-101. Both inputs must then have the same number of channels.
    """
    fusion = nn.Conv2d(propagated + update_output, propagated, 1)
    first = propagated if keep_present else 0
    with torch.no_grad():
        nn.init.zeros_(fusion.weight)
        fusion.weight[:, first : first + propagated, 0, 0] = torch.eye(propagated)
        nn.init.zeros_(fusion.bias)  # pyright: ignore[reportArgumentType]
    return fusion
