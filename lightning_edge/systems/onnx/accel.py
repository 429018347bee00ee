"""Accel without torch's nets: the parts of a stream as ONNX files, and onnxruntime to run them.

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

KEY, CARRIED, FLOW = "key.onnx", "carried.onnx", "flow.onnx"
"""Graphs of a stream for key frames, for all others, and for a flow that learns."""


class OnnxState(NamedTuple):
    """What is carried from frame to frame."""

    features: Float[Tensor, "1 channels h w"]
    anchor: Float[Tensor, "1 3 height width"]
    """The frame that the features are aligned with."""
    scores: Float[Tensor, "1 classes height width"]


def export_accel(net: AccelNet, folder: Path, height: int, width: int) -> list[Path]:
    """Write a net as ONNX files for single frames of one size: ``key.onnx``, ``carried.onnx``, perhaps ``flow.onnx``.

    The second takes the features, the frame and the flow, and gives scores and, where features are warped from frame to
    frame, the carried features. A flow with weights becomes a graph of its own; one without, such as OpenCV's, stays
    outside, and ``OnnxAccel`` is given it.

    Args:
        net: In evaluation mode, on the CPU.
        folder: Where the files are written; made if it is missing.
        height: Of the frames, pixels.
        width: Of the frames, pixels.

    Returns:
        The files.

    Raises:
        ValueError: if the net is in training mode.
        ImportError: if torch's exporter lacks a package.
    """
    if net.training:
        raise ValueError("expected a net in evaluation mode for export, got training mode: call net.eval()")
    folder.mkdir(parents=True, exist_ok=True)
    for name in (KEY, CARRIED, FLOW):  # one of another net would be taken for this one's
        (folder / name).unlink(missing_ok=True)
    frame, earlier = torch.zeros(2, 1, 3, height, width)
    with torch.no_grad():
        features = net.reference.features(frame)
        files = [export_graph(_Key(net), {"frame": frame}, ("features", "scores"), folder / KEY)]
        inputs = {"features": features, "frame": frame}
        if net.flow is not None:
            inputs["flow"] = net.flow(frame, earlier)
            if any(True for _ in net.flow.parameters()):
                pair = {"current": frame, "previous": earlier}
                files.append(export_graph(net.flow, pair, ("flow",), folder / FLOW))
        is_carried_on = net.flow is not None and not net.direct
        outputs = ("scores", "carried") if is_carried_on else ("scores",)
        files.append(export_graph(_Carried(net, is_carried_on), inputs, outputs, folder / CARRIED))
    return files


class OnnxAccel:
    """What ``export_accel`` wrote, as a video net: ``VideoStream(OnnxAccel(folder))`` segments a stream by it.

    Args:
        folder: With the files.
        flow: Module of ``(current, previous)`` frames, in place of ``flow.onnx`` or where there is none.
        num_threads: Of onnxruntime for one operation; as many as torch takes if ``None``.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a flow is needed and there is none.
    """

    def __init__(self, folder: Path, flow: nn.Module | None = None, num_threads: int | None = None) -> None:
        num_threads = torch.get_num_threads() if num_threads is None else num_threads
        self._key, self._carried = (open_session(folder / name, num_threads) for name in (KEY, CARRIED))
        self._flow = flow
        if flow is None and (folder / FLOW).is_file():
            self._flow = _OnnxFlow(open_session(folder / FLOW, num_threads))
        self._takes_flow = "flow" in [given.name for given in self._carried.get_inputs()]
        if self._takes_flow and self._flow is None:
            raise ValueError(f"expected a flow for {folder / CARRIED}, such as DISFlow(), got None")

    def start(self, frame: Float[Tensor, "1 3 height width"]) -> OnnxState:
        """State after a key frame.

        Raises:
            ValueError: if the frame has another size than the net was exported for.
        """
        expected = self._key.get_inputs()[0].shape
        if list(frame.shape) != expected:
            raise ValueError(f"expected a frame of the shape of the export, {expected}, got {list(frame.shape)}")
        found = run_session(self._key, frame=frame)
        return OnnxState(found["features"], frame, found["scores"])

    def advance(self, state: OnnxState, frame: Float[Tensor, "1 3 height width"]) -> OnnxState:
        """State on the next frame."""
        motion = {"flow": self._flow(frame, state.anchor)} if self._takes_flow and self._flow is not None else {}
        found = run_session(self._carried, features=state.features, frame=frame, **motion)
        if "carried" in found:
            return OnnxState(found["carried"], frame, found["scores"])
        return state._replace(scores=found["scores"])

    def logits(self, state: OnnxState) -> Float[Tensor, "1 classes height width"]:
        """Scores (logits) of the classes on the present frame."""
        return state.scores


class Parity(NamedTuple):
    """How far two nets agree on the same clips."""

    largest_difference: float
    """Of scores (logits), absolute."""
    share_equal: float
    """Of pixels with the same class, in [0, 1]."""
    num_frames: int
    """How many were compared."""


@torch.inference_mode()
def compare(net: VideoNet, other: VideoNet, clips: Iterable[Float[Tensor, "time 3 height width"]]) -> Parity:
    """Run two nets on clips whose first frame is the key frame, each with its own state, and compare every frame."""
    differences: list[float] = []
    shares: list[float] = []
    for clip in clips:
        states: list[Any] = []
        for frame in clip[:, None]:
            if states:
                states = [each.advance(state, frame) for each, state in zip((net, other), states, strict=True)]
            else:
                states = [net.start(frame), other.start(frame)]
            ours, theirs = net.logits(states[0]), other.logits(states[1])
            differences.append((ours - theirs).abs().max().item())
            shares.append((predict_classes(ours) == predict_classes(theirs)).float().mean().item())
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


class _Carried(nn.Module):
    def __init__(self, net: AccelNet, is_carried_on: bool) -> None:
        super().__init__()
        self.net = net
        self.is_carried_on = is_carried_on

    def forward(self, features: Tensor, frame: Tensor, flow: Tensor | None = None) -> tuple[Tensor, ...]:
        if flow is not None:
            features = warp(features, resize_flow(flow, features))
        scores = self.net.corrected(features, frame)
        return (scores, features) if self.is_carried_on else (scores,)


class _OnnxFlow(nn.Module):
    def __init__(self, session: InferenceSession) -> None:
        super().__init__()
        self.session = session

    def forward(self, current: Tensor, previous: Tensor) -> Tensor:
        return run_session(self.session, current=current, previous=previous)["flow"]
