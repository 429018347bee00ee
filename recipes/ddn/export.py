"""The command that takes a trained domain-aware net out of torch."""

from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from lightning_edge.checkpoints import with_weights
from lightning_edge.nn.dynamic.conversion import specialize
from lightning_edge.ops.names import distinct_keys
from lightning_edge.systems.onnx.domains import OnnxDomains, export_domains
from lightning_edge.systems.streaming.known_domains import KnownDomains
from lightning_edge.timing import interleave
from recipes.ddn._detection import check_detection


def export(
    model: Any,
    datamodule: Any,
    ckpt_path: Path | None = None,
    folder: Path = Path("runs/ddn_export"),
    num_images: int = 8,
) -> dict[str, float]:
    """Write one ONNX graph and the weights of each domain, and compare onnxruntime with torch on validation images.

    A device runs the graph by ``OnnxDomains(folder, domain)`` of ``lightning_edge.systems.onnx.domains``, and puts the
    weights of another domain into it by ``switch_to``.

    Args:
        model: A ``CenterDetector`` with experts.
        datamodule: Its data, whose training images say which domains there are.
        ckpt_path: Checkpoint with the weights; without one the net is as it begins.
        folder: Where the files go.
        num_images: How many images to compare on, in each domain's weights.
    """
    if num_images < 1:
        raise ValueError(f"expected num_images of at least 1, got {num_images}")
    check_detection(datamodule)
    net = with_weights(model, ckpt_path).net
    known = KnownDomains.from_datamodule(datamodule)
    embeddings = dict(zip(distinct_keys(known.names, "domain"), known.embeddings, strict=True))
    height, width = datamodule.input_size
    files = export_domains(net, embeddings, folder, height, width)
    graph = OnnxDomains(folder, next(iter(embeddings)))
    samples = datamodule.fixed_samples("val", num_images)
    images = torch.stack([sample["image"] for sample in samples]).float() / 255
    differences = []
    for name, embedding in embeddings.items():
        graph.switch_to(name)
        plain = specialize(net, embedding)
        with torch.inference_mode():
            for image in images.split(1):
                differences += [
                    (ours - theirs).abs().max() for ours, theirs in zip(plain(image), graph(image), strict=True)
                ]
    largest = float(torch.stack(differences).max())
    names = list(embeddings)
    switch = interleave({"switch": lambda: graph.switch_to(names[-1])}, 10)["switch"].percentile(50).value
    console = Console(highlight=False)
    for path in files:
        console.print(f"{path}  {path.stat().st_size / 1e6:.2f} MB", soft_wrap=True)
    console.print(
        f"largest difference of what the net gives, of {len(names)} domains and {len(images)} images: {largest:.1e}; "
        f"{switch:.1f} ms to put other weights into the graph",
        soft_wrap=True,
    )
    return {"largest_difference": largest, "switch_ms": switch}
