"""The command that exports a trained domain-aware net to ONNX."""

from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from lightning_edge.checkpoints import with_weights
from lightning_edge.checks import check_at_least
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
    """Export one ONNX graph and the weights of each domain, and compare onnxruntime with torch on validation images.

    A device runs the graph with ``OnnxDomains(folder, domain)`` of ``lightning_edge.systems.onnx.domains``. Its method
    ``switch_to`` loads the weights of another domain into the graph.

    Args:
        model: A ``CenterDetector`` with experts.
        datamodule: The data. Their training images define the domains.
        ckpt_path: Checkpoint with the weights. Without one, the net has its initial weights.
        folder: Folder for the files.
        num_images: Number of images to compare on, with the weights of each domain.
    """
    check_at_least(1, num_images=num_images)
    check_detection(datamodule)
    net = with_weights(model, ckpt_path).net
    known = KnownDomains.from_images(datamodule.domain_images("train"))
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
                outputs = zip(plain(image), graph(image), strict=True)
                differences += [(of_torch - of_onnx).abs().max() for of_torch, of_onnx in outputs]
    largest = float(torch.stack(differences).max())
    names = list(embeddings)
    switch = interleave({"switch": lambda: graph.switch_to(names[-1])}, 10)["switch"].percentile(50).value
    console = Console(highlight=False)
    for path in files:
        console.print(f"{path}  {path.stat().st_size / 1e6:.2f} MB", soft_wrap=True)
    console.print(
        f"Largest difference of the outputs over {len(names)} domains and {len(images)} images: {largest:.1e}. "
        f"Loading the weights of another domain takes {switch:.1f} ms.",
        soft_wrap=True,
    )
    return {"largest_difference": largest, "switch_ms": switch}
