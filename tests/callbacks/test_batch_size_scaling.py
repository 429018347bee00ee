"""One run to a target: what is recorded, when it ends, and that it goes on after a stop."""

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from line_of_losses import Line, fit
from torch.utils.data import DataLoader
from toys import make_trainer

from callbacks import BatchSizeScaling, GradientNoiseScale
from lightning_edge.analysis.scaling_run import ScalingRun, read_run, write_run


def test_a_run_ends_at_its_target_and_logs_the_step(tmp_path, caplog):
    # a step lowers the loss by 0.1: 1.45 is halfway between steps 5 and 6
    caplog.set_level("INFO")
    trainer = fit(tmp_path, Line(), BatchSizeScaling(target=1.45, every_n_examples=4, window=1))
    run = read_run(tmp_path)
    assert trainer.global_step == 6
    assert run.metadata.outcome == "reached"
    assert run.time_to_target(1.45, "train") == pytest.approx(5.5)
    assert run.time_to_target(1.45, "train", "examples") == pytest.approx(22)
    assert [row.step for row in run.evaluations] == list(range(7))
    np.testing.assert_allclose(run.columns["train_loss"], 2 - 0.1 * np.arange(7), rtol=1e-6)
    assert "batch size 4: the train loss reached 1.45 after 6 steps" in caplog.text


def test_the_median_of_several_evaluations_delays_the_end_but_not_the_step(tmp_path):
    trainer = fit(tmp_path, Line(), BatchSizeScaling(target=1.45, every_n_examples=4, window=3))
    assert trainer.global_step == 7  # the next evaluation confirms it
    assert read_run(tmp_path).time_to_target(1.45, "train") == pytest.approx(5.5)


def test_what_is_not_reached_in_all_steps_is_kept_and_said(tmp_path):
    with pytest.warns(UserWarning, match="did not reach 1 in 8 steps"):
        fit(tmp_path, Line(), BatchSizeScaling(target=1.0, every_n_examples=4), num_steps=8)
    run = read_run(tmp_path)
    assert (run.metadata.outcome, run.num_steps, run.time_to_target(1.0, "train")) == ("budget", 8, math.inf)


def test_a_loss_that_is_no_number_ends_the_run_and_is_said(tmp_path):
    with pytest.warns(UserWarning, match="the loss is not finite from step 3 on"):
        trainer = fit(tmp_path, Line(broken_at=3), BatchSizeScaling(target=1.0, every_n_examples=4))
    run = read_run(tmp_path)
    assert trainer.global_step == 3
    assert run.metadata.outcome == "diverged"
    assert [math.isnan(row.train_loss) for row in run.evaluations] == [False, False, False, True]


def test_evaluations_lie_at_the_same_examples_for_all_batch_sizes(tmp_path):
    actual = {}
    for size, num_steps in ((2, 40), (4, 20), (16, 5)):
        fit(tmp_path / str(size), Line(), BatchSizeScaling(every_n_examples=10), batch_size=size, num_steps=num_steps)
        actual[size] = [row.examples for row in read_run(tmp_path / str(size)).evaluations]
    assert actual[2] == [0, 10, 20, 30, 40, 50, 60, 70, 80]
    assert actual[4] == [0, 12, 20, 32, 40, 52, 60, 72, 80]  # the first step at or after each
    assert actual[16] == [0, 16, 32, 48, 64, 80]  # every step


def test_accumulated_batches_are_one_step(tmp_path):
    options = {"accumulate_grad_batches": 4, "batch_size": 2, "num_steps": 5}
    fit(tmp_path, Line(), BatchSizeScaling(every_n_examples=1), **options)
    run = read_run(tmp_path)
    assert (run.metadata.batch_size, run.metadata.micro_batch_size) == (8, 2)
    assert [(row.step, row.examples) for row in run.evaluations] == [(step, 8 * step) for step in range(6)]
    assert run.evaluations[-1].epoch == pytest.approx(0.2)


def test_two_processes_count_the_examples_of_both(tmp_path):
    options = {"strategy": "ddp_fork", "devices": 2, "num_steps": 5}
    fit(tmp_path, Line(), BatchSizeScaling(every_n_examples=1), **options)
    run = read_run(tmp_path)
    assert (run.metadata.batch_size, run.metadata.num_processes) == (8, 2)
    assert [row.examples for row in run.evaluations] == [0, 8, 16, 24, 32, 40]
    np.testing.assert_allclose(run.columns["train_loss"], 2 - 0.1 * np.arange(6), rtol=1e-6)


def test_a_noise_scale_beside_it_is_recorded(tmp_path):
    noise = GradientNoiseScale(every_n_steps=1)

    class Uncertain(Line):
        def training_step(self, batch, batch_idx):
            return ((1 + 0.2 * torch.arange(len(batch))) * self.weight).mean()  # whose examples disagree

    fit(tmp_path, Uncertain(), None, callbacks=[BatchSizeScaling(every_n_examples=4), noise], num_steps=3)
    scales = read_run(tmp_path).columns["noise_scale"]
    assert math.isnan(scales[0])
    assert np.isfinite(scales[1:]).all()
    assert scales[-1] == noise.noise_scale


def test_a_stopped_run_goes_on_with_its_evaluations(tmp_path):
    options = {"every_n_examples": 4, "target": 0.85, "window": 1}
    fit(tmp_path / "whole", Line(), BatchSizeScaling(**options))
    whole = read_run(tmp_path / "whole")
    stopped = BatchSizeScaling(**options)
    saving = ModelCheckpoint(tmp_path / "parts", every_n_train_steps=1, filename="last", enable_version_counter=False)
    fit(tmp_path / "parts", Line(), stopped, num_steps=5, callbacks=[stopped, saving], enable_checkpointing=True)
    trainer = make_trainer(
        tmp_path / "parts",
        logger=CSVLogger(tmp_path / "parts", name="", version=0),
        callbacks=[BatchSizeScaling(**options)],
        max_epochs=-1,
        max_steps=20,
        limit_val_batches=0,
    )
    loader = DataLoader(torch.ones(200, 1), batch_size=4)
    trainer.fit(Line(), loader, ckpt_path=tmp_path / "parts" / "last.ckpt")
    parts = read_run(tmp_path / "parts")
    expected, actual = ([row[:3] + row[4:5] for row in run.evaluations] for run in (whole, parts))
    assert actual == expected  # but for seconds
    seconds = parts.columns["seconds"]
    assert (np.diff(seconds) >= 0).all()


def test_a_run_that_was_stopped_at_its_last_step_has_ended(tmp_path):
    saving = ModelCheckpoint(tmp_path, every_n_train_steps=1, filename="last", enable_version_counter=False)
    scaling = BatchSizeScaling(every_n_examples=4, target=0.85)
    fit(tmp_path, Line(), scaling, num_steps=5, callbacks=[scaling, saving], enable_checkpointing=True)
    ended = read_run(tmp_path)
    write_run(ScalingRun(replace(ended.metadata, outcome="running"), ended.evaluations), tmp_path)
    loader = DataLoader(torch.ones(200, 1), batch_size=4)
    again = [BatchSizeScaling(every_n_examples=4, target=0.85)]
    trainer = make_trainer(
        tmp_path, logger=CSVLogger(tmp_path, name="", version=0), callbacks=again, max_epochs=-1, max_steps=5
    )
    trainer.fit(Line(), loader, ckpt_path=tmp_path / "last.ckpt")
    assert ended.metadata.outcome == "budget"
    assert read_run(tmp_path).metadata == ended.metadata


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": math.nan}, "target to be a finite loss or None, got nan"),
        ({"num_samples": 0}, "num_samples, every_n_examples and eval_batch_size of at least 1, got 0, 5000, 100"),
        ({"eval_batch_size": 0}, "eval_batch_size of at least 1, got 1000, 5000, 0"),
        ({"window": 2}, "window to be odd and at least 1, got 2"),
        ({"linear_error_every": -1}, "linear_error_every of at least 0, got -1"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        BatchSizeScaling(**arguments)


def test_a_module_without_a_loss_and_a_split_without_data_are_refused(tmp_path):
    class Other(Line):
        loss = None

    with pytest.raises(ValueError, match=r"expected a module with loss\(batch\), got Other, which has none"):
        fit(tmp_path, Other(), BatchSizeScaling())
    with pytest.raises(ValueError, match="expected data to evaluate split 'val' on, got none"):
        fit(tmp_path, Line(), BatchSizeScaling(split="val"))


def test_the_last_step_is_evaluated_and_all_losses_are_logged(tmp_path):
    fit(tmp_path, Line(), BatchSizeScaling(every_n_examples=16, linear_error_every=1), num_steps=7)
    run = read_run(tmp_path)
    assert [row.step for row in run.evaluations] == [0, 4, 7]
    with (tmp_path / "version_0/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    logged = {int(row["step"]): float(row["scaling/train_loss"]) for row in rows if row["scaling/train_loss"]}
    assert logged == pytest.approx({row.step: row.train_loss for row in run.evaluations})
    assert any(row["scaling/linear_error"] for row in rows)
    assert max(float(row["scaling/examples"]) for row in rows) == 28


def test_processes_with_batches_of_different_sizes_end_together(tmp_path):
    class Uneven(Line):
        def train_dataloader(self):
            return DataLoader(torch.ones(60, 1), batch_size=4 - self.trainer.global_rank)

    trainer = make_trainer(
        tmp_path,
        logger=CSVLogger(tmp_path, name="", version=0),
        callbacks=[BatchSizeScaling(every_n_examples=10, num_samples=10)],
        strategy="ddp_fork",
        devices=2,
        use_distributed_sampler=False,
        max_steps=6,
        max_epochs=-1,
    )
    trainer.fit(Uneven())
    assert [row.examples for row in read_run(tmp_path).evaluations] == [0, 14, 21, 35, 42]


def test_seconds_are_those_of_training_alone(tmp_path, clock):
    class Slow(Line):
        def loss(self, batch):
            clock.advance_ms(10_000)
            return super().loss(batch)

        def training_step(self, batch, batch_idx):
            clock.advance_ms(100)
            return super().training_step(batch, batch_idx)

    scaling, noise = BatchSizeScaling(every_n_examples=8), GradientNoiseScale(every_n_steps=1)
    fit(tmp_path, Slow(), scaling, num_steps=6, callbacks=[scaling])
    assert read_run(tmp_path).columns["seconds"] == pytest.approx([0, 0.2, 0.4, 0.6])
    fit(tmp_path, Slow(), scaling, num_steps=6, callbacks=[scaling, noise])
    assert noise.seconds == pytest.approx(6 * 0.2)  # each batch once more, in two parts
    assert read_run(tmp_path).columns["seconds"] == pytest.approx([0, 0.2, 0.4, 0.6])


def test_a_second_training_begins_anew(tmp_path):
    callback = BatchSizeScaling(target=1.45, every_n_examples=4, window=1)
    for folder in ("first", "second"):
        fit(tmp_path / folder, Line(), callback)
    first, second = (read_run(tmp_path / folder) for folder in ("first", "second"))
    assert [row.step for row in second.evaluations] == [row.step for row in first.evaluations]


def test_manual_optimization_is_refused(tmp_path):
    module = Line()
    module.automatic_optimization = False
    with pytest.raises(ValueError, match="expected automatic optimization, got Line"):
        fit(tmp_path, module, BatchSizeScaling())


def test_numbers_that_leave_their_range_at_once_are_a_run_that_diverged(tmp_path):
    class Breaks(Line):
        def loss(self, batch):
            raise FloatingPointError("not finite")

    class BreaksInItsFirstStep(Line):
        def training_step(self, batch, batch_idx):
            raise FloatingPointError("not finite")

    for kind, size, num_rows in ((Breaks, 0, 1), (BreaksInItsFirstStep, 4, 2)):
        with pytest.raises(FloatingPointError):
            fit(tmp_path / kind.__name__, kind(), BatchSizeScaling())
        run = read_run(tmp_path / kind.__name__)
        assert (run.metadata.batch_size, run.metadata.outcome, len(run.evaluations)) == (size, "diverged", num_rows)
