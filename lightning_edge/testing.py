"""Conformance: what every method and every data module must do, as checks that authors of plug-ins run too.

For example::

    import pytest
    from lightning_edge.testing import DATA_CHECKS, METHOD_CHECKS

    @pytest.mark.parametrize("check", METHOD_CHECKS)
    def test_my_method(check):
        check(lambda: MyMethod(net=MyNet(num_classes=4)), lambda: MyDataModule(batch_size=2))

A check takes functions that make a *fresh* method and data module, both tiny, and raises ``AssertionError`` that says
what was expected.
"""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer, seed_everything
from torch import Tensor

from lightning_edge.contracts import check_batch, input_key
from lightning_edge.methods.base import Method

MakeMethod = Callable[[], Method]
MakeData = Callable[[], LightningDataModule]

NUM_EPOCHS = 2
"""Enough for a method of two stages to be in the second one."""


def check_fits_and_tests(make_method: MakeMethod, make_data: MakeData) -> None:
    """Fit, validate and test run, and every logged value is finite."""
    trainer, method, data = _fit(make_method, make_data)
    logged = dict(trainer.callback_metrics)
    assert "train/loss" in logged, f"expected train/loss to be logged, got {sorted(logged)}"
    trainer.test(method, data, verbose=False)
    logged |= trainer.callback_metrics
    for name, value in logged.items():
        assert torch.isfinite(value).all(), f"expected {name} to be finite, got {value}"
    stages = {name.partition("/")[0] for name in logged}
    assert {"train", "val", "test"} <= stages, f"expected metrics of train/, val/ and test/, got {sorted(logged)}"


def check_every_parameter_learns(make_method: MakeMethod, make_data: MakeData) -> None:
    """During a fit every trainable parameter has a gradient that is not zero at least once."""
    gradients = _GradientSums()
    _fit(make_method, make_data, gradients)
    idle = [name for name, total in gradients.sums.items() if not total > 0]
    assert not idle, f"expected a gradient for every trainable parameter, got none for {idle}"


def check_loss_terms_reach_the_optimizer(make_method: MakeMethod, make_data: MakeData) -> None:
    """The gradient of a term that a callback registers arrives, and its value is logged."""
    weight = torch.nn.Parameter(torch.tensor(3.0))
    seen: list[Tensor] = []

    class Term(Callback):
        def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
            assert isinstance(pl_module, Method)
            pl_module.loss_terms["term"] = lambda batch: 2 * weight

        def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
            assert weight.grad is not None, "expected the gradient of a term in loss_terms, got none"
            seen.append(weight.grad.clone())
            weight.grad = None

    trainer, *_ = _fit(make_method, make_data, Term())
    assert seen, "expected backward passes, got none"
    assert all(grad.item() == 2 for grad in seen), f"expected the term's gradient (2) at each step, got {seen}"
    logged = sorted(trainer.callback_metrics)
    assert "train/term" in logged, f"expected train/term to be logged, got {logged}"


def check_checkpoint_restores_outputs(make_method: MakeMethod, make_data: MakeData) -> None:
    """A fresh method with the weights of a checkpoint gives equal outputs."""
    with TemporaryDirectory() as folder:
        trainer, method, data = _fit(make_method, make_data)
        path = Path(folder) / "method.ckpt"
        trainer.save_checkpoint(path)
        seed_everything(1, verbose=False)
        restored = make_method()
        restored.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
        inputs = _first_batch(method, data)[input_key(method.batch_type)]
        with torch.inference_mode():
            expected, got = method.eval()(inputs), restored.eval()(inputs)
        torch.testing.assert_close(got, expected, rtol=0, atol=0)


def check_repeats_with_seed(make_method: MakeMethod, make_data: MakeData) -> None:
    """Two fits with one seed have equal losses at every step."""
    runs = []
    for _ in range(2):
        losses = _Losses()
        _fit(make_method, make_data, losses)
        runs.append(losses.values)
    assert runs[0] == runs[1], f"expected equal losses with an equal seed, got {runs[0]} and {runs[1]}"


def check_finite_in_bf16(make_method: MakeMethod, make_data: MakeData) -> None:
    """Losses are finite under mixed precision."""
    losses = _Losses()
    _fit(make_method, make_data, losses, precision="bf16-mixed")
    assert all(map(torch.isfinite, map(torch.tensor, losses.values))), f"expected finite losses, got {losses.values}"


def check_overfits_one_batch(make_method: MakeMethod, make_data: MakeData) -> None:
    """Forty steps on one batch at least halve the loss."""
    losses = _Losses()
    _fit(make_method, make_data, losses, max_epochs=40, limit_train_batches=1, overfit_batches=1)
    first, last = losses.values[0], min(losses.values[-5:])
    assert last < first / 2, f"expected the loss to halve on one batch, got {first:.3g} at first and {last:.3g} at last"


def check_batches(make_data: MakeData) -> None:
    """All loaders give batches as ``batch_type`` promises, and names of classes fit their number."""
    data = make_data()
    batch_type = getattr(data, "batch_type", None)
    assert batch_type is not None, f"expected {type(data).__name__} to have batch_type"
    count, names = getattr(data, "num_classes", None), getattr(data, "class_names", None)
    assert (count is None) == (names is None), f"expected num_classes and class_names or neither, got {count}, {names}"
    assert names is None or len(names) == count, f"expected {count} class_names, got {names}"
    data.setup("fit")
    data.setup("test")
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        batch = next(iter(getattr(data, name)()))
        check_batch(data.on_after_batch_transfer(batch, 0), batch_type)


METHOD_CHECKS: tuple[Callable[[MakeMethod, MakeData], None], ...] = (
    check_fits_and_tests,
    check_every_parameter_learns,
    check_loss_terms_reach_the_optimizer,
    check_checkpoint_restores_outputs,
    check_repeats_with_seed,
    check_finite_in_bf16,
)
"""Checks of a method with a data module of its batch type; ``check_overfits_one_batch`` is slower and apart."""

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


def _first_batch(method: Method, data: LightningDataModule) -> Any:
    batch = next(iter(data.val_dataloader()))
    return data.on_after_batch_transfer(batch, 0)


class _Losses(Callback):
    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.values.append(float(outputs["loss"]))


class _GradientSums(Callback):
    def __init__(self) -> None:
        self.sums: dict[str, float] = {}

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, parameter in pl_module.named_parameters():
            if parameter.requires_grad:
                gradient = 0.0 if parameter.grad is None else parameter.grad.abs().sum().item()
                self.sums[name] = self.sums.get(name, 0.0) + gradient
