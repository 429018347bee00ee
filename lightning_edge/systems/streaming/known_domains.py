"""What a device that runs a domain-aware net must have with it: the domains of training, and how to tell them."""

from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_edge.contracts import LabelledSplit
from lightning_edge.nn.encoders.frozen_encoder import FrozenEncoder, TimmEncoder
from lightning_edge.ops.discriminant import discriminant_map


@runtime_checkable
class DomainData(Protocol):
    """What is asked of data: all that a ``DomainDataModule`` is."""

    partition: Any
    embedding: Any
    vocabulary: Any

    def prepare_data(self) -> None:
        """Make sure that the files are there."""
        ...

    def records(self, split: LabelledSplit) -> Any:
        """Names and attributes of the images of a split."""
        ...

    def images_in_order(self, split: LabelledSplit) -> Any:
        """Loader of all images of a split."""
        ...

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Turn bytes into numbers."""
        ...


class KnownDomains(NamedTuple):
    """Domains that training images were of."""

    names: tuple[str, ...]
    centers: Float[Tensor, "domains features"]
    """Mean features of the training images of each."""
    embeddings: Float[Tensor, "domains embedding_features"]
    """Mean of what the net was told of the training images of each."""
    encoder: nn.Module
    """Gives the features, on scales on which images of a domain vary alike (``ops.discriminant``)."""

    @classmethod
    def from_datamodule(
        cls, datamodule: DomainData, encoder: str | None = None, weights: str | None = None
    ) -> "KnownDomains":
        """Look at all training images.

        Args:
            datamodule: The data that the net learned from, a ``DomainDataModule``.
            encoder: Name of a model of timm; plain statistics of light and color if ``None``.
            weights: File of its weights; random ones if ``None``.
        """
        net = FrozenEncoder.from_timm(encoder, weights)
        datamodule.prepare_data()
        features = features_of(net, datamodule, "train")
        net.standardize(features)
        features = net.scaled(features)
        assigned = datamodule.partition.assign("train", datamodule.records("train"), datamodule.vocabulary)
        told = datamodule.embedding.describe(assigned, assigned)
        domain, row = torch.from_numpy(assigned.domain), torch.from_numpy(told.row)
        present = domain.unique().tolist()
        apart = nn.Linear(features.shape[1], features.shape[1], bias=False).requires_grad_(False)
        apart.weight.copy_(discriminant_map(features, domain))
        features = apart(features)
        centers = torch.stack([features[domain == index].mean(0) for index in present])
        table = torch.from_numpy(told.table)
        embeddings = torch.stack([table[row[domain == index]].mean(0) for index in present])
        names = tuple(assigned.domain_names[index] for index in present)
        return cls(names, centers, embeddings, nn.Sequential(net, apart).eval())

    def save(self, path: Path | str) -> None:
        """Write a file of tensors and names, for a device that has no images of training.

        Raises:
            ValueError: The encoder is not one that :meth:`of` makes, so a file could not say how to make it again.
        """
        frozen, apart = (*self.encoder, None)[:2] if isinstance(self.encoder, nn.Sequential) else (None, None)
        if not (isinstance(frozen, FrozenEncoder) and isinstance(apart, nn.Linear)):
            raise ValueError(f"expected the encoder of KnownDomains.of, got {type(self.encoder).__name__}")
        is_timm = isinstance(frozen.encoder, TimmEncoder)
        content = {"names": list(self.names), "model": frozen.encoder.model if is_timm else None}
        content |= {"centers": self.centers, "embeddings": self.embeddings}
        content |= {"mean": frozen.mean, "std": frozen.std, "map": apart.weight.detach()}
        torch.save(content | {"encoder": frozen.encoder.state_dict()}, path)

    @classmethod
    def load(cls, path: Path | str) -> "KnownDomains":
        """Read what :meth:`save` wrote; nothing of the file is run.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is damaged or is another one.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"expected a file of KnownDomains.save, got {path}, which does not exist")
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            net = FrozenEncoder.from_timm(content["model"])
            net.encoder.load_state_dict(content["encoder"])
            net.mean, net.std = content["mean"], content["std"]
            apart = nn.Linear(*content["map"].shape[::-1], bias=False).requires_grad_(False)
            apart.weight.copy_(content["map"])
            names, centers, embeddings = tuple(map(str, content["names"])), content["centers"], content["embeddings"]
            if not len(names) == len(centers) == len(embeddings):
                raise ValueError("names, centers and embeddings of different lengths")
        except Exception as error:  # of many kinds; torch's own text advises to run the file's code
            raise ValueError(
                f"expected a file of KnownDomains.save, got {path}, which is damaged or another one "
                f"({type(error).__name__}): write it again with KnownDomains.save"
            ) from None
        return cls(names, centers, embeddings, nn.Sequential(net, apart).eval())

    def index_of(self, datamodule: DomainData, image: Any) -> int:
        """Number of the domain that an image is of by its attributes.

        Args:
            datamodule: The data.
            image: Its record.

        Raises:
            ValueError: No training image was of that domain.
        """
        found = datamodule.partition.assign("val", [image], datamodule.vocabulary)
        name = found.domain_names[found.domain[0]]
        if name not in self.names:
            raise ValueError(f"expected domains that training images are of, {list(self.names)}, got {name!r}")
        return self.names.index(name)


def features_of(encoder: nn.Module, datamodule: DomainData, split: LabelledSplit) -> Float[Tensor, "images features"]:
    """Features of the images of a split, in the order of the data module's records."""
    from rich.progress import track

    loader = datamodule.images_in_order(split)
    batches = (datamodule.on_after_batch_transfer(batch, 0)["image"] for batch in loader)
    return torch.cat([encoder(image) for image in track(batches, f"{split} images", total=len(loader), transient=True)])
