"""Outputs of a module for the source batch and the target batch of one training step, for all callbacks together."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from lightning_edge.contracts import GivesTargetBatches, input_key
from lightning_edge.nn.conditioning import in_domain


class LayerOutputs(NamedTuple):
    """What a layer received and returned for one batch."""

    features: Tensor
    """Input of the layer."""
    outputs: Tensor
    """Output of the layer. For the last layer these are the logits."""


@runtime_checkable
class ChangesTarget(Protocol):
    """Something that changes target batches before they pass through the module."""

    def change_target(self, batch: dict[str, Any], source_batch: Any) -> dict[str, Any]:
        """The batch to pass instead."""
        ...


class TwoDomains:
    """Records watched layers while the module processes the source batch, and passes the target batch once a step.

    The method itself passes the source. The first callback that asks for the target passes it, and all others get the
    same outputs. If a layer runs several times in a pass, the last time counts.

    Args:
        trainer: The trainer.
        module: Module whose layers are watched.
        changes: Objects whose ``change_target(batch)`` changes the target batch before it passes, one after the other.
    """

    def __init__(self, trainer: Trainer, module: LightningModule, changes: Sequence[ChangesTarget] = ()) -> None:
        self.trainer = trainer
        self.module = module
        self._source: dict[str, LayerOutputs] = {}
        self._target: dict[str, LayerOutputs] = {}
        self.target_output: Any = None
        """What the module's ``forward`` returned for the target batch of this step."""
        self.target_input: Any = None
        """What ``forward`` received for it, after all changes."""
        self._recorded: dict[str, LayerOutputs] | None = None
        self._handles: dict[str, Any] = {}
        self._changes = changes

    def watch(self, name: str, layer: nn.Module) -> None:
        """Record the inputs and outputs of a layer under its name."""
        if name not in self._handles:
            self._handles[name] = layer.register_forward_hook(
                lambda _, inputs, outputs: self._record(name, inputs, outputs)
            )

    def begin_step(self) -> None:
        """Forget the last step and record the source."""
        self._source, self._target = {}, {}
        self._recorded = self._source

    def end_step(self) -> None:
        """Stop recording, and free the outputs."""
        self._source, self._target, self._recorded = {}, {}, None
        self.target_input = self.target_output = None

    def source(self, name: str) -> LayerOutputs:
        """What a watched layer did for the source batch. From then on, callbacks may call layers unrecorded.

        Raises:
            ValueError: The layer did not run.
        """
        self._recorded = None
        return self._outputs(self._source, name, "the source batch in training_step")

    def target(self, name: str, source_batch: Any) -> LayerOutputs:
        """What a watched layer did for the target batch, which is passed through the module if it was not yet.

        Args:
            name: Name of the layer.
            source_batch: The source batch of this step, with which changes may mix the target.

        Raises:
            ValueError: The layer did not run, or the data module has no target batch.
        """
        if not self._target:
            self._pass_target(source_batch)
        return self._outputs(self._target, name, "the target batch in forward")

    def forward(self, batch: dict[str, Any], module: Callable[..., Any] | None = None) -> Any:
        """Outputs for a batch of the target, or one like it, of which nothing is recorded.

        Args:
            batch: The batch.
            module: What to call instead of the module, such as the module with other weights.
        """
        recorded, self._recorded = self._recorded, None
        try:
            return self._forward(batch, module)
        finally:
            self._recorded = recorded

    def layer_outputs(self, name: str, batch: dict[str, Any], module: Callable[..., Any] | None = None) -> LayerOutputs:
        """What a watched layer does for a further batch.

        Args:
            name: Name of the layer.
            batch: The batch.
            module: What to call instead of the module, such as the module with other weights.

        Raises:
            ValueError: The layer did not run.
        """
        recorded, self._recorded = self._recorded, {}
        try:
            self._forward(batch, module)
            return self._outputs(self._recorded, name, "a batch in forward")
        finally:
            self._recorded = recorded

    def _pass_target(self, source_batch: Any) -> None:
        batch = target_batch_of(self.trainer)
        for change in self._changes:
            batch = change.change_target(batch, source_batch)
        self.target_input = batch[self.input_key]
        recorded, self._recorded = self._recorded, self._target
        try:
            self.target_output = self._forward(batch)
        finally:
            self._recorded = recorded

    def _forward(self, batch: dict[str, Any], module: Callable[..., Any] | None = None) -> Any:
        with in_domain(self.module, batch.get("domain_embedding")):
            return (module or self.module)(batch[self.input_key])

    @property
    def input_key(self) -> str:
        """Key of the net's input in batches."""
        return input_key_of(self.trainer)

    def close(self) -> None:
        """Remove all hooks."""
        for handle in self._handles.values():
            handle.remove()
        self._handles = {}
        self.end_step()

    def _record(self, name: str, inputs: tuple[Any, ...], outputs: Any) -> None:
        if self._recorded is not None:
            self._recorded[name] = LayerOutputs(inputs[0], outputs)

    def _outputs(self, recorded: dict[str, LayerOutputs], name: str, what: str) -> LayerOutputs:
        if name not in recorded:
            raise ValueError(
                f"expected layer as a part of {type(self.module).__name__} that processes {what}, got {name!r}, which "
                "did not run"
            )
        return recorded[name]


def target_batch_of(trainer: Trainer) -> dict[str, Any]:
    """The unlabeled target batch of this step, as the data module gives it.

    Raises:
        ValueError: The data module has no target batch.
    """
    data = getattr(trainer, "datamodule", None)
    batch = data.target_batch if isinstance(data, GivesTargetBatches) else None
    if batch is None:
        raise ValueError(
            "expected a data module with unlabeled target data, such as AdaptationDataModule(source, target), got "
            f"{'none' if data is None else type(data).__name__}"
        )
    return dict(batch)


def input_key_of(trainer: Trainer) -> str:
    """Key of the net's input in the batches of the trainer's data module, which has target data."""
    return input_key(trainer.datamodule.batch_type)  # pyright: ignore[reportAttributeAccessIssue]
