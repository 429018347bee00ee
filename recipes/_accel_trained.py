"""Commands that take a trained Accel: out of torch, and along a stream."""

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recipes._accel_series import newest_rows

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_edge.systems.onnx_accel import Parity
    from lightning_edge.systems.policy_trial import PolicyTrial
    from lightning_edge.systems.tradeoff import TradeoffRow
    from lightning_edge.timing import Estimate, Samples


def export(
    model: Any,
    datamodule: Any,
    ckpt_path: Path | None = None,
    folder: Path = Path("runs/accel_export"),
    num_clips: int = 8,
) -> dict[str, float]:
    """Write the net as ONNX files, and compare onnxruntime with torch on validation clips.

    Args:
        model: The method with the net.
        datamodule: Its data.
        ckpt_path: Checkpoint with the weights; without one the net is as it begins.
        folder: Where the files go.
        num_clips: How many clips to compare on, each from a key frame to the last frame before the next one.
    """
    from lightning_edge.systems.onnx_accel import FLOW, OnnxAccel, compare, export_accel
    from lightning_edge.systems.tradeoff import measure

    if num_clips < 1:
        raise ValueError(f"expected num_clips of at least 1, got {num_clips}")
    net, clips = _with_weights(model, ckpt_path).net, _validation_clips(datamodule, num_clips)
    files = export_accel(net, folder, *clips.shape[-2:])
    exported = OnnxAccel(folder, None if folder / FLOW in files else net.flow)
    parity = compare(net, exported, clips[:, -model.interval :])
    times = measure({"torch": net, "onnxruntime": exported}, clips[:1, -2:], num_rounds=20)
    return _tell(files, parity, times)


def _with_weights(model: Any, ckpt_path: Path | None) -> Any:
    from callbacks._checkpoint import read_checkpoint

    if ckpt_path is not None:
        model.load_state_dict(read_checkpoint(ckpt_path, "ckpt_path")["state_dict"])
    return model.eval()


def _validation_clips(datamodule: Any, num_clips: int) -> "Tensor":
    import torch

    datamodule.prepare_data()
    datamodule.setup("validate")
    clips: list[Tensor] = []
    for batch in datamodule.val_dataloader():
        clips.extend(datamodule.on_after_batch_transfer(batch, 0)["frames"])
        if len(clips) >= num_clips:
            break
    return torch.stack(clips[:num_clips])


def _tell(files: list[Path], parity: "Parity", times: Mapping[str, "Samples"]) -> dict[str, float]:
    from rich.console import Console

    from lightning_edge.timing import ratio

    say = Console(soft_wrap=True).print
    say(f"Wrote {', '.join(path.name for path in files)} to {files[0].parent}")
    say(
        f"{parity.num_frames} frames: scores differ by {parity.largest_difference:.2g} at most, "
        f"{100 * parity.share_equal:.3f} % of pixels have the same class"
    )
    found = {"largest_difference": parity.largest_difference, "share_equal": parity.share_equal}
    for part, suffix in (("key_frame", " key"), ("other_frame", "")):
        torchs, onnxs = times[f"torch{suffix}"], times[f"onnxruntime{suffix}"]
        value, low, high = ratio(onnxs, torchs)
        say(
            f"{part.replace('_', ' ')}: torch {torchs.percentile(50).value:.1f} ms, onnxruntime "
            f"{onnxs.percentile(50).value:.1f} ms, {value:.2f} [{low:.2f}, {high:.2f}] of it"
        )
        found[f"{part}_of_torch"] = value
    return found


def choose(budget_ms: float, run: Path = Path("runs/accel")) -> dict[str, float]:
    """Say which net and key-frame interval of a run are the most accurate within a latency budget.

    Args:
        budget_ms: Time a frame, milliseconds.
        run: Folder of the run, whose machine and size of frames the times are of; of several below it the newest.
    """
    from lightning_edge.systems.tradeoff import best_within

    rows, found = newest_rows(run), {}
    for name, meaning in (("mean", "on average"), ("every_frame", "at every frame")):
        best = best_within(rows, budget_ms, every_frame=name == "every_frame")
        _tell_choice(f"Within {budget_ms:g} ms {meaning}", best)
        if best is not None:
            found |= {f"{name}_interval": best.interval, f"{name}_miou": best.miou, f"{name}_ms": best.mean_ms}
    return found


def _tell_choice(budget: str, best: "TradeoffRow | None") -> None:
    from rich.console import Console

    from callbacks._tradeoff_tables import NET_TITLES

    choice = "nothing that was measured"
    if best is not None and best.interval == 1:
        choice = f"{NET_TITLES.get(best.net, best.net)}: {100 * best.miou:.1f} % mIoU, {best.mean_ms:.1f} ms"
    elif best is not None:
        net = f"{NET_TITLES.get(best.net, best.net)}, one key frame in {best.interval}"
        choice = f"{net}: {100 * best.miou:.1f} % mIoU, {best.mean_ms:.1f} ms, a key frame {best.key_ms:.1f} ms"
    Console(soft_wrap=True).print(f"{budget}: {choice}", markup=False)


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
    """Compare ``AdaptiveInterval`` with fixed intervals of as many key frames, on generated drives.

    Args:
        model: The method with the net, of the 19 classes of Cityscapes.
        ckpt_path: Checkpoint with the weights; without one the net is as it begins.
        net: Accel, Deep Feature Flow, or its features copied.
        intervals: Mean intervals to try; fixed ones around each are run too.
        num_drives: How many drives, each with its own town.
        drive_frames: Frames of a drive, at 17 Hz.
        size: Height and width of frames, pixels: those of the training.
        domain: Light and weather, one of ``lightning_edge.samples.domains.DOMAINS``.
        first_world: Seed of the first town.
        standing: Least and largest share of the time, in [0, 1], that the vehicle stands; other towns are passed over.
    """
    from rich.progress import track

    from lightning_edge.data import CityscapesDataModule, labelled_drive
    from lightning_edge.systems.keyframes import AdaptiveInterval
    from lightning_edge.systems.policy_trial import gain_at_equal_cost, try_policies
    from lightning_edge.timing import num_samples_needed

    least = num_samples_needed(50)
    if not intervals or min(intervals) < 2:
        raise ValueError(f"expected intervals of at least 2, got {intervals}")
    if num_drives < least:
        raise ValueError(f"expected num_drives of at least {least}, for an interval of confidence, got {num_drives}")
    if model.num_classes != CityscapesDataModule.num_classes:
        raise ValueError(f"expected a model of {CityscapesDataModule.num_classes} classes, got {model.num_classes}")
    adaptive = {f"adaptive_{interval}": AdaptiveInterval(interval) for interval in intervals}
    fixed = {f"fixed_{interval}": interval for interval in _around(intervals)}
    worlds = _worlds(first_world, num_drives, drive_frames, standing)
    drives = (labelled_drive(world, drive_frames, *size, domain) for world in worlds)
    trials = try_policies(
        _with_weights(model, ckpt_path).video_nets()[net],
        adaptive | fixed,
        track(drives, "drives", total=num_drives),
        model.num_classes,
    )
    _tell_policies(trials)
    found = {f"{name}_miou": trial.miou for name, trial in trials.items()}
    found |= {f"{name}_keyframe_share": trial.keyframe_share for name, trial in trials.items()}
    for name, policy in adaptive.items():
        gain = gain_at_equal_cost(trials[name], [trials[other] for other in fixed])
        _tell_gain(name, gain, policy.saving)
        found[f"{name}_gain"] = gain.value
        found[f"{name}_saving"] = policy.saving
    return found


def _worlds(first: int, number: int, num_frames: int, standing: tuple[float, float]) -> list[int]:
    """Seeds of the first towns in which the vehicle stands for so long."""
    from lightning_edge.samples.frames import standing_share

    least, most = standing
    if not 0 <= least <= most <= 1:
        raise ValueError(f"expected standing as two rising shares within [0, 1], got {standing}")
    tried = range(first, first + 100 * number)
    found = list(islice((seed for seed in tried if least <= standing_share(seed, num_frames) <= most), number))
    if len(found) < number:
        raise ValueError(
            f"expected {number} of {len(tried)} drives to stand for {standing} of the time, {len(found)} do"
        )
    return found


def _around(intervals: Iterable[int]) -> list[int]:
    """Each interval, a shorter and a longer one; shares of key frames are interpolated between them."""
    return sorted({near for n in intervals for near in (min(n - 1, round(0.7 * n)), n, max(n + 1, round(1.4 * n)))})


def _tell_policies(trials: "Mapping[str, PolicyTrial]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("policy", "key frames %", "mIoU %", title="Key frames by policy")
    for name, trial in sorted(trials.items(), key=lambda item: -item[1].keyframe_share):
        table.add_row(name.replace("_", " "), f"{100 * trial.keyframe_share:.1f}", f"{100 * trial.miou:.2f}")
    Console().print(table)


def _tell_gain(name: str, gain: "Estimate", saving: float) -> None:
    from rich.console import Console

    value, low, high = (100 * number for number in gain)
    Console(soft_wrap=True).print(
        f"{name.replace('_', ' ')}: {value:+.2f} [{low:+.2f}, {high:+.2f}] points of mIoU over fixed intervals "
        "with as many key frames (this net; 95 % interval by bootstrap over drives)",
        markup=False,
    )
    Console(soft_wrap=True).print(
        f"By how the pictures change, it should save {100 * saving:.0f} % of what carrying loses"
    )
