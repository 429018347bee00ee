"""Data modules that know domains, and own partitions and embeddings that are wrong."""

import numpy as np
import pytest
import torch
from lights import TRAIN, VAL, VOCABULARY, records, write
from torch.utils.data import Dataset

from lightning_edge.contracts import ClassificationBatch
from lightning_edge.data import ByAttributes, EachImage, EstimatedEmbedding, MeanFeatureEmbedding, OneHotEmbedding
from lightning_edge.data.domains.embeddings import Description
from lightning_edge.data.domains.module import DomainDataModule, DomainLookup


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "deeper" / "features.npz")


class Plain(DomainDataModule):
    """Images that are but their domains."""

    batch_type = ClassificationBatch
    vocabulary = VOCABULARY
    asked = ()

    def records(self, split):
        return records(TRAIN if split == "train" else VAL, split)

    def make_dataset(self, split):
        return Lights(self.domain_lookup(split), len(self.records(split)))


class Lights(Dataset):
    def __init__(self, domains: DomainLookup, count: int) -> None:
        self.domains, self.count = domains, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"image": Lights.image(index), **self.domains.sample_fields(index)}

    @staticmethod
    def image(index: int) -> torch.Tensor:
        return torch.full((3, 1, 1), 50 * index, dtype=torch.uint8)


def test_a_data_module_tells_the_domain_of_each_image(path):
    data = Plain(batch_size=3, num_workers=0)
    assert data.domain_names == ("day", "dusk", "night")
    assert data.embedding_features == 3
    (batch,) = data.val_dataloader()
    assert batch["domain"].tolist() == [2, 0, 1]
    assert batch["domain_embedding"].tolist() == np.eye(3)[[2, 0, 1]].tolist()
    assert [int(item["domain"]) for item in map(data.dataset("train").__getitem__, range(5))] == [0, 2, 0, 2, 2]
    data = Plain(embedding=EstimatedEmbedding(path), batch_size=3, num_workers=0)
    (batch,) = data.val_dataloader()
    assert batch["domain"].tolist() == [2, 0, 1]  # the score is by what is, not by what is thought
    assert batch["domain_embedding"].argmax(1).tolist() == [0, 0, 2]


def test_images_may_be_looked_at_before_their_features_are_known(tmp_path):
    waiting = {"partition": EachImage(), "embedding": MeanFeatureEmbedding(tmp_path / "none.npz")}
    data = Plain(**waiting, batch_size=2, num_workers=0)
    assert [len(images) for images in data.images_in_order("train")] == [2, 2, 1]
    assert len(data.images_in_order("train")) == 3
    assert {name: getattr(data, name) for name in waiting} == waiting
    known = Plain(batch_size=2, num_workers=0)
    images = known.domain_images("val")
    assert torch.equal(torch.cat(list(images.batches)), torch.stack([Lights.image(index) for index in range(3)]) / 255)
    assert [images.domain_names[index] for index in images.domain] == list(VAL)
    assert images.embedding.tolist() == np.eye(3)[[2, 0, 1]].tolist()
    assert [int(known.dataset("val")[index]["domain"]) for index in range(3)] == [2, 0, 1]


def test_data_are_prepared_before_their_images_are_read():
    data = Plain(batch_size=2, num_workers=0)
    calls = []
    data.prepare_data = lambda: calls.append("prepared")
    assert data.domain_images("train").domain_names == ("day", "dusk", "night")
    assert calls == ["prepared"]


def test_the_domain_of_an_image_follows_from_its_attributes():
    assert Plain(num_workers=0).domain_of(records(["dusk"], "val")[0]) == "dusk"


class Faulty(OneHotEmbedding):
    """Describes domains as it is told to."""

    def __init__(self, embeddings, domain_index):
        self.described = Description(np.array(embeddings, np.float32), np.array(domain_index))

    def describe(self, of_split, of_training):
        return self.described


class Beyond(ByAttributes):
    """Counts domains from one."""

    def assign(self, split, images, vocabulary):
        made = super().assign(split, images, vocabulary)
        return made._replace(domain=made.domain + 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"embedding": Faulty(np.eye(3), [0, 0])},
            r"expected Faulty to give each of 5 images a domain_index .* got shape \(2,\)",
        ),
        (
            {"embedding": Faulty(np.eye(3), [0, 1, 2, 3, 0])},
            r"domain_index of at least 0 and below 3, got shape \(5,\) from 0 to 3",
        ),
        (
            {"embedding": Faulty(np.eye(3), [0, 1, 2, -1, 0])},
            r"domain_index of at least 0 and below 3, got shape \(5,\) from -1 to 2",
        ),
        (
            {"embedding": Faulty(np.ones(3), [0] * 5)},
            r"its num_features \(3\), got embeddings of shape \(3,\)",
        ),
        (
            {"embedding": Faulty(np.eye(4), [0] * 5)},
            r"its num_features \(3\), got embeddings of shape \(4, 4\)",
        ),
        (
            {"partition": Beyond(("light",))},
            "expected Beyond to give each of 5 images a domain .* below 3, got .* 3",
        ),
    ],
)
def test_own_parts_that_are_wrong_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Plain(**arguments, num_workers=0).setup("fit")


def test_an_embedding_that_cannot_describe_the_domains_is_refused():
    data = Plain(EachImage(), num_workers=0)
    assert data.domain_names is None
    with pytest.raises(ValueError, match="OneHotEmbedding expected a partition with a fixed number of domains"):
        data.domain_lookup("train")
