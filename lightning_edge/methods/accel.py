"""Accel: train a video net's branches on single frames, then all of it through the chain of warps."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from lightning_edge.contracts import IGNORE_INDEX, ClipBatch, FrameBatch, IntervalScore
from lightning_edge.methods.base import OptimizerCallable
from lightning_edge.methods.evaluated import EvaluatedMethod
from lightning_edge.methods.schedules import Schedule
from lightning_edge.methods.segmentation import pixel_loss
from lightning_edge.metrics.keyframe_iou import KeyframeIoU
from lightning_edge.nn.accel import AccelNet, states_by_distance
from lightning_edge.ops.classes import predict_classes
from lightning_edge.ops.distillation import distillation_loss
from lightning_edge.ops.resize import resize_logits
from lightning_edge.systems.streaming.keyframes import KeyframePolicy
from lightning_edge.systems.streaming.video_stream import VideoStream

PROPAGATING_NETS = ("accel", "dff", "copy")
"""Names of the nets that carry features from key frames to the frames after them."""


class Accel(EvaluatedMethod):
    """Two-stage training of Accel (arXiv:1807.06667) in one fit, and its evaluation beside what it is compared with.

    At first both branches learn from the labeled frame alone; after ``branch_share`` of the training the loss is that
    of the fused scores, its gradient flowing through the chain of warps to the key frame, while each branch keeps a
    share of its own loss. The stage follows from the step, so a resumed run is in the right one.

    Evaluation carries every clip from a key frame at each distance and logs, as mean IoU in [0, 1] at key-frame
    ``interval`` (``{val,test}/``): ``miou`` (Accel, average), ``<net>_miou``, ``<net>_miou_worst`` and
    ``<net>_miou_d<distance>`` of ``accel``, ``dff`` (Deep Feature Flow) and ``copy`` (features copied), and the two
    branches run on every frame, ``reference_miou`` and, where there is an update branch, ``update_miou``.

    A part that does not learn in a stage drops its gradient, so a term that a callback adds to the loss has no effect
    on it: the flow and the fusion in the first, and in the second all but the fusion if that learns alone.

    Args:
        net: The video net. One without an update branch and without ``fuse_features`` is Deep Feature Flow, which then
            learns and is scored in Accel's place; ``branch_weight`` has no effect on it.
        optimizer: Makes the optimizer of the parameters.
        schedule: Factor of the learning rate by the share of training done; ``PolynomialDecay()`` if ``None``.
        branch_share: Share of the training that is its first stage.
        train_branches_jointly: Whether the branches and the flow go on learning in the second stage; the released
            code trains the fusion alone.
        fusion_lr_scale: Factor of the learning rate of the fusion, which learns in the second stage only (2 in the
            released code, with SGD).
        branch_weight: Weight of each branch's own loss in the second stage, the reference's by what it carries (0 in
            the paper).
        reference_weight: Weight of the reference's loss on the labeled frame itself in the second stage, in place of
            the one by what it carries. It keeps the reference accurate on single frames, for another pass of it a step,
            in which its batch norms see the labeled frame beside the key frame.
        distillation_weight: Weight of a loss of the first stage by which the update branch learns the reference's
            scores on all pixels, labeled or not (0 in the paper).
        interval: Key-frame interval of the logged scores, and of ``predict`` without ``keyframes``.
        keyframes: Decides on the key frames of ``predict``, such as ``AdaptiveInterval``.
        max_interval: Longest interval that is evaluated; clips must have as many frames.
    """

    batch_type = ClipBatch
    labeled_thing = "pixel"

    def __init__(
        self,
        net: AccelNet,
        optimizer: OptimizerCallable = AdamW,
        schedule: Schedule | None = None,
        branch_share: float = 0.75,
        train_branches_jointly: bool = True,
        fusion_lr_scale: float = 10.0,
        branch_weight: float = 0.5,
        reference_weight: float = 0.0,
        distillation_weight: float = 0.0,
        interval: int = 5,
        keyframes: KeyframePolicy | None = None,
        max_interval: int = 10,
    ) -> None:
        super().__init__(optimizer, schedule)
        if net.fusion is None and net.flow is None:
            raise ValueError("expected a net with an update branch, fuse_features or a flow, got none of them")
        if net.fusion is None and not train_branches_jointly:
            raise ValueError("expected train_branches_jointly of True for a net that fuses nothing, got False")
        if not 1 <= interval <= max_interval:
            raise ValueError(f"expected interval within 1 and max_interval ({max_interval}), got {interval}")
        if distillation_weight > 0 and net.update is None:
            raise ValueError(f"expected distillation_weight of 0 without an update branch, got {distillation_weight}")
        if not 0 <= branch_share <= 1:
            raise ValueError(f"expected branch_share within [0, 1], got {branch_share}")
        self.net = net
        self.num_classes = net.num_classes
        self.branch_share = branch_share
        self.train_branches_jointly = train_branches_jointly
        self.fusion_lr_scale = fusion_lr_scale
        self.branch_weight = branch_weight
        self.reference_weight = reference_weight
        self.distillation_weight = distillation_weight
        self.interval = interval
        self.keyframes = keyframes
        self.max_interval = max_interval
        self._modes: dict[nn.Module, bool] = {}
        self.interval_scores: list[IntervalScore] = []
        """What the last evaluation found, for callbacks."""
        metrics = [KeyframeIoU(self.num_classes, max_interval) for _ in self.video_nets()]
        self._iou: Sequence[KeyframeIoU] = nn.ModuleList(metrics)  # pyright: ignore[reportAttributeAccessIssue]

    def setup(self, stage: str) -> None:
        """Refuse, before training, data whose clips are too short for what comes later."""
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        longest, distances = getattr(data, "max_distance", None), getattr(data, "train_distances", None)
        if stage != "predict" and longest is not None and longest < self.max_interval - 1:
            raise ValueError(
                f"expected data with max_distance of at least max_interval - 1 ({self.max_interval - 1}), got {longest}"
            )
        if stage == "fit" and distances is not None and min(distances) < 1 and self.branch_share < 1:
            raise ValueError(f"expected data with train_distances of at least 1, got {distances}")

    def forward(
        self, inputs: Float[Tensor, "batch time 3 height width"]
    ) -> Float[Tensor, "batch classes height width"]:
        """Scores (logits) on the last frame of clips whose first frame is the key frame."""
        return self.net(inputs)

    @property
    def is_branch_stage(self) -> bool:
        """Whether the branches still learn from single frames."""
        return self.progress < self.branch_share

    @property
    def frozen_modules(self) -> list[nn.Module]:
        """Parts of the net that do not learn in this stage."""
        net = self.net
        if self.is_branch_stage:
            parts = [net.flow, net.fusion]
        else:
            parts = [] if self.train_branches_jointly else [net.reference, net.update, net.flow]
        return [part for part in parts if part is not None]

    def loss(self, batch: ClipBatch) -> Tensor:
        """Cross-entropy of the branches on the labeled frame, then of the fused scores."""
        if self.is_branch_stage:
            loss = self._branch_loss(batch)
        elif batch["frames"].shape[1] < 2:
            raise ValueError("expected training clips of at least 2 frames, got 1")
        else:
            loss = self._joint_loss(batch)
        # DDP waits for a gradient of every parameter at every step, in both stages: that of an empty part is zero, and
        # a NaN in a parameter that does not learn yet stays out of the loss
        learning = [parameter for parameter in self.net.parameters() if parameter.requires_grad]
        return loss + sum(parameter.flatten()[:0].sum() for parameter in learning)

    def _branch_loss(self, batch: ClipBatch) -> Tensor:
        frame, mask = batch["frames"][:, -1], batch["mask"]
        reference = self.net.reference(frame)
        loss = pixel_loss(reference, mask)
        if self.net.update is None:
            return loss
        update = self.net.update(frame)
        loss += pixel_loss(update, mask)
        if self.distillation_weight > 0:
            loss += self.distillation_weight * distillation_loss(update, reference)
        return loss

    def _joint_loss(self, batch: ClipBatch) -> Tensor:
        net = self.net
        with nullcontext() if self.train_branches_jointly else torch.no_grad():
            state = net.propagate(batch["frames"])
            propagated, update_output = net.propagated_output(net.aligned(state)), net.run_update_branch(state.frame)
        loss = self._map_loss(net.fuse(propagated, update_output), batch)
        if not self.train_branches_jointly:
            return loss
        if self.reference_weight > 0:
            loss += self.reference_weight * self._map_loss(net.reference(state.frame), batch)
        if update_output is not None and self.branch_weight > 0:
            loss += self.branch_weight * self._map_loss(net.update_logits(update_output), batch)
            if self.reference_weight == 0:
                loss += self.branch_weight * self._map_loss(net.propagated_logits(propagated), batch)
        return loss

    @staticmethod
    def _map_loss(scores: Tensor, batch: ClipBatch) -> Tensor:
        return pixel_loss(resize_logits(scores, batch["mask"]), batch["mask"])

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Trainable parameters, those of the fusion with a learning rate of their own."""
        fusion = set(() if self.net.fusion is None else self.net.fusion.parameters())
        trainable = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return [
            {"params": [parameter for parameter in trainable if parameter not in fusion]},
            {"params": [parameter for parameter in trainable if parameter in fusion], "lr_scale": self.fusion_lr_scale},
        ]

    def on_train_batch_start(self, batch: ClipBatch, batch_idx: int) -> None:
        """Hold the batch statistics of the parts that do not learn in the second stage."""
        if not (self.is_branch_stage or self._modes):
            self._modes = {module: module.training for part in self.frozen_modules for module in part.modules()}
            for part in self.frozen_modules:
                part.eval()

    def on_train_start(self) -> None:
        """Undo what an interrupted training left."""
        super().on_train_start()
        self.on_train_end()

    def on_train_end(self) -> None:
        """Leave every module in the mode in which it came."""
        for module, is_training in self._modes.items():
            module.training = is_training
        self._modes = {}

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Leave what is not to learn as it is: without a gradient there is no decay either."""
        for part in self.frozen_modules:
            for parameter in part.parameters():
                parameter.grad = None

    def video_nets(self) -> dict[str, AccelNet]:
        """The nets that are compared, by name; they share their weights."""
        reference, update = self.net.reference, self.net.update
        nets = {"reference": AccelNet(reference)}
        if update is not None:
            nets["update"] = AccelNet(update)
        return nets | {
            "copy": AccelNet(reference),
            "dff": AccelNet(reference, flow=self.net.flow, direct=True),
            "accel": self.net,
        }

    def reset_scores(self) -> None:
        """Forget what was counted."""
        for iou in self._iou:
            iou.reset()

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """Count the predictions of all nets on the labeled frame, for a key frame at every distance from it."""
        clip, mask = self._evaluated_frames(batch["frames"]), batch["mask"]
        self.evidence.update((mask != IGNORE_INDEX).sum())
        starts = [self.net.start(frame) for frame in clip]
        update_output = self.net.run_update_branch(clip[-1])  # for all key frames
        for (name, net), iou in zip(self.video_nets().items(), self._iou, strict=True):
            if name in PROPAGATING_NETS:
                states = states_by_distance(net, starts)
            else:
                states = [starts[-1] if name == "reference" else net.start(clip[-1])]
            for distance, state in enumerate(states):
                scores = net.logits(state._replace(update_output=update_output))
                self.evidence.update(0, scores)
                iou.update(predict_classes(scores), mask, distance)

    def scores(self) -> dict[str, float]:
        """Mean IoUs of all nets at ``interval``, and at each distance from the key frame."""
        found = {name: iou.compute() for name, iou in zip(self.video_nets(), self._iou, strict=True)}
        if not self.trainer.sanity_checking:
            self.interval_scores = [
                IntervalScore(name, interval, average, worst)
                for name, scores in found.items()
                for interval, (average, worst) in enumerate(zip(scores.by_interval, scores.by_distance, strict=True), 1)
                if interval == 1 or name in PROPAGATING_NETS
            ]
        logged = {"miou": found["accel"].by_interval[self.interval - 1]}
        for name in [name for name in found if name not in PROPAGATING_NETS]:
            logged[f"{name}_miou"] = found[name].by_interval[0]
        for name in PROPAGATING_NETS:
            logged[f"{name}_miou"] = found[name].by_interval[self.interval - 1]
            logged[f"{name}_miou_worst"] = found[name].by_distance[self.interval - 1]
            logged |= {f"{name}_miou_d{distance}": iou for distance, iou in enumerate(found[name].by_distance)}
        return logged

    def discard_scores(self) -> None:
        """Put NaN in place of the scores by interval."""
        nan = float("nan")
        self.interval_scores = [score._replace(average_miou=nan, worst_miou=nan) for score in self.interval_scores]

    def on_predict_start(self) -> None:
        """Begin a stream.

        Raises:
            ValueError: if several processes would share its frames.
        """
        if self.trainer.world_size > 1:
            raise ValueError(f"expected one process to predict a stream, got {self.trainer.world_size}")
        self._stream = VideoStream(self.net, self.interval if self.keyframes is None else self.keyframes)

    def predict_step(self, batch: FrameBatch, batch_idx: int) -> Int64[Tensor, "batch height width"]:
        """Class of each pixel, by the streaming runtime."""
        frames = zip(batch["image"], batch["frame_index"].tolist(), strict=True)
        return torch.stack([self._stream(image, index) for image, index in frames])

    def _evaluated_frames(self, frames: Tensor) -> list[Tensor]:
        if frames.shape[1] < self.max_interval:
            raise ValueError(f"expected clips of max_interval ({self.max_interval}) frames, got {frames.shape[1]}")
        return list(frames[:, -self.max_interval :].unbind(1))
