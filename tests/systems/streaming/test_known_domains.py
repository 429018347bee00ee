"""What a device must know of the domains that its net learned from."""

from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from lightning_edge.data import ByAttributes, OneHotEmbedding
from lightning_edge.data.domains.module import DomainDataModule
from lightning_edge.data.domains.partitions import ImageRecord
from lightning_edge.systems import KnownDomains
from lightning_edge.systems.streaming.known_domains import DomainData

COUNT = 200


def images(seed):
    """Gray images of any light, of which every other one is a little warmer: that is its domain."""
    generator = torch.Generator().manual_seed(seed)
    light = torch.rand(COUNT, 1, 1, 1, generator=generator) * 0.6 + 0.2
    warmth = (torch.arange(COUNT) % 2).view(-1, 1, 1, 1) * torch.tensor([0.05, 0, -0.05]).view(1, 3, 1, 1)
    return light + warmth + 0.01 * torch.randn(COUNT, 3, 8, 8, generator=generator)


class Warmth:
    """Data of two domains, and a third that no image is of."""

    def __init__(self):
        self.partition, self.embedding = ByAttributes("warmth"), OneHotEmbedding()
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
    known = KnownDomains.from_datamodule(Warmth())
    assert known.names == ("cold", "warm")
    assert known.embeddings.tolist() == [[1, 0, 0], [0, 0, 1]]
    domain = torch.arange(COUNT) % 2
    assert (nearest(known, known.encoder(images(1))) == domain).float().mean() > 0.95
    bare = known.encoder[0](images(1))
    centers = torch.stack([bare[domain == index].mean(0) for index in (0, 1)])
    assert (torch.cdist(bare, centers).argmin(1) == domain).float().mean() < 0.9


@pytest.mark.parametrize("encoder", [None, "test_resnet"])
def test_it_can_be_kept_for_a_device_without_images(encoder, tmp_path):
    known = KnownDomains.from_datamodule(Warmth(), encoder)
    known.save(tmp_path / "known.pt")
    assert set(torch.load(tmp_path / "known.pt", weights_only=True)) >= {"names", "centers", "embeddings"}
    again = KnownDomains.load(tmp_path / "known.pt")
    assert again.names == known.names
    assert torch.equal(again.centers, known.centers)
    assert torch.equal(again.embeddings, known.embeddings)
    assert torch.equal(again.encoder(images(1)), known.encoder(images(1)))


class Touch:
    def __reduce__(self):
        return Path.touch, (Path("touched"),)


@pytest.mark.parametrize("content", [Touch(), {"names": ["day"]}, [1, 2], b"cut"])
def test_files_of_strangers_are_refused_and_never_run(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(content, "known.pt")
    if content == b"cut":
        Path("known.pt").write_bytes(Path("known.pt").read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"expected a file of KnownDomains.save, got known.pt"):
        KnownDomains.load("known.pt")
    assert not Path("touched").exists()
    with pytest.raises(FileNotFoundError, match=r"got none.pt"):
        KnownDomains.load("none.pt")


def test_an_encoder_that_no_file_can_describe_is_not_saved(tmp_path):
    known = KnownDomains.from_datamodule(Warmth())._replace(encoder=torch.nn.Flatten())
    with pytest.raises(ValueError, match=r"expected the encoder of KnownDomains.from_datamodule, got Flatten"):
        known.save(tmp_path / "known.pt")


def test_data_modules_with_domains_are_such_data():
    assert all(hasattr(DomainDataModule, name) for name in vars(DomainData) if not name.startswith("_"))
