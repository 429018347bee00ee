"""What a device must know of the domains that its net learned from."""

from pathlib import Path

import pytest
import torch

from lightning_edge.contracts import DomainImages
from lightning_edge.systems import KnownDomains

COUNT = 200


def images(seed):
    """Gray images of any light, of which every other one is a little warmer: that is its domain."""
    generator = torch.Generator().manual_seed(seed)
    light = torch.rand(COUNT, 1, 1, 1, generator=generator) * 0.6 + 0.2
    warmth = (torch.arange(COUNT) % 2).view(-1, 1, 1, 1) * torch.tensor([0.05, 0, -0.05]).view(1, 3, 1, 1)
    return light + warmth + 0.01 * torch.randn(COUNT, 3, 8, 8, generator=generator)


def training_images():
    """Images of two domains; no image belongs to a third one."""
    domain = torch.arange(COUNT) % 2 * 2
    return DomainImages(images(0).split(7), ("cold", "mild", "warm"), domain, torch.eye(3)[domain])


def nearest(known, features):
    return torch.cdist(features, known.centers).argmin(1)


def test_domains_are_told_apart_by_what_varies_little_within_them():
    known = KnownDomains.from_images(training_images())
    assert known.names == ("cold", "warm")
    assert known.embeddings.tolist() == [[1, 0, 0], [0, 0, 1]]
    domain = torch.arange(COUNT) % 2
    assert (nearest(known, known.encoder(images(1))) == domain).float().mean() > 0.95
    bare = known.encoder[0](images(1))
    centers = torch.stack([bare[domain == index].mean(0) for index in (0, 1)])
    assert (torch.cdist(bare, centers).argmin(1) == domain).float().mean() < 0.9


@pytest.mark.parametrize("encoder", [None, "test_resnet"])
def test_it_can_be_kept_for_a_device_without_images(encoder, tmp_path):
    known = KnownDomains.from_images(training_images(), encoder)
    known.save(tmp_path / "known.pt")
    assert set(torch.load(tmp_path / "known.pt", weights_only=True)) >= {"names", "centers", "embeddings"}
    again = KnownDomains.load(tmp_path / "known.pt")
    assert again.names == known.names
    assert torch.equal(again.centers, known.centers)
    assert torch.equal(again.embeddings, known.embeddings)
    assert torch.equal(again.encoder(images(1)), known.encoder(images(1)))


def test_a_full_disk_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    path = tmp_path / "known.pt"
    known = KnownDomains.from_images(training_images())
    known.save(path)
    old = path.read_bytes()

    def refuse(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(OSError, match="No space left") as error:
        known._replace(names=("night", "day")).save(path)
    assert error.value.filename == str(path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_the_embedding_of_a_domain_is_the_mean_over_its_images():
    """Embeddings may differ within a domain, such as those of images."""
    images_of_two = training_images()
    embedding = torch.randn(COUNT, 3, generator=torch.Generator().manual_seed(2))
    known = KnownDomains.from_images(images_of_two._replace(embedding=embedding))
    for name, found in zip(known.names, known.embeddings, strict=True):
        own = embedding[images_of_two.domain == images_of_two.domain_names.index(name)]
        torch.testing.assert_close(found, sum(own) / len(own))


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
    known = KnownDomains.from_images(training_images())._replace(encoder=torch.nn.Flatten())
    with pytest.raises(ValueError, match=r"expected the encoder of KnownDomains.from_images, got Flatten"):
        known.save(tmp_path / "known.pt")


def test_a_domain_without_training_images_is_unknown():
    known = KnownDomains.from_images(training_images())
    assert [known.index_of(name) for name in ("cold", "warm")] == [0, 1]
    with pytest.raises(
        ValueError, match=r"expected the name of a domain with training images, \['cold', 'warm'\], got 'mild'"
    ):
        known.index_of("mild")
