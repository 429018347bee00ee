"""Accel: train a video net's branches on single frames, then the whole net through the chain of warps."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from lightning_edge.checks import check_share
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
"""Names of the nets that propagate features from key frames to the frames after them."""


class Accel(EvaluatedMethod):
    """Two-stage training of Accel (arXiv:1807.06667) in one fit, and its evaluation against baselines.

    In the first stage, both branches learn from the labeled frame alone. After ``branch_stage_fraction`` of the
    training, the second stage starts. Its loss is that of the fused logits, whose gradient flows through the chain of
    warps to the key frame; the branches also keep a share of their own losses. The stage depends only on the step, so a
    resumed run continues in the correct stage.

    Evaluation propagates features through every clip from a key frame at each distance. It logs the mean IoU in [0, 1]
    at key-frame ``interval`` under ``{val,test}/``: ``miou`` is that of Accel over all frames. ``<net>_miou``,
    ``<net>_miou_worst`` and ``<net>_miou_d<distance>`` are those of ``accel``, ``dff`` (Deep Feature Flow) and ``copy``
    (features copied). ``reference_miou`` and, if there is an update branch, ``update_miou`` are those of the two
    branches run on every frame.

    A part that does not learn in a stage discards its gradient, so a loss term that a callback adds has no effect on
    it. In the first stage these parts are the flow and the fusion. In the second stage these are all parts except the
    fusion if ``train_branches_jointly`` is false, and none otherwise.

    Args:
        net: Video net. A net without an update branch and without ``fuse_features`` is Deep Feature Flow. It is then
            trained and scored in place of Accel, and ``branch_weight`` has no effect.
        optimizer: Function that makes the optimizer from the parameters.
        schedule: Function that maps the completed share of training to a factor of the learning rate. ``None`` means
            ``PolynomialDecay()``.
        branch_stage_fraction: Share of the training that belongs to the first stage, in [0, 1].
        train_branches_jointly: Whether the branches and the flow continue to learn in the second stage. The released
            code trains only the fusion.
        fusion_lr_scale: Factor of the learning rate of the fusion, which learns only in the second stage. The released
            code uses 2, with SGD.
        branch_weight: Weight of each branch's own loss in the second stage. The reference's loss is that of its
            propagated features. The paper uses 0.
        reference_weight: Weight in the second stage of the reference's loss on the labeled frame itself, which replaces
            its loss on the propagated features. It keeps the reference accurate on single frames. It costs another
            pass of the reference in each step, in which the reference's batch norms see the labeled frame in addition
            to the key frame.
        distillation_weight: Weight of a loss in the first stage by which the update branch learns the reference's
            logits on all pixels, labeled or not. The paper uses 0.
        interval: Key-frame interval of the logged scores, and of ``predict`` if ``keyframes`` is ``None``.
        keyframes: Policy that selects the key frames in ``predict``, such as ``AdaptiveInterval``.
        max_interval: Longest interval that is evaluated. Clips must have at least this many frames.
    """

    batch_type = ClipBatch
    labeled_thing = "pixel"

    def __init__(
        self,
        net: AccelNet,
        optimizer: OptimizerCallable = AdamW,
        schedule: Schedule | None = None,
        branch_stage_fraction: float = 0.75,
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
        check_share(branch_stage_fraction=branch_stage_fraction)
        self.net = net
        self.num_classes = net.num_classes
        self.branch_stage_fraction = branch_stage_fraction
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
        """Scores of the last evaluation, for callbacks."""
        metrics = [KeyframeIoU(self.num_classes, max_interval) for _ in self.video_nets()]
        self._iou: Sequence[KeyframeIoU] = nn.ModuleList(metrics)  # pyright: ignore[reportAttributeAccessIssue]

    def setup(self, stage: str) -> None:
        """Raise an error before training if the clips of the data module are too short."""
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        longest, distances = getattr(data, "max_distance", None), getattr(data, "train_distances", None)
        if stage != "predict" and longest is not None and longest < self.max_interval - 1:
            raise ValueError(
                f"expected data with max_distance of at least max_interval - 1 ({self.max_interval - 1}), got {longest}"
            )
        if stage == "fit" and distances is not None and min(distances) < 1 and self.branch_stage_fraction < 1:
            raise ValueError(f"expected data with train_distances of at least 1, got {distances}")

    def forward(
        self, inputs: Float[Tensor, "batch time 3 height width"]
    ) -> Float[Tensor, "batch classes height width"]:
        """Logits on the last frame of clips whose first frame is the key frame."""
        return self.net(inputs)

    @property
    def is_branch_stage(self) -> bool:
        """Whether training is in its first stage, in which the branches learn from single frames."""
        return self.progress < self.branch_stage_fraction

    @property
    def frozen_modules(self) -> list[nn.Module]:
        """Parts of the net that do not learn in the current stage."""
        net = self.net
        if self.is_branch_stage:
            parts = [net.flow, net.fusion]
        else:
            parts = [] if self.train_branches_jointly else [net.reference, net.update, net.flow]
        return [part for part in parts if part is not None]

    def loss(self, batch: ClipBatch) -> Tensor:
        """Cross-entropy of the branches on the labeled frame in the first stage, of the fused logits in the second."""
        if self.is_branch_stage:
            loss = self._branch_loss(batch)
        elif batch["frames"].shape[1] < 2:
            raise ValueError("expected training clips of at least 2 frames, got 1")
        else:
            loss = self._joint_loss(batch)
        # DDP waits for the gradient of every parameter at every step; the sum of an empty slice gives a gradient of
        # zero, and keeps a NaN in a parameter that does not learn yet out of the loss
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
    def _map_loss(logits: Tensor, batch: ClipBatch) -> Tensor:
        return pixel_loss(resize_logits(logits, batch["mask"]), batch["mask"])

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups of trainable parameters; those of the fusion have their own learning rate."""
        fusion = set(() if self.net.fusion is None else self.net.fusion.parameters())
        trainable = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return [
            {"params": [parameter for parameter in trainable if parameter not in fusion]},
            {"params": [parameter for parameter in trainable if parameter in fusion], "lr_scale": self.fusion_lr_scale},
        ]

    def on_train_batch_start(self, batch: ClipBatch, batch_idx: int) -> None:
        """Freeze the batch statistics of the parts that do not learn in the second stage."""
        if not (self.is_branch_stage or self._modes):
            self._modes = {module: module.training for part in self.frozen_modules for module in part.modules()}
            for part in self.frozen_modules:
                part.eval()

    def on_train_start(self) -> None:
        """Restore the modes that an interrupted training left changed."""
        super().on_train_start()
        self.on_train_end()

    def on_train_end(self) -> None:
        """Restore the training or evaluation mode that every module had before."""
        for module, is_training in self._modes.items():
            module.training = is_training
        self._modes = {}

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Keep frozen parts unchanged: a parameter without a gradient has no weight decay either."""
        for part in self.frozen_modules:
            for parameter in part.parameters():
                parameter.grad = None

    def video_nets(self) -> dict[str, AccelNet]:
        """Nets that are compared, by name; they share their weights."""
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
        """Reset all metrics."""
        for iou in self._iou:
            iou.reset()

    def validation_step(self, batch: ClipBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Update the metrics of all nets on the labeled frame, for a key frame at every distance from it."""
        clip, mask = self._evaluated_frames(batch["frames"]), batch["mask"]
        self.evidence.update((mask != IGNORE_INDEX).sum())
        starts = [self.net.start(frame) for frame in clip]
        update_output = self.net.run_update_branch(clip[-1])  # the same for all key frames
        for (name, net), iou in zip(self.video_nets().items(), self._iou, strict=True):
            if name in PROPAGATING_NETS:
                states = states_by_distance(net, starts)
            else:
                states = [starts[-1] if name == "reference" else net.start(clip[-1])]
            for distance, state in enumerate(states):
                logits = net.logits(state._replace(update_output=update_output))
                self.evidence.update(0, logits)
                iou.update(predict_classes(logits), mask, distance)

    def scores(self) -> dict[str, float]:
        """Mean IoUs of all nets at ``interval``, and at each distance from the key frame."""
        by_net = {name: iou.compute() for name, iou in zip(self.video_nets(), self._iou, strict=True)}
        if self.is_first_loader and not self.trainer.sanity_checking:
            self.interval_scores = [
                IntervalScore(name, interval, average, worst)
                for name, scores in by_net.items()
                for interval, (average, worst) in enumerate(zip(scores.by_interval, scores.by_distance, strict=True), 1)
                if interval == 1 or name in PROPAGATING_NETS
            ]
        logged = {"miou": by_net["accel"].by_interval[self.interval - 1]}
        for name in [name for name in by_net if name not in PROPAGATING_NETS]:
            logged[f"{name}_miou"] = by_net[name].by_interval[0]
        for name in PROPAGATING_NETS:
            logged[f"{name}_miou"] = by_net[name].by_interval[self.interval - 1]
            logged[f"{name}_miou_worst"] = by_net[name].by_distance[self.interval - 1]
            logged |= {f"{name}_miou_d{distance}": iou for distance, iou in enumerate(by_net[name].by_distance)}
        return logged

    def discard_scores(self) -> None:
        """Replace the scores by interval with NaN."""
        nan = float("nan")
        self.interval_scores = [score._replace(average_miou=nan, worst_miou=nan) for score in self.interval_scores]

    def on_predict_start(self) -> None:
        """Start a stream.

        Raises:
            ValueError: There are several processes, which would share the frames of the stream.
        """
        if self.trainer.world_size > 1:
            raise ValueError(f"expected one process to predict a stream, got {self.trainer.world_size}")
        self._stream = VideoStream(self.net, self.interval if self.keyframes is None else self.keyframes)

    def predict_step(self, batch: FrameBatch, batch_idx: int) -> Int64[Tensor, "batch height width"]:
        """Predicted class of each pixel, from the streaming runtime."""
        frames = zip(batch["image"], batch["frame_index"].tolist(), strict=True)
        return torch.stack([self._stream(image, index) for image, index in frames])

    def _evaluated_frames(self, frames: Tensor) -> list[Tensor]:
        if frames.shape[1] < self.max_interval:
            raise ValueError(f"expected clips of max_interval ({self.max_interval}) frames, got {frames.shape[1]}")
        return list(frames[:, -self.max_interval :].unbind(1))
