"""The command that looks at all images of a data set with a frozen encoder."""

from pathlib import Path
from typing import Any

from rich.console import Console

from lightning_edge.contracts import LabelledSplit
from lightning_edge.data.domains.features import write_features
from lightning_edge.nn.encoders.frozen_encoder import FrozenEncoder
from lightning_edge.systems.streaming.known_domains import features_of

_SPLITS: tuple[LabelledSplit, ...] = ("train", "val", "test")


def embed(
    datamodule: Any,
    file: Path = Path("runs/ddn/features.npz"),
    encoder: str | None = None,
    weights: str | None = None,
) -> dict[str, float]:
    """Write what a frozen encoder sees in each image, for domains that are described by it or found in it.

    Features are standardized by those of the training images. ``MeanFeatureEmbedding``, ``EstimatedEmbedding`` and
    ``ByClusters`` of ``lightning_edge.data`` read the file.

    Args:
        datamodule: The data.
        file: Where the features go.
        encoder: Name of a model of timm; arXiv:1911.13237 takes ``resnet50`` with ImageNet's weights. Plain statistics
            of light and colour if ``None``.
        weights: File of its weights in timm's format; random ones if ``None``.
    """
    net = FrozenEncoder.from_timm(encoder, weights)
    datamodule.prepare_data()
    found = {split: features_of(net, datamodule, split) for split in _SPLITS}
    net.standardize(found["train"])
    names = {split: [record.name for record in datamodule.records(split)] for split in _SPLITS}
    write_features(file, {split: (names[split], net.scaled(found[split]).numpy()) for split in _SPLITS})
    counts = ", ".join(f"{len(found[split])} of {split}" for split in _SPLITS)
    num_features = found["train"].shape[1]
    _say(f"{num_features} features of each image ({counts}) are in {file}")
    return {"num_features": float(num_features), "num_images": float(sum(map(len, found.values())))}


def _say(line: str) -> None:

    Console(highlight=False).print(line, soft_wrap=True)
