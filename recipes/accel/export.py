"""The command that exports a trained Accel to ONNX."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from lightning_edge.analysis.tradeoff import measure
from lightning_edge.checkpoints import with_weights
from lightning_edge.checks import check_at_least
from lightning_edge.systems.onnx.accel import FLOW, OnnxAccel, Parity, compare, export_accel
from lightning_edge.timing import Samples, ratio


def export(
    model: Any,
    datamodule: Any,
    ckpt_path: Path | None = None,
    folder: Path = Path("runs/accel_export"),
    num_clips: int = 8,
) -> dict[str, float]:
    """Export the net to ONNX files, and compare onnxruntime with torch on validation clips.

    Args:
        model: The method with the net.
        datamodule: The data of the method.
        ckpt_path: Checkpoint with the weights. Without one, the net has its initial weights.
        folder: Folder for the files.
        num_clips: Number of clips to compare on, each from a key frame to the last frame before the next one.
    """
    check_at_least(1, num_clips=num_clips)
    net, clips = with_weights(model, ckpt_path).net, _validation_clips(datamodule, num_clips)
    files = export_accel(net, folder, *clips.shape[-2:])
    exported = OnnxAccel(folder, None if folder / FLOW in files else net.flow)
    parity = compare(net, exported, clips[:, -model.interval :])
    times = measure({"torch": net, "onnxruntime": exported}, clips[:1, -2:], num_rounds=20)
    return _print_report(files, parity, times)


def _validation_clips(datamodule: Any, num_clips: int) -> Tensor:
    datamodule.prepare_data()
    datamodule.setup("validate")
    clips: list[Tensor] = []
    for batch in datamodule.val_dataloader():
        clips.extend(datamodule.on_after_batch_transfer(batch, 0)["frames"])
        if len(clips) >= num_clips:
            break
    return torch.stack(clips[:num_clips])


def _print_report(files: list[Path], parity: Parity, times: Mapping[str, Samples]) -> dict[str, float]:
    say = Console(soft_wrap=True).print
    say(f"Wrote {', '.join(path.name for path in files)} to {files[0].parent}")
    say(
        f"{parity.num_frames} frames: the scores differ by at most {parity.largest_difference:.2g}, and "
        f"{100 * parity.share_equal:.3f} % of the pixels have the same class"
    )
    results = {"largest_difference": parity.largest_difference, "share_equal": parity.share_equal}
    for part, suffix in (("key_frame", " key"), ("other_frame", "")):
        torch_ms, onnx_ms = times[f"torch{suffix}"], times[f"onnxruntime{suffix}"]
        value, low, high = ratio(onnx_ms, torch_ms)
        say(
            f"{part.replace('_', ' ')}: torch {torch_ms.percentile(50).value:.1f} ms, onnxruntime "
            f"{onnx_ms.percentile(50).value:.1f} ms (ratio {value:.2f} [{low:.2f}, {high:.2f}])"
        )
        results[f"{part}_of_torch"] = value
    return results
