"""What a device must know of the domains that its net learned from."""

import torch
from torch.utils.data import DataLoader

from lightning_edge.data import ByAttributes, OneHot
from lightning_edge.data.domains import DomainDataModule
from lightning_edge.data.partitions import ImageRecord
from lightning_edge.systems import KnownDomains
from lightning_edge.systems.known_domains import DomainData

COUNT = 200


def images(seed):
    """Grey images of any light, of which every other one is a little warmer: that is its domain."""
    generator = torch.Generator().manual_seed(seed)
    light = torch.rand(COUNT, 1, 1, 1, generator=generator) * 0.6 + 0.2
    warmth = (torch.arange(COUNT) % 2).view(-1, 1, 1, 1) * torch.tensor([0.05, 0, -0.05]).view(1, 3, 1, 1)
    return light + warmth + 0.01 * torch.randn(COUNT, 3, 8, 8, generator=generator)


class Warmth:
    """Data of two domains, and a third that no image is of."""

    def __init__(self):
        self.partition, self.embedding = ByAttributes("warmth"), OneHot()
        self.vocabulary = {"warmth": ("cold", "mild", "warm")}

    def prepare_data(self):
        pass

    def records(self, split):
        return [ImageRecord(str(index), {"warmth": ("cold", "warm")[index % 2]}) for index in range(COUNT)]

    def images_in_order(self, split):
        return DataLoader([{"image": image} for image in images(0)], batch_size=7)

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return batch


def nearest(known, features):
    return torch.cdist(features, known.centers).argmin(1)


def test_domains_are_told_apart_by_what_varies_little_within_them():
    known = KnownDomains.of(Warmth())
    assert known.names == ("cold", "warm")
    assert known.embeddings.tolist() == [[1, 0, 0], [0, 0, 1]]
    domain = torch.arange(COUNT) % 2
    assert (nearest(known, known.encoder(images(1))) == domain).float().mean() > 0.95
    bare = known.encoder[0](images(1))
    centers = torch.stack([bare[domain == index].mean(0) for index in (0, 1)])
    assert (torch.cdist(bare, centers).argmin(1) == domain).float().mean() < 0.9


def test_it_can_be_kept_for_a_device_without_images(tmp_path):
    known = KnownDomains.of(Warmth())
    torch.save(known, tmp_path / "known.pt")
    again = torch.load(tmp_path / "known.pt", weights_only=False)
    assert again.names == known.names
    assert torch.equal(again.encoder(images(1)), known.encoder(images(1)))


def test_data_modules_with_domains_are_such_data():
    assert all(hasattr(DomainDataModule, name) for name in vars(DomainData) if not name.startswith("_"))
