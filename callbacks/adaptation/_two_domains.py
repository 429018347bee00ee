"""Outputs of a module for the source batch and the target batch of one training step, for all callbacks together."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from callbacks.adaptation.domain_norms import DomainNorms
from lightning_edge.contracts import GivesTargetBatches, input_key
from lightning_edge.nn.conditioning import in_domain
from lightning_edge.torch_internals import is_compiled


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


def target_data(trainer: Trainer) -> GivesTargetBatches:
    """The data module that gives the target batches.

    Raises:
        ValueError: It gives none.
    """
    data: Any = getattr(trainer, "datamodule", None)
    if not isinstance(data, GivesTargetBatches):
        raise ValueError(
            "expected a data module with unlabeled target data, such as AdaptationDataModule(source, target), got "
            f"{'none' if data is None else type(data).__name__}"
        )
    return data


class TwoDomains:
    """Records watched layers while the module processes the source batch, and passes the target batch once a step.

    The method itself passes the source. The first callback that asks for the target passes it, and all others get the
    same outputs. If a layer runs several times in a pass, the last time counts.

    A term that is computed again belongs to another pass of the source. So no hook of a callback has to mark the steps:
    Lightning calls none of them while it looks for a batch size or a learning rate, and some optimizers compute the
    loss several times in a step.

    Args:
        trainer: The trainer.
        module: Module whose layers are watched.
        changes: Objects whose ``change_target(batch)`` changes the target batch before it passes, one after the other.
    """

    def __init__(self, trainer: Trainer, module: LightningModule, changes: Sequence[ChangesTarget] = ()) -> None:
        self.trainer = trainer
        self.module = module
        self.target_input: Any = None
        """What the module's ``forward`` received for the target batch of this step, after all changes."""
        self.target_output: Any = None
        """What it returned."""
        self._handles: dict[str, Any] = {}
        self._changes = changes
        self._redirected: dict[str, LayerOutputs] | None = None
        self.forget()

    def watch(self, name: str, layer: nn.Module) -> None:
        """Record the inputs and outputs of a layer under its name."""
        if name not in self._handles:
            self._handles[name] = layer.register_forward_hook(
                lambda layer, inputs, options, outputs: self._record(
                    name, layer, (*inputs, *options.values()), outputs
                ),
                with_kwargs=True,
            )
            self._compile_again()

    def forget(self) -> None:
        """Forget everything that was recorded, which frees the outputs."""
        self._latest: dict[str, LayerOutputs] = {}
        self._begin_pass()

    def begin_term(self, name: str) -> None:
        """Say that the term of this name is computed next. The runs of the layers up to the first term count."""
        if not self._terms or name in self._terms:
            self._begin_pass()
        self._terms.add(name)

    def source(self, name: str) -> LayerOutputs:
        """What a watched layer did for the source batch.

        Raises:
            ValueError: The layer did not run.
        """
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
        with self._recording({}):
            return self._forward(batch, module)

    def layer_outputs(self, name: str, batch: dict[str, Any], module: Callable[..., Any] | None = None) -> LayerOutputs:
        """What a watched layer does for a further batch.

        Args:
            name: Name of the layer.
            batch: The batch.
            module: What to call instead of the module, such as the module with other weights.

        Raises:
            ValueError: The layer did not run.
        """
        recorded: dict[str, LayerOutputs] = {}
        with self._recording(recorded):
            self._forward(batch, module)
        return self._outputs(recorded, name, "a batch in forward")

    def _pass_target(self, source_batch: Any) -> None:
        batch = target_batch_of(self.trainer)
        for change in self._changes:
            batch = change.change_target(batch, source_batch)
        self.target_input = batch[self.input_key]
        with self._recording(self._target):
            self.target_output = self._forward(batch)

    def _forward(self, batch: dict[str, Any], module: Callable[..., Any] | None = None) -> Any:
        with self.statistics_of_target(), in_domain(self.module, batch.get("domain_embedding")):
            return (module or self.module)(batch[self.input_key])

    def statistics_of_target(self) -> AbstractContextManager[None]:
        """A context in which batch norms use the statistics of the target, if they are kept apart."""
        norms = next((c for c in self.trainer.callbacks if isinstance(c, DomainNorms)), None)  # pyright: ignore[reportAttributeAccessIssue]
        return nullcontext() if norms is None else norms.of_target(self.module)

    @property
    def input_key(self) -> str:
        """Key of the net's input in batches."""
        return input_key_of(self.trainer)

    def close(self) -> None:
        """Remove all hooks."""
        for handle in self._handles.values():
            handle.remove()
        self._handles = {}
        self._compile_again()
        self.forget()

    def _compile_again(self) -> None:
        if is_compiled(self.module):  # compiled code ignores hooks that are added or removed later
            torch.compiler.reset()

    def _begin_pass(self) -> None:
        self._source, self._latest = self._latest, {}
        self._target: dict[str, LayerOutputs] = {}
        self.target_input = self.target_output = None
        self._terms: set[str] = set()

    @contextmanager
    def _recording(self, recorded: dict[str, LayerOutputs]) -> Iterator[None]:
        """Record into another place within a ``with`` block."""
        earlier, self._redirected = self._redirected, recorded
        try:
            yield
        finally:
            self._redirected = earlier

    def _record(self, name: str, layer: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> None:
        recorded = self._latest if self._redirected is None else self._redirected
        values = inputs[0] if inputs else None, outputs
        if isinstance(layer, nn.Linear):  # its features are the last dimension, those of maps the second
            values = (v.movedim(-1, 1) if isinstance(v, Tensor) and v.ndim > 2 else v for v in values)
        recorded[name] = LayerOutputs(*values)  # pyright: ignore[reportArgumentType]

    def _outputs(self, recorded: dict[str, LayerOutputs], name: str, what: str) -> LayerOutputs:
        if name not in recorded:
            raise ValueError(
                f"expected layer as a part of {type(self.module).__name__} that processes {what}, got {name!r}, which "
                "did not run: name another one by the argument layer"
            )
        outputs = recorded[name]
        if not isinstance(outputs.features, Tensor):
            kind = type(outputs.features).__name__
            raise ValueError(f"expected layer as one whose first input is a tensor, got {kind} for {name!r}")
        return outputs


def target_batch_of(trainer: Trainer) -> dict[str, Any]:
    """The unlabeled target batch of this step, as the data module gives it.

    Raises:
        ValueError: The data module has no target batch.
    """
    data = target_data(trainer)
    if data.target_batch is None:
        raise ValueError(f"expected a target batch beside each training batch, got none of {type(data).__name__}")
    return dict(data.target_batch)


def input_key_of(trainer: Trainer) -> str:
    """Key of the net's input in the batches of the trainer's data module, which has target data."""
    return input_key(target_data(trainer).batch_type)
