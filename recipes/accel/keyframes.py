"""The command that compares policies for key frames."""

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import track
from rich.table import Table

from lightning_edge.analysis.keyframe_policies import PolicyTrial, gain_at_equal_cost, try_policies
from lightning_edge.checkpoints import with_weights
from lightning_edge.data import CityscapesDataModule, labeled_drive
from lightning_edge.samples.world.frames import standing_share
from lightning_edge.systems.streaming.keyframes import AdaptiveInterval
from lightning_edge.timing import Estimate, num_samples_needed


def keyframes(
    model: Any,
    ckpt_path: Path | None = None,
    net: Literal["accel", "dff", "copy"] = "accel",
    intervals: tuple[int, ...] = (5, 10),
    num_drives: int = 24,
    drive_frames: int = 255,
    size: tuple[int, int] = (128, 256),
    domain: str = "day",
    first_world: int = 90_000,
    standing: tuple[float, float] = (0.0, 1.0),
) -> dict[str, float]:
    """Compare ``AdaptiveInterval`` with fixed intervals that have as many key frames, on generated sequences.

    Args:
        model: The method with the net, trained on the 19 classes of Cityscapes.
        ckpt_path: Checkpoint with the weights. Without one, the net has its initial weights.
        net: The net to evaluate: Accel, Deep Feature Flow, or a net that copies the features of the key frame.
        intervals: Mean key-frame intervals of the adaptive policy. Fixed intervals around each are evaluated too.
        num_drives: Number of sequences, each in its own town.
        drive_frames: Number of frames of a sequence, at 17 Hz.
        size: Height and width of the frames in pixels, as in the training.
        domain: Light and weather, one of ``lightning_edge.samples.world.domains.DOMAINS``.
        first_world: Seed of the first town.
        standing: Smallest and largest share of the time, in [0, 1], that the vehicle stands. Towns outside of this
            range are skipped.
    """
    least = num_samples_needed(50)
    if not intervals or min(intervals) < 2:
        raise ValueError(f"expected intervals of at least 2, got {intervals}")
    if num_drives < least:
        raise ValueError(f"expected num_drives of at least {least}, to compute a confidence interval, got {num_drives}")
    if model.num_classes != CityscapesDataModule.num_classes:
        raise ValueError(f"expected a model of {CityscapesDataModule.num_classes} classes, got {model.num_classes}")
    adaptive = {f"adaptive_{interval}": AdaptiveInterval(interval) for interval in intervals}
    fixed = {f"fixed_{interval}": interval for interval in _around(intervals)}
    worlds = _worlds(first_world, num_drives, drive_frames, standing)
    drives = (labeled_drive(world, drive_frames, *size, domain) for world in worlds)
    trials = try_policies(
        with_weights(model, ckpt_path).video_nets()[net],
        adaptive | fixed,
        track(drives, "drives", total=num_drives),
        model.num_classes,
    )
    _print_policies(trials)
    results = {f"{name}_miou": trial.miou for name, trial in trials.items()}
    results |= {f"{name}_keyframe_share": trial.keyframe_share for name, trial in trials.items()}
    for name, policy in adaptive.items():
        gain = gain_at_equal_cost(trials[name], [trials[other] for other in fixed])
        _print_gain(name, gain, policy.saving)
        results[f"{name}_gain"] = gain.value
        results[f"{name}_saving"] = policy.saving
    return results


def _worlds(first: int, number: int, num_frames: int, standing: tuple[float, float]) -> list[int]:
    """Seeds of the first towns in which the vehicle stands for a share of the time within the range."""
    least, most = standing
    if not 0 <= least <= most <= 1:
        raise ValueError(f"expected standing as the least and the largest share within [0, 1], got {standing}")
    tried = range(first, first + 100 * number)
    seeds = list(islice((seed for seed in tried if least <= standing_share(seed, num_frames) <= most), number))
    if len(seeds) < number:
        raise ValueError(
            f"expected standing to fit {number} of {len(tried)} sequences, got {standing}, which fits {len(seeds)}"
        )
    return seeds


def _around(intervals: Iterable[int]) -> list[int]:
    """Each interval with a shorter and a longer one, between which the share of key frames is interpolated."""
    return sorted({near for n in intervals for near in (min(n - 1, round(0.7 * n)), n, max(n + 1, round(1.4 * n)))})


def _print_policies(trials: Mapping[str, PolicyTrial]) -> None:
    table = Table("policy", "key frames %", "mIoU %", title="Key frames by policy")
    for name, trial in sorted(trials.items(), key=lambda item: -item[1].keyframe_share):
        table.add_row(name.replace("_", " "), f"{100 * trial.keyframe_share:.1f}", f"{100 * trial.miou:.2f}")
    Console().print(table)


def _print_gain(name: str, gain: Estimate, saving: float) -> None:
    value, low, high = (100 * number for number in gain)
    Console(soft_wrap=True).print(
        f"{name.replace('_', ' ')}: {value:+.2f} [{low:+.2f}, {high:+.2f}] points of mIoU over fixed intervals "
        "with as many key frames (for this net; 95 % interval by bootstrap over the sequences)",
        markup=False,
    )
    Console(soft_wrap=True).print(
        f"By its own estimate, which takes the change of brightness as the loss, it avoided {100 * saving:.0f} % of "
        "the loss from propagating features"
    )
