"""Conformance checks that every method and every data module must pass; authors of plug-ins can run them too.

For example::

    import pytest
    from lightning_edge.testing import DATA_CHECKS, METHOD_CHECKS

    @pytest.mark.parametrize("check", METHOD_CHECKS)
    def test_my_method(check):
        check(lambda: MyMethod(MyNet(num_classes=4)), lambda: MyDataModule(batch_size=2))

A check takes functions that make a *fresh* method and a *fresh* data module, both tiny. If it fails, it raises an
``AssertionError`` that says what was expected, also under ``python -O``.
"""

import math
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer, seed_everything
from lightning.pytorch.utilities import CombinedLoader
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from lightning_edge.batch_checks import check_batch
from lightning_edge.contracts import IGNORE_INDEX, input_key
from lightning_edge.methods.base import Method

MakeMethod = Callable[[], Method]
MakeData = Callable[[], LightningDataModule]

NUM_EPOCHS = 2
"""Number of epochs that is enough for a two-stage method to reach its second stage."""

MAX_BATCHES = 1000
"""Number of batches of a loader that are checked at most, because some loaders never end."""

LABEL_KEYS = {"mask", "label"}
"""Keys of a batch whose values are class indices."""


def check_fits_and_tests(make_method: MakeMethod, make_data: MakeData) -> None:
    """Check that fit, validate and test run, and that every logged value is finite."""
    trainer, method, data = _fit(make_method, make_data)
    logged = dict(trainer.callback_metrics)
    _require("train/loss" in logged, f"expected train/loss to be logged, got {sorted(logged)}")
    trainer.test(method, data, verbose=False)
    logged |= trainer.callback_metrics
    for name, value in logged.items():
        _require(bool(torch.isfinite(value).all()), f"expected {name} to be finite, got {value}")
    stages = {name.partition("/")[0] for name in logged}
    _require({"train", "val", "test"} <= stages, f"expected metrics of train/, val/ and test/, got {sorted(logged)}")


def check_every_parameter_learns(make_method: MakeMethod, make_data: MakeData) -> None:
    """Check that during fit an optimizer updates every trainable parameter with a nonzero gradient."""
    steps = _Steps()
    _fit(make_method, make_data, steps)
    without_optimizer, without_gradient = steps.names_outside(steps.owned), steps.names_outside(steps.learning)
    _require(
        not without_optimizer,
        f"expected every trainable parameter in an optimizer that steps, got none for {without_optimizer}",
    )
    _require(
        not without_gradient,
        f"expected steps with a gradient on every trainable parameter, got none on {without_gradient}",
    )


def check_loss_terms_reach_the_optimizer(make_method: MakeMethod, make_data: MakeData) -> None:
    """Check that a term in ``loss_terms`` trains a parameter registered on the method, and that its value is logged."""
    weight = Parameter(torch.zeros(()))  # at zero, weight decay has no effect and no step is lost to rounding
    gradients: list[float] = []
    weight.register_hook(lambda gradient: gradients.append(gradient.item()))

    def make_method_with_term() -> Method:
        method = make_method()
        method.register_parameter("weight_of_term", weight)
        method.loss_terms["term"] = lambda batch: 2 * weight
        return method

    batches = _Batches()
    trainer, *_ = _fit(make_method_with_term, make_data, batches)
    has_gradients = len(gradients) >= batches.count and set(gradients) == {2.0}
    _require(has_gradients, f"expected the term's gradient (2) in each of {batches.count} batches, got {gradients}")
    _require(
        weight.item() < 0,
        f"expected an optimizer to move the term's parameter downhill from 0, got {weight.item():.3g}",
    )
    logged = sorted(trainer.callback_metrics)
    _require("train/term" in logged, f"expected train/term to be logged, got {logged}")


def check_checkpoint_restores_outputs(make_method: MakeMethod, make_data: MakeData) -> None:
    """Check that a fresh method with the weights of a checkpoint gives the same outputs."""
    with TemporaryDirectory() as folder:
        trainer, method, data = _fit(make_method, make_data)
        path = Path(folder) / "method.ckpt"
        trainer.save_checkpoint(path)
        seed_everything(1, verbose=False)
        restored = make_method()
        restored.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
        inputs = next(_batches(data, "val"))[input_key(method.batch_type)]
        with torch.inference_mode():
            expected, got = method.eval()(inputs), restored.eval()(inputs)
        torch.testing.assert_close(got, expected, rtol=0, atol=0)


def check_repeats_with_seed(make_method: MakeMethod, make_data: MakeData) -> None:
    """Check that two fits with the same seed have equal losses at every step."""
    runs = []
    for _ in range(2):
        losses = _Losses()
        _fit(make_method, make_data, losses)
        runs.append(losses.values)
    _require(runs[0] == runs[1], f"expected equal losses with an equal seed, got {runs[0]} and {runs[1]}")


def check_finite_in_bf16(make_method: MakeMethod, make_data: MakeData) -> None:
    """Check that losses are finite in bfloat16 mixed precision."""
    losses = _Losses()
    _fit(make_method, make_data, losses, precision="bf16-mixed")
    _require(all(map(math.isfinite, losses.values)), f"expected finite losses, got {losses.values}")


def check_overfits_one_batch(make_method: MakeMethod, make_data: MakeData) -> None:
    """Check that a hundred steps on one batch, always augmented in the same way, at least halve the loss."""
    losses = _Losses()
    _fit(make_method, lambda: _OneBatch(make_data()), losses, max_epochs=100, limit_val_batches=0)
    first, last = losses.values[0], min(losses.values[-5:])
    _require(last < first / 2, f"expected the loss to halve on one batch, got {first:.3g} at first, {last:.3g} at last")


def check_batches(make_data: MakeData) -> None:
    """Check that all batches match ``batch_type``, labels are valid, and there is one name for each class.

    Labels must be within [0, ``num_classes``) or equal to the data module's ``ignore_index`` (255 if it has none). At
    most ``MAX_BATCHES`` batches of each loader are checked, because some loaders never end.
    """
    data = make_data()
    _require(hasattr(data, "batch_type"), f"expected {type(data).__name__} to have batch_type")
    count, names = getattr(data, "num_classes", None), getattr(data, "class_names", None)
    neither_or_both = (count is None) == (names is None)
    _require(neither_or_both, f"expected num_classes and class_names or neither, got {count}, {names}")
    _require(names is None or len(names) == count, f"expected {count} class_names, got {names}")
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    for split in ("train", "val", "test"):
        num_batches = 0
        for batch in _batches(data, split):
            _check_contract(data, batch, f"batch {num_batches} of {split}_dataloader")
            num_batches += 1
        _require(num_batches > 0, f"expected batches of {split}_dataloader, got none")


METHOD_CHECKS: tuple[Callable[[MakeMethod, MakeData], None], ...] = (
    check_fits_and_tests,
    check_every_parameter_learns,
    check_loss_terms_reach_the_optimizer,
    check_checkpoint_restores_outputs,
    check_repeats_with_seed,
    check_finite_in_bf16,
)
"""Checks of a method with a data module of its batch type; the slower ``check_overfits_one_batch`` is not included."""

DATA_CHECKS: tuple[Callable[[MakeData], None], ...] = (check_batches,)
"""Checks of a data module."""


def _fit(
    make_method: MakeMethod, make_data: MakeData, callback: Callback | None = None, **settings: Any
) -> tuple[Trainer, Method, LightningDataModule]:
    seed_everything(0, verbose=False)
    method, data = make_method(), make_data()
    arguments = {
        "accelerator": "cpu",
        "max_epochs": NUM_EPOCHS,
        "limit_train_batches": 2,
        "limit_val_batches": 1,
        "limit_test_batches": 1,
        "num_sanity_val_steps": 0,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "callbacks": [callback] if callback is not None else [],
    }
    trainer = Trainer(**(arguments | settings))
    trainer.fit(method, data)
    return trainer, method, data


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)  # `python -O` removes `assert` statements


def _check_contract(data: Any, batch: Any, name: str) -> None:
    try:
        check_batch(batch, data.batch_type)
    except ValueError as error:
        raise AssertionError(f"{name}: {error}") from error
    num_classes, ignored = getattr(data, "num_classes", None), getattr(data, "ignore_index", IGNORE_INDEX)
    if num_classes is None:
        return
    for key in LABEL_KEYS & batch.keys():
        for labels in batch[key] if isinstance(batch[key], list) else [batch[key]]:
            unknown = labels[((labels < 0) | (labels >= num_classes)) & (labels != ignored)].unique().tolist()
            expected = f"expected {key} within [0, num_classes) ({num_classes}) or ignore_index ({ignored})"
            _require(not unknown, f"{name}: {expected}, got {unknown}")


def _batches(data: LightningDataModule, split: str) -> Iterator[Any]:
    loaders = getattr(data, f"{split}_dataloader")()
    for index, loader in enumerate(loaders if isinstance(loaders, list | tuple) else [loaders]):
        for batch in islice(loader, MAX_BATCHES):
            # Lightning's loader of several ones adds the number of the batch and of the loader
            yield data.on_after_batch_transfer(batch[0] if isinstance(loader, CombinedLoader) else batch, index)


class _OneBatch(LightningDataModule):
    """A data module that repeats the first training batch of another one."""

    def __init__(self, data: LightningDataModule) -> None:
        super().__init__()
        self.data = data

    def prepare_data(self) -> None:
        self.data.prepare_data()

    def setup(self, stage: str) -> None:
        self.data.setup(stage)

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader([next(_batches(self.data, "train"))], batch_size=None)  # pyright: ignore[reportArgumentType]


class _Losses(Callback):
    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.values.append(float(outputs["loss"]))


class _Batches(Callback):
    """Counts the batches of a training."""

    count = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.count += 1


class _Steps(Callback):
    """Records which trainable parameters the optimizers have, and which they update with a nonzero gradient.

    The gradients are inspected at the step itself. There weight decay does not count, and gradients that a method
    dropped are gone. Comparing the parameters before and after a step is not enough, because rounding in float32 can
    hide a small step.
    """

    def __init__(self) -> None:
        self.trainable: dict[str, Parameter] = {}
        self.owned: set[Parameter] = set()
        self.learning: set[Parameter] = set()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.trainable = {name: value for name, value in pl_module.named_parameters() if value.requires_grad}
        for optimizer in trainer.optimizers:
            optimizer.register_step_post_hook(self._note)

    def names_outside(self, parameters: set[Parameter]) -> list[str]:
        return [name for name, value in self.trainable.items() if value not in parameters]

    def _note(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        for group in optimizer.param_groups:
            self.owned.update(group["params"])
            if group.get("lr") != 0:
                self.learning.update(value for value in group["params"] if _has_gradient(value))


def _has_gradient(parameter: Parameter) -> bool:
    return parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)  # False for NaN
