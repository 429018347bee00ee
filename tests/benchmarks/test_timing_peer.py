"""Medians of the same net by LatencyMonitor, by Stopwatch and by `torch.utils.benchmark`, in turns batch by batch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from torch import Tensor, nn
from torch.utils.benchmark import Timer
from torch.utils.data import DataLoader

from callbacks.latency_monitor import LatencyMonitor
from lightning_edge.timing import Samples, Stopwatch, ratio

pytestmark = pytest.mark.benchmark

NUM_RUNS = 20
NUM_BATCHES = 50
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


class Net(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())

    def forward(self, inputs: Tensor) -> Tensor:
        return self.net(inputs)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self(batch)


class TimedBetweenBatches(Callback):
    """Times the net on each batch by the stopwatch and by the peer, once the batch has gone through the trainer."""

    def __init__(self, device: str) -> None:
        self.watch = Stopwatch(device)
        self.peer_ms: list[float] = []

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        def by_stopwatch() -> None:
            with self.watch.split("net"):
                pl_module(batch)

        def by_peer() -> None:
            threads = torch.get_num_threads()  # the peer takes one thread unless told
            timer = Timer("net(batch)", globals={"net": pl_module, "batch": batch}, num_threads=threads)
            self.peer_ms.append(1000 * timer.timeit(1).median)

        for measure in (by_stopwatch, by_peer) if batch_idx % 2 else (by_peer, by_stopwatch):
            measure()


def measure_once(device: str, folder: Path) -> tuple[float, float, float]:
    others = TimedBetweenBatches(device)
    trainer = Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        default_root_dir=folder,
        callbacks=[LatencyMonitor(warmup_batches=5), others],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.test(Net(), DataLoader(torch.rand(NUM_BATCHES + 5, 3, 128, 128)), verbose=False)
    monitor_ms = trainer.callback_metrics["test/forward_ms_p50"].item()
    watch_ms = float(np.median(others.watch.samples("net").durations_ms[5:]))
    return monitor_ms, watch_ms, float(np.median(others.peer_ms[5:]))


@pytest.mark.parametrize("device", DEVICES)
def test_medians_beside_torch_benchmark(device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    runs = [measure_once(device, tmp_path) for _ in range(NUM_RUNS)]
    monitor, watch, peer = (Samples(medians) for medians in zip(*runs, strict=True))
    with capsys.disabled():
        for name, samples in {"LatencyMonitor": monitor, "Stopwatch": watch, "torch.utils.benchmark": peer}.items():
            value, low, high = ratio(samples, peer)
            median_ms = np.median(samples.durations_ms)
            Console().print(f"{device} {name}: {median_ms:.3f} ms, {value:.3f} of the peer [{low:.3f}, {high:.3f}]")
    assert len(monitor) == len(watch) == len(peer) == NUM_RUNS
