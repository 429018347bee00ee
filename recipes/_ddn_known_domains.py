"""What a device that runs a domain-aware net must have with it: the domains of training, and how to tell them."""

from typing import TYPE_CHECKING, Any, NamedTuple

from recipes._ddn_embed import features_of

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_edge.data.partitions import ImageRecord
    from lightning_edge.nn.frozen_encoder import FrozenEncoder


class KnownDomains(NamedTuple):
    """Domains that training images were of."""

    names: tuple[str, ...]
    centers: "Tensor"
    """Mean features of the training images of each, ``[domains, features]``."""
    embeddings: "Tensor"
    """Mean of what the net was told of the training images of each, ``[domains, embedding features]``."""
    encoder: "FrozenEncoder"

    def index_of(self, datamodule: Any, image: "ImageRecord") -> int:
        """Number of the domain that an image is of by its attributes."""
        found = datamodule.partition.assign("val", [image], datamodule.vocabulary)
        name = found.domain_names[found.domain[0]]
        if name not in self.names:
            raise ValueError(f"expected domains that training images are of, {list(self.names)}, got {name!r}")
        return self.names.index(name)


def known_domains(datamodule: Any, encoder: str | None, weights: str | None) -> KnownDomains:
    """Look at all training images.

    Args:
        datamodule: The data.
        encoder: As of the command ``embed``.
        weights: As there.
    """
    import torch

    from lightning_edge.nn.frozen_encoder import FrozenEncoder

    net = FrozenEncoder.of(encoder, weights)
    datamodule.prepare_data()
    features = features_of(net, datamodule, "train")
    net.standardise(features)
    features = net.scaled(features)
    assigned = datamodule.partition.assign("train", datamodule.records("train"), datamodule.vocabulary)
    told = datamodule.embedding.describe(assigned, assigned)
    domain, row = torch.from_numpy(assigned.domain), torch.from_numpy(told.row)
    present = domain.unique().tolist()
    centers = torch.stack([features[domain == index].mean(0) for index in present])
    table = torch.from_numpy(told.table)
    embeddings = torch.stack([table[row[domain == index]].mean(0) for index in present])
    return KnownDomains(tuple(assigned.domain_names[index] for index in present), centers, embeddings, net)


def check_detection(datamodule: Any) -> None:
    """Raise ``ValueError`` for data without boxes."""
    from lightning_edge.data import DetectionDataModule

    if not isinstance(datamodule, DetectionDataModule):
        raise ValueError(f"expected data of a DetectionDataModule, got {type(datamodule).__name__}")
