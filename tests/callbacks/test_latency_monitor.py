"""A faked clock moves only inside the module and the loader, so that every logged number is known exactly."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_clock import FakeClock
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.profilers import PassThroughProfiler, SimpleProfiler
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from callbacks.latency_monitor import LatencyMonitor

pytestmark = pytest.mark.filterwarnings("ignore::lightning.pytorch.utilities.warnings.PossibleUserWarning")


class SlowRows:
    """Rows of four ones; reading one takes 7 ms."""

    def __init__(self, clock: FakeClock, num_rows: int) -> None:
        self.clock, self.num_rows = clock, num_rows

    def __len__(self) -> int:
        return self.num_rows

    def __getitem__(self, index: int) -> Tensor:
        if index >= self.num_rows:
            raise IndexError(index)
        self.clock.advance_ms(7)
        return torch.ones(4)


class SlowStream(IterableDataset[Tensor]):
    def __init__(self, clock: FakeClock, num_rows: int) -> None:
        self.rows = SlowRows(clock, num_rows)

    def __iter__(self) -> Iterator[Tensor]:
        return iter([self.rows[index] for index in range(len(self.rows))])


class SlowModule(LightningModule):
    """Each hook takes a time of its own; the n-th batch's step takes n ms longer than the first."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock
        self.net = nn.Linear(4, 2, bias=False)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        self.clock.advance_ms(2)
        return batch

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        self.clock.advance_ms(1)
        return batch

    def on_test_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.clock.advance_ms(0.5)

    def on_test_batch_end(self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.clock.advance_ms(4)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.clock.advance_ms(10)
        return self.net(batch).square().mean()

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.clock.advance_ms(20)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.clock.advance_ms(100)
        self.net(batch)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.clock.advance_ms(30 + batch_idx)
        self.net(batch)

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.clock.advance_ms(50)
        return self.net(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def make_trainer(folder: Path, *callbacks: Callback, logger: Logger | bool = False, **options: Any) -> Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    options = {"accelerator": "cpu", "max_epochs": 1, "default_root_dir": folder, "logger": logger} | quiet | options
    return Trainer(callbacks=list(callbacks), **options)


def read_report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "latency.json").read_text())


def test_test_stage_is_split_exactly(tmp_path: Path, clock: FakeClock) -> None:
    trainer = make_trainer(tmp_path, LatencyMonitor(warmup_batches=2))
    loader = DataLoader(SlowRows(clock, 2 * 9), batch_size=2)
    logged = trainer.test(SlowModule(clock), loader, verbose=False)[0]

    steps = [32, 33, 34, 35, 36, 37, 38]
    assert {key: logged[f"test/{key}"] for key in ("load_ms_p50", "transfer_ms_p50", "post_ms_p50")} == {
        "load_ms_p50": 14.0,
        "transfer_ms_p50": 3.0,
        "post_ms_p50": 4.5,
    }
    assert logged["test/forward_ms_p50"] == 35.0
    assert logged["test/latency_ms_p50"] == 38.0
    whole_ms = sum(14 + 3 + step + 4.5 for step in steps)
    assert logged["test/throughput_per_s"] == pytest.approx(1000 * 2 * 7 / whole_ms, rel=1e-6)
    assert logged["test/flops_per_sample"] == 2 * 4 * 2
    assert logged["test/num_parameters"] == 8

    report = read_report(tmp_path)["test"]
    assert report["parts_ms"]["latency"] == {"mean": 38.0, "p50": {"value": 38.0, "low": 35.0, "high": 41.0}}
    assert (report["batch_size"], report["num_batches"], report["num_warmup_batches"]) == (2, 7, 2)
    assert report["machine"]["torch"] == torch.__version__


def test_percentiles_with_too_few_batches_are_left_out_and_the_reason_is_said(
    tmp_path: Path, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = make_trainer(tmp_path, LatencyMonitor(warmup_batches=0))
    logged = trainer.test(SlowModule(clock), DataLoader(SlowRows(clock, 72)), verbose=False)[0]
    assert logged["test/latency_ms_p95"] == pytest.approx(33 + 0.95 * 71)
    assert "test/latency_ms_p99" not in logged
    assert "test/flops_per_sample" not in logged
    assert read_report(tmp_path)["test"]["left_out"] == ["p99 needs 368 batches after warm-up"]
    assert "".join(capsys.readouterr().out.split()).count("p99needs368batches") == 1


def test_training_is_measured_apart_from_the_validation_within(tmp_path: Path, clock: FakeClock) -> None:
    trainer = make_trainer(tmp_path, LatencyMonitor(warmup_batches=1), max_epochs=2, val_check_interval=2)
    loaders = DataLoader(SlowRows(clock, 8)), DataLoader(SlowRows(clock, 3))
    trainer.fit(SlowModule(clock), *loaders)

    report = read_report(tmp_path)
    assert report["train"]["num_batches"] == 2 * 8 - 1
    assert report["val"]["num_batches"] == 2 * 4 * 3 - 1
    assert {name: part["mean"] for name, part in report["train"]["parts_ms"].items()} == {
        "load": 7.0,
        "transfer": 3.0,
        "update": 30.0,
        "post": 0.0,
    }
    assert {name: part["mean"] for name, part in report["val"]["parts_ms"].items()} == {
        "load": 7.0,
        "transfer": 3.0,
        "forward": 100.0,
        "post": 0.0,
        "latency": 103.0,
    }
    assert trainer.callback_metrics["train/update_ms_p50"] == 30.0
    assert trainer.callback_metrics["val/latency_ms_p50"] == 103.0
    assert report["train"]["flops_per_sample"] == 2 * (2 * 4 * 2)


def test_predict_goes_to_the_loggers(tmp_path: Path, clock: FakeClock) -> None:
    trainer = make_trainer(tmp_path, LatencyMonitor(warmup_batches=1), logger=CSVLogger(tmp_path))
    trainer.predict(SlowModule(clock), DataLoader(SlowRows(clock, 7)))
    assert trainer.log_dir is not None
    header, row = (Path(trainer.log_dir) / "metrics.csv").read_text().splitlines()
    assert dict(zip(header.split(","), row.split(","), strict=True))["predict/latency_ms_p50"] == "53.0"
    assert read_report(Path(trainer.log_dir))["predict"]["num_batches"] == 6


def test_a_smaller_last_batch_is_left_out(tmp_path: Path, clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = make_trainer(tmp_path, LatencyMonitor(warmup_batches=0))
    trainer.test(SlowModule(clock), DataLoader(SlowRows(clock, 22), batch_size=3), verbose=False)
    report = read_report(tmp_path)["test"]
    assert (report["batch_size"], report["num_batches"], report["num_batches_of_other_size"]) == (3, 7, 1)
    assert "7 batches of 3 after 0 for warm-up, 1 of another size left out" in " ".join(capsys.readouterr().out.split())


def test_a_loader_without_length_is_read_ahead_by_one(tmp_path: Path, clock: FakeClock) -> None:
    trainer = make_trainer(tmp_path, LatencyMonitor(warmup_batches=0))
    trainer.fit(SlowModule(clock), DataLoader(SlowStream(clock, 9), batch_size=3))
    report = read_report(tmp_path)["train"]
    assert report["num_batches"] == 3
    assert report["parts_ms"]["update"]["mean"] == 30.0


@pytest.mark.parametrize("make_batch", [tuple, list, lambda rows: {"name": ["a"], "image": rows[0]}])
def test_batches_of_any_structure(tmp_path: Path, make_batch: Any) -> None:
    class Module(LightningModule):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            assert type(batch) is type(make_batch([torch.ones(5, 2)]))

    trainer = make_trainer(tmp_path, LatencyMonitor(warmup_batches=0))
    batches = [make_batch([torch.ones(5, 2), torch.zeros(5)])] * 6
    trainer.test(Module(), DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch), verbose=False)
    assert read_report(tmp_path)["test"]["batch_size"] == 5


def test_a_batch_without_tensors_has_no_throughput_unless_its_size_is_given(tmp_path: Path) -> None:
    class Module(LightningModule):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            pass

    for batch_size, expected in ((None, False), (4, True)):
        trainer = make_trainer(tmp_path, LatencyMonitor(warmup_batches=0, batch_size=batch_size))
        trainer.test(Module(), DataLoader([{"name": "a"}] * 6, batch_size=None), verbose=False)
        report = read_report(tmp_path)["test"]
        assert ("throughput_per_s" in report) is expected
        assert report["batch_size"] == batch_size


class ManualModule(SlowModule):
    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(super().training_step(batch, batch_idx))
        optimizer.step()


def test_manual_optimization(tmp_path: Path, clock: FakeClock) -> None:
    trainer = make_trainer(tmp_path, LatencyMonitor(warmup_batches=1))
    trainer.fit(ManualModule(clock), DataLoader(SlowRows(clock, 8)))
    report = read_report(tmp_path)["train"]
    assert report["parts_ms"]["update"]["p50"] == {"value": 30.0, "low": 30.0, "high": 30.0}
    assert report["flops_per_sample"] == 2 * (2 * 4 * 2)


def test_fast_dev_run_leaves_no_file(tmp_path: Path, clock: FakeClock) -> None:
    trainer = make_trainer(tmp_path, LatencyMonitor(), fast_dev_run=True)
    loader = DataLoader(SlowRows(clock, 3))
    trainer.fit(SlowModule(clock), loader, loader)
    assert list(tmp_path.iterdir()) == []


def test_several_loaders_are_pooled(tmp_path: Path) -> None:
    class Module(LightningModule):
        def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            pass

    loaders = [DataLoader(torch.ones(6, 1)), DataLoader(torch.ones(4, 1))]
    make_trainer(tmp_path, LatencyMonitor(warmup_batches=0)).test(Module(), loaders, verbose=False)
    assert read_report(tmp_path)["test"]["num_batches"] == 10


def test_an_empty_loader_gives_nothing(tmp_path: Path, clock: FakeClock) -> None:
    make_trainer(tmp_path, LatencyMonitor()).test(SlowModule(clock), DataLoader(SlowRows(clock, 0)), verbose=False)
    assert list(tmp_path.iterdir()) == []


def test_only_the_named_stages_are_measured(tmp_path: Path, clock: FakeClock) -> None:
    trainer = make_trainer(tmp_path, LatencyMonitor(stages=("val",)))
    trainer.fit(SlowModule(clock), DataLoader(SlowRows(clock, 6)), DataLoader(SlowRows(clock, 6)))
    assert set(read_report(tmp_path)) == {"val"}


def test_the_sanity_check_is_not_measured(tmp_path: Path, clock: FakeClock) -> None:
    trainer = make_trainer(tmp_path, LatencyMonitor(warmup_batches=0), num_sanity_val_steps=2)
    trainer.fit(SlowModule(clock), DataLoader(SlowRows(clock, 1)), DataLoader(SlowRows(clock, 3)))
    assert read_report(tmp_path)["val"]["num_batches"] == 3


@pytest.mark.parametrize("profiler_type", [PassThroughProfiler, SimpleProfiler])
def test_the_users_profiler_works_and_is_left_as_it_was(tmp_path: Path, clock: FakeClock, profiler_type: Any) -> None:
    profiler = profiler_type()
    monitors = LatencyMonitor(warmup_batches=0), LatencyMonitor(warmup_batches=1)
    trainer = make_trainer(tmp_path, *monitors, profiler=profiler)
    trainer.test(SlowModule(clock), DataLoader(SlowRows(clock, 6)), verbose=False)
    assert trainer.profiler is profiler
    assert not {"start", "stop"} & set(vars(profiler))
    if isinstance(profiler, SimpleProfiler):
        assert "[_EvaluationLoop].test_next" in profiler.recorded_durations


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_leaves_the_profiler_as_it_was(tmp_path: Path, clock: FakeClock, error: type) -> None:
    class Interrupted(SlowModule):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            raise error

    trainer = make_trainer(tmp_path, LatencyMonitor())
    with pytest.raises((SystemExit, RuntimeError)):
        trainer.test(Interrupted(clock), DataLoader(SlowRows(clock, 6)), verbose=False)
    assert not {"start", "stop"} & set(vars(trainer.profiler))
    assert torch.utils._python_dispatch._len_torch_dispatch_stack() == 0


def test_training_is_not_changed(tmp_path: Path, clock: FakeClock) -> None:
    weights = []
    for callbacks in ([], [LatencyMonitor(warmup_batches=2)]):
        torch.manual_seed(0)
        module = SlowModule(clock)
        make_trainer(tmp_path, *callbacks).fit(module, DataLoader(SlowRows(clock, 8)))
        weights.append(module.net.weight.detach())
    assert torch.equal(*weights)


def test_a_folder_holds_the_stages_of_one_trainer(tmp_path: Path, clock: FakeClock) -> None:
    """Those of a fit and of the test after it, and nothing of another script that ran in the same folder."""
    (tmp_path / "latency.json").write_text('{"predict": {}}')
    trainer = make_trainer(tmp_path, LatencyMonitor(warmup_batches=2))
    trainer.fit(SlowModule(clock), DataLoader(SlowRows(clock, 8)))
    trainer.test(SlowModule(clock), DataLoader(SlowRows(clock, 8)), verbose=False)
    assert read_report(tmp_path).keys() == {"train", "test"}


def test_a_full_disk_leaves_the_report_that_was_there(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "latency.json").write_text("{}")

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    trainer = make_trainer(tmp_path, LatencyMonitor(warmup_batches=2))
    with pytest.raises(OSError, match="No space left"):
        trainer.fit(SlowModule(clock), DataLoader(SlowRows(clock, 8)))
    assert (tmp_path / "latency.json").read_text() == "{}"


def test_nothing_is_kept_in_checkpoints() -> None:
    assert LatencyMonitor().state_dict() == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stages": ("fit",)}, r"got \['fit'\]"),
        ({"stages": "val"}, "as a list .* got the text 'val'"),
        ({"warmup_batches": -1}, "got -1"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LatencyMonitor(**arguments)


def test_several_processes_report_once(tmp_path: Path) -> None:
    trainer = make_trainer(
        tmp_path, LatencyMonitor(warmup_batches=1), strategy="ddp_fork", devices=2, logger=CSVLogger(tmp_path)
    )
    module = SlowModule(FakeClock())
    trainer.fit(module, DataLoader(torch.ones(40, 4), batch_size=2), DataLoader(torch.ones(40, 4), batch_size=2))
    (path,) = tmp_path.rglob("latency.json")
    report = json.loads(path.read_text())
    assert report["train"]["num_batches"] == 9
    assert report["val"]["num_batches"] == 9


class CtrlC(Callback):
    """What Ctrl-C at a batch does."""

    def on_test_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *numbers: int) -> None:
        if numbers[0] == 9:
            raise KeyboardInterrupt


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path, clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = make_trainer(tmp_path, LatencyMonitor(warmup_batches=2), CtrlC())
    with pytest.raises(SystemExit):
        trainer.test(SlowModule(clock), DataLoader(SlowRows(clock, 20)), verbose=False)
    report = read_report(tmp_path)["test"]
    assert report["num_batches"] == 7
    assert report["parts_ms"]["latency"]["p50"]["value"] == 38.0  # of steps of 32 to 38 ms, and 3 ms of transfer
    assert "test/latency" in capsys.readouterr().out


def test_too_few_batches_are_told_in_one_short_line(
    tmp_path: Path, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = make_trainer(tmp_path, LatencyMonitor(warmup_batches=1))
    trainer.test(SlowModule(clock), DataLoader(SlowRows(clock, 3)), verbose=False)
    [line] = [line for line in capsys.readouterr().out.splitlines() if "batch" in line]
    assert line == "Time per batch: 6 batches are needed after warm-up, and test had 2."
    assert read_report(tmp_path)["test"]["num_batches"] == 2
