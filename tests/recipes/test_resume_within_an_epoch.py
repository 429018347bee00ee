"""A run of a recipe that resumes from a checkpoint within an epoch is the run that was never interrupted."""

import csv
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback

from lightning_edge.methods import Method
from recipes import accel, anodev2, ddn, segmentation, shift

QUIET = ["--trainer.logger=false", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
WITHOUT_EVALUATION = ["--trainer.limit_val_batches=0", "--trainer.max_epochs=2"]
IMAGES = ["--data.num_samples=[44,10]", "--data.val_fraction=0", "--data.batch_size=4", "--data.num_workers=0"]
STREETS = ["--data.sample_size=[64,96]", "--data.num_samples=[6,1]", "--data.batch_size=1"]
STREETS += ["--data.num_workers=0"]
SHIFT = ["--model.net.model_options.expansion=1"]

SMALL = {
    "shift": (shift, [*IMAGES, *SHIFT]),
    "anodev2": (anodev2, IMAGES),
    "segmentation": (segmentation, STREETS),
    "accel": (accel, STREETS),
    "ddn": (ddn, [*STREETS, "--data.input_size=[64,96]"]),
}
"""Recipes by name with arguments that leave eleven or six batches in an epoch."""


def checkpoints(folder: Path, **options: object) -> list[str]:
    """Arguments that add a callback which keeps every checkpoint that it writes."""
    options = {"dirpath": folder, "filename": "{step}", "save_top_k": -1, **options}
    values = [f"--trainer.callbacks.{name}={value}" for name, value in options.items()]
    return ["--trainer.callbacks+=ModelCheckpoint", *values]


def fit(recipe, folder: Path, *arguments: str) -> dict[str, torch.Tensor]:
    """Final weights and statistics of a run."""
    recipe.main(["fit", *QUIET, f"--trainer.default_root_dir={folder}", *arguments])
    last = max(folder.rglob("last.ckpt"), key=lambda path: path.stat().st_mtime)
    return torch.load(last, weights_only=True)["state_dict"]


def assert_equal(resumed: dict[str, torch.Tensor], whole: dict[str, torch.Tensor]) -> None:
    torch.testing.assert_close(resumed, whole, rtol=0, atol=0)


@pytest.mark.parametrize(
    "name",
    [*("shift", "ddn"), *(pytest.param(name, marks=pytest.mark.slow) for name in ("anodev2", "segmentation", "accel"))],
)
def test_every_recipe(name, tmp_path):
    recipe, small = SMALL[name]
    arguments = [*small, *WITHOUT_EVALUATION]
    whole = fit(recipe, tmp_path / "whole", *arguments, *checkpoints(tmp_path / "kept", every_n_train_steps=4))
    resumed = fit(recipe, tmp_path / "resumed", *arguments, f"--ckpt_path={tmp_path}/kept/step=4.ckpt")
    assert_equal(resumed, whole)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        (["--trainer.accumulate_grad_batches=2"], [7]),
        (["--data.num_workers=2"], [4]),
        (["--trainer.reload_dataloaders_every_n_epochs=1"], [15]),
        (["--trainer.limit_train_batches=6"], [9]),
        pytest.param(["--trainer.max_steps=18"], [4, 15], marks=pytest.mark.slow),
    ],
    ids=lambda value: value[0].split(".")[-1] if isinstance(value[0], str) else "",
)
def test_every_setting_of_the_trainer(options, steps, tmp_path):
    arguments = [*IMAGES, *SHIFT, *WITHOUT_EVALUATION, *options]
    whole = fit(shift, tmp_path / "whole", *arguments, *checkpoints(tmp_path / "kept", every_n_train_steps=1))
    for step in steps:
        resumed = fit(shift, tmp_path / f"from_{step}", *arguments, f"--ckpt_path={tmp_path}/kept/step={step}.ckpt")
        assert_equal(resumed, whole)


def test_batches_to_overfit_resume_at_the_end_of_an_epoch_only(tmp_path):
    """Lightning replaces the sampler, and the new one begins at the first batch."""
    arguments = [*IMAGES, *SHIFT, *WITHOUT_EVALUATION, "--trainer.overfit_batches=3"]
    whole = fit(shift, tmp_path / "whole", *arguments, *checkpoints(tmp_path / "kept", every_n_train_steps=1))
    for step, used in ((2, 2), (4, 1)):
        message = rf"a checkpoint of the end of an epoch, got one after batch {used} of 3\. Lightning replaces"
        with pytest.raises(ValueError, match=message):
            fit(shift, tmp_path / f"from_{step}", *arguments, f"--ckpt_path={tmp_path}/kept/step={step}.ckpt")
    assert_equal(fit(shift, tmp_path / "from_3", *arguments, f"--ckpt_path={tmp_path}/kept/step=3.ckpt"), whole)


class EveryBatch(Callback):
    """Writes a checkpoint after every batch, as one of a time interval may be written after any."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        trainer.save_checkpoint(self.folder / f"epoch={trainer.current_epoch}-batch={batch_idx}.ckpt")


@pytest.mark.parametrize("num_samples", [44, 36], ids=["some_are_left", "all_make_steps"])
def test_a_checkpoint_between_two_steps(num_samples, tmp_path):
    """Of the three batches of a step the first ones are processed: their gradients must not be lost."""
    arguments = [*IMAGES, f"--data.num_samples=[{num_samples},10]", *SHIFT, *WITHOUT_EVALUATION]
    arguments += ["--trainer.accumulate_grad_batches=3"]
    every_batch = [f"--trainer.callbacks+={__name__}.EveryBatch", f"--trainer.callbacks.folder={tmp_path}/kept"]
    whole = fit(shift, tmp_path / "whole", *arguments, *every_batch)
    for name in ("epoch=0-batch=3", "epoch=1-batch=7"):
        assert_equal(fit(shift, tmp_path / name, *arguments, f"--ckpt_path={tmp_path}/kept/{name}.ckpt"), whole)


class StopAt(Callback):
    """Ends the training after a batch, as ``max_time`` does after any."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.current_epoch == 1 and batch_idx == self.batch:
            trainer.should_stop = True


@pytest.mark.parametrize("batch", [4, 8], ids=["within", "at_the_end"])
def test_a_checkpoint_of_a_training_that_was_stopped_within_an_epoch(batch, tmp_path):
    arguments = [*IMAGES, *SHIFT, *WITHOUT_EVALUATION, "--trainer.limit_train_batches=9", "--trainer.max_epochs=3"]
    whole = fit(shift, tmp_path / "whole", *arguments)
    stop = [f"--trainer.callbacks+={__name__}.StopAt", f"--trainer.callbacks.batch={batch}"]
    fit(shift, tmp_path / "stopped", *arguments, *stop)
    last = next((tmp_path / "stopped").rglob("last.ckpt"))
    assert torch.load(last, weights_only=True)["global_step"] == 9 + batch + 1
    assert_equal(fit(shift, tmp_path / "resumed", *arguments, f"--ckpt_path={last}"), whole)


@pytest.mark.parametrize("accumulate", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_checkpoint_of_a_validation_within_an_epoch(accumulate, tmp_path):
    arguments = [*IMAGES, *SHIFT, "--trainer.max_epochs=2", "--trainer.val_check_interval=4"]
    arguments += [f"--trainer.accumulate_grad_batches={accumulate}", "--trainer.limit_val_batches=1"]
    after_validation = checkpoints(tmp_path / "kept", filename="{epoch}-{step}", mode="max")
    whole = fit(shift, tmp_path / "whole", *arguments, *after_validation)
    kept = sorted((tmp_path / "kept").glob("*.ckpt"))
    assert len(kept) == 4
    for path in kept[::2]:
        assert_equal(fit(shift, tmp_path / path.stem, *arguments, f"--ckpt_path={path}"), whole)


def validations(folder: Path) -> dict[int, str]:
    """The validation losses that a run logged, by the number of the step before them."""
    [path] = folder.rglob("metrics.csv")
    with path.open(encoding="utf-8") as file:
        return {int(row["step"]): row["val/loss"] for row in csv.DictReader(file) if row.get("val/loss")}


def test_a_checkpoint_of_a_batch_before_a_validation(tmp_path):
    """The validation follows in the resumed run: within an epoch, at the end of one, and at the end of the training."""
    arguments = [*IMAGES, *SHIFT, "--trainer.max_epochs=2", "--trainer.limit_train_batches=4"]
    arguments += ["--trainer.val_check_interval=2", "--trainer.limit_val_batches=1", "--trainer.log_every_n_steps=1"]
    arguments += ["--trainer.logger=CSVLogger", "--trainer.logger.save_dir=runs"]
    whole = fit(shift, tmp_path / "whole", *arguments, *checkpoints(tmp_path / "kept", every_n_train_steps=2))
    expected = validations(tmp_path / "whole")
    assert list(expected) == [1, 3, 5, 7]
    after_validation = checkpoints(tmp_path / "again", filename="{epoch}-{step}", mode="max")
    for step in (2, 4, 8):
        kept, folder = f"--ckpt_path={tmp_path}/kept/step={step}.ckpt", tmp_path / f"from_{step}"
        assert_equal(fit(shift, folder, *arguments, kept, *(after_validation if step == 2 else [])), whole)
        assert validations(folder) == {last: loss for last, loss in expected.items() if last >= step - 1}
    fit(shift, tmp_path / "twice", *arguments, f"--ckpt_path={tmp_path}/again/epoch=0-step=2.ckpt")
    assert list(validations(tmp_path / "twice")) == [3, 5, 7]  # the one after step 2 was complete
    with pytest.warns(UserWarning, match=r"after the last step \(max_steps=4\) and before the validation"):
        shift.main(["fit", *QUIET, *arguments, "--trainer.max_steps=4", f"--ckpt_path={tmp_path}/kept/step=4.ckpt"])


@pytest.mark.parametrize(
    ("accumulate", "num_workers"),
    [(1, 0), (3, 2), *(pytest.param(*both, marks=pytest.mark.slow) for both in ((1, 2), (3, 0)))],
)
def test_a_checkpoint_of_a_step_that_failed(accumulate, num_workers, tmp_path, monkeypatch):
    """The batch of that step has not been learned from: it comes again."""
    arguments = [*IMAGES, *SHIFT, *WITHOUT_EVALUATION, f"--trainer.accumulate_grad_batches={accumulate}"]
    arguments += [f"--data.num_workers={num_workers}"]
    whole = fit(shift, tmp_path / "whole", *arguments)
    on_exception = ["--trainer.callbacks+=OnExceptionCheckpoint", f"--trainer.callbacks.dirpath={tmp_path}/kept"]
    with monkeypatch.context() as patch:
        patch.setattr(Method, "training_step", _fail_at(4))
        with pytest.raises(RuntimeError, match="power cut"):
            fit(shift, tmp_path / "failed", *arguments, *on_exception)
    checkpoint = next((tmp_path / "kept").glob("*.ckpt"))
    assert_equal(fit(shift, tmp_path / "resumed", *arguments, f"--ckpt_path={checkpoint}"), whole)


def _fail_at(batch):
    training_step = Method.training_step

    def fail(method, data, batch_idx):
        if batch_idx == batch:
            raise RuntimeError("power cut")
        return training_step(method, data, batch_idx)

    return fail
