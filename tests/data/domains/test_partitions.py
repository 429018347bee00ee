"""Ways to part a data set into domains."""

import numpy as np
import pytest

from lightning_edge.data import ByAttributes, ByClusters, EachImage, RandomDomains
from lightning_edge.data.domains.features import read_features, write_features
from lightning_edge.data.domains.partitions import ImageRecord

VOCABULARY = {"light": ("day", "night"), "sky": ("clear", "partly cloudy", "rainy")}
IMAGES = [
    ImageRecord(f"{number}.jpg", {"light": light, "sky": sky})
    for number, (light, sky) in enumerate(
        [("night", "clear"), ("day", "rainy"), ("day", "clear"), ("night", "partly cloudy"), ("day", "rainy")]
    )
]
NAMES = [image.name for image in IMAGES]


def name_of_each(partition, split="train", images=IMAGES):
    made = partition.assign(split, images, VOCABULARY)
    assert (made.split, list(made.images)) == (split, list(images))
    assert made.domain.dtype == np.int64
    count = partition.num_domains(VOCABULARY)
    assert count is None or len(made.domain_names) == len(set(made.domain_names)) == count
    return [made.domain_names[domain] for domain in made.domain]


def test_attributes_name_a_domain():
    partition = ByAttributes(("light", "sky"))
    assert name_of_each(partition) == ["night clear", "day rainy", "day clear", "night partly cloudy", "day rainy"]
    assert partition.num_domains(VOCABULARY) == 6


def test_a_single_attribute_needs_no_tuple():
    assert name_of_each(ByAttributes("light")) == name_of_each(ByAttributes(("light",)))


def test_the_order_of_attributes_is_that_of_the_arguments():
    assert name_of_each(ByAttributes(("sky", "light")))[:2] == ["clear night", "rainy day"]
    assert name_of_each(ByAttributes(("light",))) == ["night", "day", "day", "night", "day"]


def test_no_attribute_is_one_domain_for_all():
    partition = ByAttributes(())
    assert name_of_each(partition) == ["all"] * 5
    assert partition.num_domains(VOCABULARY) == 1


def test_numbers_of_domains_are_alike_in_all_splits():
    partition = ByAttributes(("light", "sky"))
    of_all = partition.assign("train", IMAGES, VOCABULARY).domain
    of_some = partition.assign("val", IMAGES[3:], VOCABULARY).domain
    assert of_some.tolist() == of_all[3:].tolist()


def test_unknown_attributes_are_named():
    partition = ByAttributes(("light", "season"))
    message = r"expected attributes among \['light', 'sky'\], got \['season'\]"
    with pytest.raises(ValueError, match=message):
        partition.num_domains(VOCABULARY)
    with pytest.raises(ValueError, match=message):
        partition.assign("train", IMAGES, VOCABULARY)


def test_random_domains_follow_from_the_name_and_the_seed_alone():
    images = [ImageRecord(f"{number}.jpg", {}) for number in range(1000)]
    domain = RandomDomains(5).assign("train", images, VOCABULARY).domain
    assert RandomDomains(5).assign("val", images[::-1], VOCABULARY).domain.tolist() == domain[::-1].tolist()
    other = RandomDomains(5, seed=1).assign("train", images, VOCABULARY).domain
    assert 0.1 < (domain == other).mean() < 0.3
    # five standard deviations of a binomial distribution
    assert np.abs(np.bincount(domain, minlength=5) - 200).max() < 5 * np.sqrt(1000 * 0.2 * 0.8)
    assert name_of_each(RandomDomains(3))


def test_each_image_is_one():
    assert name_of_each(EachImage()) == NAMES
    assert EachImage().num_domains(VOCABULARY) is None


@pytest.mark.parametrize("partition", [ByAttributes(("light",)), RandomDomains(3), EachImage()])
def test_a_split_may_be_empty(partition):
    assert name_of_each(partition, images=[]) == []


@pytest.fixture
def features(tmp_path):
    """Two far groups; the images of validation stand between, nearer to the first, and in the second."""
    path = tmp_path / "features.npz"
    train = np.array([[0, 0], [9, 9], [0, 1], [1, 0], [10, 9]], np.float32)
    write_features(path, {"train": (NAMES, train), "val": (["a", "b"], np.array([[4, 4], [12, 12]], np.float32))})
    return path


def test_clusters_are_groups_of_features(features):
    partition = ByClusters(features, num_domains=2)
    names = name_of_each(partition)
    assert names[0] == names[2] == names[3] != names[1] == names[4]
    assert name_of_each(partition, "val", [ImageRecord("b", {}), ImageRecord("a", {})]) == [names[1], names[0]]
    assert partition.num_domains(VOCABULARY) == 2


@pytest.mark.parametrize("seed", range(5))
def test_clusters_follow_from_the_seed_and_not_from_the_images_asked_for(features, seed):
    partition = ByClusters(features, num_domains=3, seed=seed)
    of_all = partition.assign("train", IMAGES, VOCABULARY).domain
    assert (
        ByClusters(features, 3, seed).assign("train", IMAGES[::-1], VOCABULARY).domain[::-1].tolist() == of_all.tolist()
    )
    assert partition.assign("train", IMAGES[2:3], VOCABULARY).domain == of_all[2]
    assert len(partition.assign("train", [], VOCABULARY).domain) == 0


def test_clusters_stay_when_the_file_changes(features):
    partition = ByClusters(features, num_domains=2)
    names = name_of_each(partition)
    of_val = [ImageRecord("b", {}), ImageRecord("a", {})]
    before = name_of_each(partition, "val", of_val)
    kept = read_features(features, "val", ["a", "b"])
    write_features(features, {"train": (NAMES, np.zeros((5, 2), np.float32)), "val": (["a", "b"], kept)})
    assert name_of_each(partition, "val", of_val) == before
    assert len(set(names)) == 2


def test_as_many_clusters_as_images(features):
    assert len(set(name_of_each(ByClusters(features, num_domains=5)))) == 5
    with pytest.raises(ValueError, match=r"num_domains of at most the number of training images \(5\), got 6"):
        name_of_each(ByClusters(features, num_domains=6))


@pytest.mark.filterwarnings("ignore:invalid value encountered", "ignore:One of the clusters is empty")
def test_images_that_look_alike_leave_clusters_empty(tmp_path):
    path = tmp_path / "features.npz"
    write_features(path, {"train": (NAMES, np.ones((5, 2), np.float32))})
    assert len(set(name_of_each(ByClusters(path, num_domains=2)))) == 1


def test_impossible_numbers_are_named(features):
    for make in (RandomDomains, lambda count: ByClusters(features, count)):
        with pytest.raises(ValueError, match="expected num_domains of at least 1, got 0"):
            make(0)
