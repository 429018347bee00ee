"""Domains of the training data, and an encoder to recognize them, for a device that runs a domain-aware net."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from rich.progress import track
from torch import Tensor, nn

from lightning_edge.atomic_files import open_replacement
from lightning_edge.contracts import DomainImages
from lightning_edge.nn.encoders.frozen_encoder import FrozenEncoder, TimmEncoder
from lightning_edge.ops.discriminant import discriminant_map


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
    def from_images(
        cls, images: DomainImages, encoder: str | None = None, weights: str | None = None
    ) -> "KnownDomains":
        """Compute the features of all training images, and their mean in each domain.

        Args:
            images: Training images of the net, from ``DomainDataModule.domain_images("train")``.
            encoder: Name of a timm model. ``None`` means simple statistics of brightness and color.
            weights: File of weights for this model. ``None`` means random weights.
        """
        net = FrozenEncoder.from_timm(encoder, weights)
        features = features_of(net, images.batches, "training images")
        net.standardize(features)
        features = net.scaled(features)
        domain = images.domain
        discriminant = nn.Linear(features.shape[1], features.shape[1], bias=False).requires_grad_(False)
        discriminant.weight.copy_(discriminant_map(features, domain))
        features = discriminant(features)
        present = domain.unique().tolist()
        centers = torch.stack([features[domain == index].mean(0) for index in present])
        embeddings = torch.stack([images.embedding[domain == index].mean(0) for index in present])
        names = tuple(images.domain_names[index] for index in present)
        return cls(names, centers, embeddings, nn.Sequential(net, discriminant).eval())

    def save(self, path: Path | str) -> None:
        """Write tensors and names to a file, for a device that has no training images.

        Raises:
            OSError: The file cannot be written.
            ValueError: The encoder was not made by :meth:`from_images`, so a file could not describe it.
        """
        frozen, discriminant = (*self.encoder, None)[:2] if isinstance(self.encoder, nn.Sequential) else (None, None)
        if not (isinstance(frozen, FrozenEncoder) and isinstance(discriminant, nn.Linear)):
            raise ValueError(f"expected the encoder of KnownDomains.from_images, got {type(self.encoder).__name__}")
        is_timm = isinstance(frozen.encoder, TimmEncoder)
        content = {"names": list(self.names), "model": frozen.encoder.model if is_timm else None}
        content |= {"centers": self.centers, "embeddings": self.embeddings}
        content |= {"mean": frozen.mean, "std": frozen.std, "map": discriminant.weight.detach()}
        with open_replacement(Path(path)) as file:
            torch.save(content | {"encoder": frozen.encoder.state_dict()}, file)

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

    def index_of(self, name: str) -> int:
        """Index of the domain with this name.

        Raises:
            ValueError: No training image belongs to that domain.
        """
        if name not in self.names:
            raise ValueError(f"expected the name of a domain with training images, {list(self.names)}, got {name!r}")
        return self.names.index(name)


def features_of(
    encoder: nn.Module, batches: Iterable[Float[Tensor, "_ 3 height width"]], description: str
) -> Float[Tensor, "images features"]:
    """Features of all images in some batches, in [0, 1]; a progress bar with the description is shown meanwhile."""
    return torch.cat([encoder(image) for image in track(batches, description, transient=True)])
