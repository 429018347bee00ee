"""The command that computes the features of all images of a data set with a frozen encoder."""

from pathlib import Path
from typing import Any

from rich.console import Console

from lightning_edge.contracts import LabeledSplit
from lightning_edge.data.domains.features import write_features
from lightning_edge.nn.encoders.frozen_encoder import FrozenEncoder
from lightning_edge.systems.streaming.known_domains import features_of

_SPLITS: tuple[LabeledSplit, ...] = ("train", "val", "test")


def embed(
    datamodule: Any,
    file: Path = Path("runs/ddn/features.npz"),
    encoder: str | None = None,
    weights: str | None = None,
) -> dict[str, float]:
    """Write the features of each image from a frozen encoder, to describe domains or to find them by clustering.

    Features are standardized with the mean and deviation over the training images. ``MeanFeatureEmbedding``,
    ``EstimatedEmbedding`` and ``ByClusters`` of ``lightning_edge.data`` read the file.

    Args:
        datamodule: The data.
        file: File for the features.
        encoder: Name of a model in timm; arXiv:1911.13237 uses ``resnet50`` with ImageNet weights. ``None`` uses simple
            statistics of light and color.
        weights: File with the weights of the encoder in timm's format; ``None`` uses random weights.
    """
    net = FrozenEncoder.from_timm(encoder, weights)
    datamodule.prepare_data()
    features = {split: features_of(net, datamodule.images_in_order(split), f"{split} images") for split in _SPLITS}
    net.standardize(features["train"])
    names = {split: [record.name for record in datamodule.records(split)] for split in _SPLITS}
    write_features(file, {split: (names[split], net.scaled(features[split]).numpy()) for split in _SPLITS})
    counts = ", ".join(f"{len(features[split])} of {split}" for split in _SPLITS)
    num_features = features["train"].shape[1]
    line = f"Wrote {num_features} features of each image ({counts}) to {file}"
    Console(highlight=False).print(line, soft_wrap=True)
    return {"num_features": float(num_features), "num_images": float(sum(map(len, features.values())))}
