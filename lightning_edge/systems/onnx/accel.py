"""Accel on ONNX: export the parts of a video net to ONNX files, and run them with onnxruntime.

Needs the extra ``export``: ``pip install "lightning-edge[export]"``.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.contracts import VideoNet
from lightning_edge.nn.accel import AccelNet
from lightning_edge.ops.classes import predict_classes
from lightning_edge.ops.resize import resize_flow
from lightning_edge.ops.warp import warp
from lightning_edge.systems.onnx.graph import InferenceSession, export_graph, open_session, run_session

KEYFRAME, NON_KEYFRAME, FLOW = "keyframe.onnx", "non_keyframe.onnx", "flow.onnx"
"""Files of the graphs for key frames, for all other frames, and for a flow with weights."""


class OnnxState(NamedTuple):
    """State that is passed from frame to frame."""

    features: Float[Tensor, "1 channels h w"]
    anchor: Float[Tensor, "1 3 height width"]
    """Frame with which the features are aligned."""
    logits: Float[Tensor, "1 classes height width"]
    """Logits of the classes on the current frame."""


def export_accel(net: AccelNet, folder: Path, height: int, width: int) -> list[Path]:
    """Export a net to ONNX files for frames of one size.

    ``keyframe.onnx`` processes key frames. ``non_keyframe.onnx`` takes the features, the frame and the flow. It outputs
    the logits and, if features are warped from frame to frame, the propagated features. A flow with weights becomes
    ``flow.onnx``. A flow without weights, such as OpenCV's, is not exported; pass it to ``OnnxAccel``.

    Args:
        net: Net in evaluation mode, on the CPU.
        folder: Folder for the files; it is created if it does not exist.
        height: Height of the frames, in pixels.
        width: Width of the frames, in pixels.

    Returns:
        Paths of the files.

    Raises:
        ValueError: The net is in training mode.
        ImportError: A package that torch's exporter needs is not installed.
    """
    if net.training:
        raise ValueError("expected a net in evaluation mode for export, got training mode: call net.eval()")
    folder.mkdir(parents=True, exist_ok=True)
    for name in (KEYFRAME, NON_KEYFRAME, FLOW):  # a file of an earlier export would be mistaken for part of this one
        (folder / name).unlink(missing_ok=True)
    frame, earlier = torch.zeros(2, 1, 3, height, width)
    with torch.no_grad():
        features = net.reference.features(frame)
        files = [export_graph(_Key(net), {"frame": frame}, ("features", "logits"), folder / KEYFRAME)]
        inputs = {"features": features, "frame": frame}
        if net.flow is not None:
            inputs["flow"] = net.flow(frame, earlier)
            if any(True for _ in net.flow.parameters()):
                pair = {"current": frame, "previous": earlier}
                files.append(export_graph(net.flow, pair, ("flow",), folder / FLOW))
        outputs_features = net.flow is not None and not net.direct
        outputs = ("logits", "propagated") if outputs_features else ("logits",)
        files.append(export_graph(_NonKeyframe(net, outputs_features), inputs, outputs, folder / NON_KEYFRAME))
    return files


class OnnxAccel:
    """Video net from the files of ``export_accel``; ``VideoStream(OnnxAccel(folder))`` segments a stream with it.

    Args:
        folder: Folder with the files.
        flow: Module that computes the flow from ``(current, previous)`` frames, used instead of ``flow.onnx``. It is
            needed if there is no such file and the net takes a flow.
        num_threads: Number of threads that onnxruntime uses for one operation. ``None`` means as many as torch uses.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: The net takes a flow, but there is none.
    """

    def __init__(self, folder: Path, flow: nn.Module | None = None, num_threads: int | None = None) -> None:
        num_threads = torch.get_num_threads() if num_threads is None else num_threads
        self._key, self._non_keyframe = (open_session(folder / name, num_threads) for name in (KEYFRAME, NON_KEYFRAME))
        self._flow = flow
        if flow is None and (folder / FLOW).is_file():
            self._flow = _OnnxFlow(open_session(folder / FLOW, num_threads))
        self._takes_flow = "flow" in [node.name for node in self._non_keyframe.get_inputs()]
        if self._takes_flow and self._flow is None:
            raise ValueError(f"expected a flow for {folder / NON_KEYFRAME}, such as DISFlow(), got None")

    def start(self, frame: Float[Tensor, "1 3 height width"]) -> OnnxState:
        """State after a key frame.

        Raises:
            ValueError: The frame has another size than that of the export.
        """
        expected = self._key.get_inputs()[0].shape
        if list(frame.shape) != expected:
            raise ValueError(f"expected a frame of the shape of the export, {expected}, got {list(frame.shape)}")
        outputs = run_session(self._key, frame=frame)
        return OnnxState(outputs["features"], frame, outputs["logits"])

    def advance(self, state: OnnxState, frame: Float[Tensor, "1 3 height width"]) -> OnnxState:
        """State after the next frame."""
        motion = {"flow": self._flow(frame, state.anchor)} if self._takes_flow and self._flow is not None else {}
        outputs = run_session(self._non_keyframe, features=state.features, frame=frame, **motion)
        if "propagated" in outputs:
            return OnnxState(outputs["propagated"], frame, outputs["logits"])
        return state._replace(logits=outputs["logits"])

    def logits(self, state: OnnxState) -> Float[Tensor, "1 classes height width"]:
        """Logits of the classes on the current frame."""
        return state.logits


class Parity(NamedTuple):
    """Agreement of two nets on the same clips."""

    largest_difference: float
    """Largest absolute difference of logits."""
    share_equal: float
    """Share of pixels with the same predicted class, in [0, 1]."""
    num_frames: int
    """Number of compared frames."""


@torch.inference_mode()
def compare(net: VideoNet, other: VideoNet, clips: Iterable[Float[Tensor, "time 3 height width"]]) -> Parity:
    """Run two nets on clips whose first frame is the key frame, and compare their logits on every frame.

    Each net propagates its own state.

    Raises:
        ValueError: There are no clips.
    """
    differences: list[float] = []
    shares: list[float] = []
    for clip in clips:
        states: list[Any] = []
        for frame in clip[:, None]:
            if states:
                states = [each.advance(state, frame) for each, state in zip((net, other), states, strict=True)]
            else:
                states = [net.start(frame), other.start(frame)]
            logits, other_logits = net.logits(states[0]), other.logits(states[1])
            differences.append((logits - other_logits).abs().max().item())
            shares.append((predict_classes(logits) == predict_classes(other_logits)).float().mean().item())
    if not shares:
        raise ValueError("expected at least one clip to compare on, got none")
    return Parity(max(differences), sum(shares) / len(shares), len(shares))


class _Key(nn.Module):
    def __init__(self, net: AccelNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        state = self.net.start(frame)
        return state.features, self.net.logits(state)


class _NonKeyframe(nn.Module):
    def __init__(self, net: AccelNet, outputs_features: bool) -> None:
        super().__init__()
        self.net = net
        self.outputs_features = outputs_features

    def forward(self, features: Tensor, frame: Tensor, flow: Tensor | None = None) -> tuple[Tensor, ...]:
        if flow is not None:
            features = warp(features, resize_flow(flow, features))
        logits = self.net.corrected(features, frame)
        return (logits, features) if self.outputs_features else (logits,)


class _OnnxFlow(nn.Module):
    def __init__(self, session: InferenceSession) -> None:
        super().__init__()
        self.session = session

    def forward(self, current: Tensor, previous: Tensor) -> Tensor:
        return run_session(self.session, current=current, previous=previous)["flow"]
