"""The time per batch and its parts, for any module and any loader."""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from typing_extensions import override

from callbacks._latency_report import MARKS, Laps, metrics, summarize, table
from callbacks._training.batch import first_dimension
from callbacks._training.flop_counter import FlopCounter
from callbacks._training.profiler_actions import part_of_action, start_listening, stop_listening
from lightning_edge.atomic_files import replace_file
from lightning_edge.checks import check_at_least
from lightning_edge.machine import count_parameters, machine_facts, peak_memory_bytes
from lightning_edge.timing import read_clock_ms

STAGES = ("train", "val", "test", "predict")


class LatencyMonitor(Callback):
    """Measures every stage of a trainer, batch by batch, and splits each batch into parts.

    The device is synchronized at each border between parts. Otherwise the time of a GPU's work would count for the part
    that waits for it first. Synchronization prevents copying and computing at the same time, so leave ``"train"`` out
    of ``stages`` if training must not slow down. A percentile is given with a 95 % interval or not at all. Batches of
    another size than the most common one (such as the last batch, or those of another loader) are left out, and the
    table shows their number. The sanity check is never measured.

    At the end of a stage, the values below are logged. At the end of a run, a table is printed and ``latency.json`` is
    written to its folder; both also have the intervals and the machine. With several processes, each measures itself,
    and the first one reports. Nothing is saved in checkpoints, because times of two sessions, perhaps on two machines,
    must not be combined.

    ==================================  ==========================================================  ===============
    key (stage: train, val, ...)        meaning                                                     unit
    ==================================  ==========================================================  ===============
    ``val/latency_ms_p50, _p95, _p99``  transfer + forward: from host memory to the result          ms a batch
    ``train/update_ms_p50, ...``        forward, backward and optimizer; instead of latency         ms a batch
    ``val/load_ms_p50``                 waiting for the loader                                      ms a batch
    ``val/transfer_ms_p50``             to the device, with the hooks before and after              ms a batch
    ``val/forward_ms_p50``              ``validation_step`` and its like, with loss and metrics     ms a batch
    ``val/post_ms_p50``                 the rest until the next load: hooks, callbacks, logging     ms a batch
    ``val/throughput_per_s``            samples over the sum of all parts, on one device            samples/s
    ``val/flops_per_sample``            operations of the step, multiply-add = 2; in training       operations
                                        with the backward pass
    ``val/num_parameters``              parameters of the module, trainable or not                  parameters
    ``val/peak_memory_bytes``           CUDA: most allocated since this run began (the counter      bytes
                                        is reset); CPU: most resident memory of the process ever
    ==================================  ==========================================================  ===============

    Args:
        warmup_batches: Number of batches at the first start of a stage that do not count. Operations are counted on the
            first of them, so 0 disables that count.
        batch_size: Number of samples in a batch; ``None`` takes the first dimension of the batch's first tensor.
        stages: Stages to measure, out of ``train``, ``val``, ``test`` and ``predict``.
    """

    def __init__(self, warmup_batches: int = 5, batch_size: int | None = None, stages: Sequence[str] = STAGES) -> None:
        if isinstance(stages, str):
            raise ValueError(f"expected stages as a list of some of {STAGES}, got the text {stages!r}")
        if unknown := set(stages) - set(STAGES):
            raise ValueError(f"expected stages out of {STAGES}, got {sorted(unknown)}")
        check_at_least(0, warmup_batches=warmup_batches)
        self.warmup_batches = warmup_batches
        self.batch_size = batch_size
        self.stages = tuple(stages)
        self._laps: dict[str, Laps] = {}
        self._flops_per_batch: dict[str, int] = {}
        self._flop_counter: FlopCounter | None = None
        self._device = torch.device("cpu")
        self._folder: str | None = None
        self._reports: dict[str, dict[str, Any]] = {}

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._laps, self._flops_per_batch = {}, {}
        self._device = trainer.strategy.root_device
        if self._folder != trainer.log_dir:
            self._folder, self._reports = trainer.log_dir, {}
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        start_listening(trainer, lambda action, begins: self._on_action(trainer, action, begins))

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._note_batch_size(trainer, batch)

    @override
    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._note_batch_size(trainer, batch)

    @override
    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._note_batch_size(trainer, batch)

    @override
    def on_predict_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._note_batch_size(trainer, batch)

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if "train" in self._laps:  # the validation belongs to no training batch
            self._laps["train"].close(read_clock_ms(self._device))

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log(trainer, pl_module)

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log(trainer, pl_module)

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log(trainer, pl_module)

    @override
    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log(trainer, pl_module)

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        stop_listening(trainer)
        self._write_reports(trainer, pl_module)

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        stop_listening(trainer)
        if isinstance(exception, KeyboardInterrupt):  # the measurements until then are valid
            self._write_reports(trainer, pl_module)

    def _write_reports(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print and write the reports of all stages."""
        if self._laps and trainer.is_global_zero:
            reports = {name: self._report(name, pl_module) for name in self._laps}
            Console().print(table(reports))
            if self._folder is not None and not getattr(trainer, "fast_dev_run", False):
                self._reports |= reports  # a fit and the test after it share the file
                _write_json(Path(self._folder) / "latency.json", self._reports)

    def _on_action(self, trainer: Trainer, action: str, begins: bool) -> None:
        mark = _mark_of(action, begins)
        stage = self._stage(trainer) if mark is not None else None
        if mark is None or stage is None:
            return
        laps = self._laps.setdefault(stage, Laps())
        if mark == "step_start" and self.warmup_batches > 0 and stage not in self._flops_per_batch:
            self._flop_counter = FlopCounter().__enter__()
        laps.mark(mark, read_clock_ms(self._device))
        if mark == "step_end" and self._flop_counter is not None:
            self._flop_counter.__exit__(None, None, None)
            self._flops_per_batch[stage] = self._flop_counter.get_total_flops()
            self._flop_counter = None

    def _note_batch_size(self, trainer: Trainer, batch: Any) -> None:
        stage = self._stage(trainer)
        if stage in self._laps:
            self._laps[stage].batch_size = self.batch_size or first_dimension(batch)

    def _log(self, trainer: Trainer, pl_module: LightningModule) -> None:
        stage = self._stage(trainer)
        if stage not in self._laps or trainer.barebones:
            return
        self._laps[stage].close(read_clock_ms(self._device))
        values = metrics(stage, self._report(stage, pl_module))
        if stage == "predict":  # Lightning does not allow `log` in this stage
            for logger in trainer.loggers:
                logger.log_metrics(values, step=trainer.global_step)
        else:  # both flags together avoid a reduction over processes and a warning about it
            pl_module.log_dict(values, batch_size=1, sync_dist=True, rank_zero_only=True)

    def _stage(self, trainer: Trainer) -> str | None:
        stage = trainer.state.stage
        if stage is None or trainer.sanity_checking or stage.dataloader_prefix not in self.stages:
            return None
        return stage.dataloader_prefix

    def _report(self, stage: str, pl_module: LightningModule) -> dict[str, Any]:
        laps = self._laps[stage].finished
        report = {"device": str(self._device)} | summarize(stage, laps, self.warmup_batches)
        if stage in self._flops_per_batch and laps and laps[0].batch_size:
            report["flops_per_sample"] = self._flops_per_batch[stage] / laps[0].batch_size
        return report | {
            "num_parameters": count_parameters(pl_module),
            "peak_memory_bytes": peak_memory_bytes(self._device),
            "machine": machine_facts(),
        }


@lru_cache(maxsize=1024)
def _mark_of(action: str, begins: bool) -> str | None:
    mark = f"{part_of_action(action)}_{'start' if begins else 'end'}"
    return mark if mark in MARKS else None


def _write_json(path: Path, reports: dict[str, dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, (json.dumps(reports, indent=2) + "\n").encode())
