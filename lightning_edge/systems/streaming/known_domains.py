"""Domains of the training data, and an encoder to recognize them, for a device that runs a domain-aware net."""

from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.contracts import LabeledSplit
from lightning_edge.nn.encoders.frozen_encoder import FrozenEncoder, TimmEncoder
from lightning_edge.ops.discriminant import discriminant_map


@runtime_checkable
class DomainData(Protocol):
    """Interface of the data module that is needed here; every ``DomainDataModule`` has it."""

    partition: Any
    embedding: Any
    vocabulary: Any

    def prepare_data(self) -> None:
        """Make sure that the files exist."""
        ...

    def records(self, split: LabeledSplit) -> Any:
        """Names and attributes of the images of a split, as records."""
        ...

    def images_in_order(self, split: LabeledSplit) -> Any:
        """Loader of all images of a split, in the order of ``records``."""
        ...

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Convert bytes to floats."""
        ...


class KnownDomains(NamedTuple):
    """Domains of the training images."""

    names: tuple[str, ...]
    centers: Float[Tensor, "domains features"]
    """Mean features of the training images of each domain."""
    embeddings: Float[Tensor, "domains embedding_features"]
    """Mean embedding that the net received for the training images of each domain."""
    encoder: nn.Module
    """Encoder that computes the features, scaled so that they vary equally within a domain (``ops.discriminant``)."""

    @classmethod
    def from_datamodule(
        cls, datamodule: DomainData, encoder: str | None = None, weights: str | None = None
    ) -> "KnownDomains":
        """Compute features and embeddings of all training images.

        Args:
            datamodule: Data module with which the net was trained, a ``DomainDataModule``.
            encoder: Name of a timm model. ``None`` means simple statistics of brightness and color.
            weights: File of weights for this model. ``None`` means random weights.
        """
        net = FrozenEncoder.from_timm(encoder, weights)
        datamodule.prepare_data()
        features = features_of(net, datamodule, "train")
        net.standardize(features)
        features = net.scaled(features)
        assigned = datamodule.partition.assign("train", datamodule.records("train"), datamodule.vocabulary)
        described = datamodule.embedding.describe(assigned, assigned)
        domain, row = torch.from_numpy(assigned.domain), torch.from_numpy(described.row)
        present = domain.unique().tolist()
        discriminant = nn.Linear(features.shape[1], features.shape[1], bias=False).requires_grad_(False)
        discriminant.weight.copy_(discriminant_map(features, domain))
        features = discriminant(features)
        centers = torch.stack([features[domain == index].mean(0) for index in present])
        table = torch.from_numpy(described.table)
        embeddings = torch.stack([table[row[domain == index]].mean(0) for index in present])
        names = tuple(assigned.domain_names[index] for index in present)
        return cls(names, centers, embeddings, nn.Sequential(net, discriminant).eval())

    def save(self, path: Path | str) -> None:
        """Write tensors and names to a file, for a device that has no training images.

        Raises:
            ValueError: The encoder was not made by :meth:`from_datamodule`, so a file could not describe it.
        """
        frozen, discriminant = (*self.encoder, None)[:2] if isinstance(self.encoder, nn.Sequential) else (None, None)
        if not (isinstance(frozen, FrozenEncoder) and isinstance(discriminant, nn.Linear)):
            raise ValueError(f"expected the encoder of KnownDomains.from_datamodule, got {type(self.encoder).__name__}")
        is_timm = isinstance(frozen.encoder, TimmEncoder)
        content = {"names": list(self.names), "model": frozen.encoder.model if is_timm else None}
        content |= {"centers": self.centers, "embeddings": self.embeddings}
        content |= {"mean": frozen.mean, "std": frozen.std, "map": discriminant.weight.detach()}
        torch.save(content | {"encoder": frozen.encoder.state_dict()}, path)

    @classmethod
    def load(cls, path: Path | str) -> "KnownDomains":
        """Read a file that :meth:`save` wrote; no code from the file is run.

        Raises:
            FileNotFoundError: The file does not exist.
            ValueError: The file is damaged or was not written by :meth:`save`.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"expected a file of KnownDomains.save, got {path}, which does not exist")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            net = FrozenEncoder.from_timm(content["model"])
            net.encoder.load_state_dict(content["encoder"])
            net.mean, net.std = content["mean"], content["std"]
            discriminant = nn.Linear(*content["map"].shape[::-1], bias=False).requires_grad_(False)
            discriminant.weight.copy_(content["map"])
            names, centers, embeddings = tuple(map(str, content["names"])), content["centers"], content["embeddings"]
            if not len(names) == len(centers) == len(embeddings):
                raise ValueError("names, centers and embeddings of different lengths")
        except Exception as error:  # many types are possible; torch's own message recommends running code from the file
            raise ValueError(
                f"expected a file of KnownDomains.save, got {path}, which is damaged or was written by "
                f"another program ({type(error).__name__}). Write it again with KnownDomains.save."
            ) from None
        return cls(names, centers, embeddings, nn.Sequential(net, discriminant).eval())

    def index_of(self, datamodule: DomainData, image: Any) -> int:
        """Number of the domain to which an image belongs by its attributes.

        Args:
            datamodule: Data module of the image.
            image: Record of the image.

        Raises:
            ValueError: No training image belongs to that domain.
        """
        assigned = datamodule.partition.assign("val", [image], datamodule.vocabulary)
        name = assigned.domain_names[assigned.domain[0]]
        if name not in self.names:
            raise ValueError(f"expected an image of a training domain, {list(self.names)}, got one of {name!r}")
        return self.names.index(name)


def features_of(encoder: nn.Module, datamodule: DomainData, split: LabeledSplit) -> Float[Tensor, "images features"]:
    """Compute the features of all images of a split, in the order of the data module's records."""
    from rich.progress import track

    loader = datamodule.images_in_order(split)
    batches = (datamodule.on_after_batch_transfer(batch, 0)["image"] for batch in loader)
    return torch.cat([encoder(image) for image in track(batches, f"{split} images", total=len(loader), transient=True)])
