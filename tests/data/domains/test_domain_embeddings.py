"""What a net is told of domains, and what may be known of an image's when it is seen."""

import numpy as np
import pytest
from lights import FEATURES, OF_TRAINING, OF_VAL, PARTITION, TRAIN, VOCABULARY, assigned, records, write

from lightning_edge.data import (
    EachImage,
    EstimatedEmbedding,
    ImageFeatureEmbedding,
    MeanFeatureEmbedding,
    OneHotEmbedding,
    RandomEmbedding,
    ShuffledEmbedding,
)
from lightning_edge.data.domains.features import num_features, read_features, write_features
from lightning_edge.data.domains.partitions import Assignment


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "deeper" / "features.npz")


def told(embedding, of_split=OF_VAL):
    description = embedding.describe(of_split, OF_TRAINING)
    assert description.embeddings.dtype == np.float32
    assert description.embeddings.shape[1] == embedding.num_features(PARTITION, VOCABULARY)
    return description.embeddings[description.domain_index].tolist()


def test_one_hot_says_which_domain():
    assert told(OneHotEmbedding()) == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert told(OneHotEmbedding(), OF_TRAINING)[:2] == [[1, 0, 0], [0, 0, 1]]


def test_one_hot_refuses_domains_that_do_not_recur():
    with pytest.raises(ValueError, match=r"OneHotEmbedding expected .*, got EachImage: use MeanFeatureEmbedding"):
        OneHotEmbedding().num_features(EachImage(), VOCABULARY)


def test_mean_features_are_those_of_a_domain_in_its_own_split(path):
    assert told(MeanFeatureEmbedding(path), OF_TRAINING) == [[1, 0], [9, 9], [1, 0], [9, 9], [9, 9]]
    assert told(MeanFeatureEmbedding(path)) == FEATURES["val"].tolist()
    both = assigned("val", ["night", "day", "night"])
    assert told(MeanFeatureEmbedding(path), both) == [[5.5, 5], [0, 1], [5.5, 5]]


def test_the_table_of_mean_features_is_zero_where_no_image_is(path):
    embeddings = MeanFeatureEmbedding(path).describe(OF_TRAINING, OF_TRAINING).embeddings
    assert embeddings.tolist() == [[1, 0], [0, 0], [9, 9]]


def test_an_estimated_domain_is_the_training_domain_that_looks_most_alike(path):
    # by day, by day and by night it looks, whatever the attributes say
    assert told(EstimatedEmbedding(path)) == [[1, 0, 0], [1, 0, 0], [0, 0, 1]]
    assert told(EstimatedEmbedding(path, MeanFeatureEmbedding(path))) == [[1, 0], [1, 0], [9, 9]]


def test_what_varies_within_a_domain_does_not_decide_on_it(tmp_path):
    """The domain shows in the difference of two features that vary together, far more than they differ."""
    rng, path, lights, features = np.random.default_rng(0), tmp_path / "features.npz", {}, {}
    for split, count in (("train", 400), ("val", 100)):
        lights[split] = ["day", "night"] * (count // 2)
        common, night = rng.normal(0, 1.2, count), np.arange(count) % 2
        noise = rng.normal(0, 0.1, (count, 2))
        features[split] = (np.stack([common + night, 2.5 * common], 1) + noise).astype(np.float32)
    of = {split: assigned(split, lights[split]) for split in lights}
    write_features(path, {s: ([image.name for image in of[s].images], features[s]) for s in of})
    right = EstimatedEmbedding(path).describe(of["val"], of["train"]).domain_index == of["val"].domain
    means = [features["train"][of["train"].domain == domain].mean(0) for domain in (0, 2)]
    nearest = 2 * np.linalg.norm(features["val"][:, None] - np.stack(means), axis=2).argmin(1)
    assert right.mean() > 0.8 > 0.7 > (nearest == of["val"].domain).mean()


def test_in_training_domains_are_not_estimated(path):
    mislabeled = assigned("train", TRAIN[::-1])
    expected = OneHotEmbedding().describe(mislabeled, mislabeled)
    actual = EstimatedEmbedding(path).describe(mislabeled, mislabeled)
    assert np.array_equal(actual.embeddings[actual.domain_index], expected.embeddings[expected.domain_index])


def test_a_domain_without_training_images_is_never_estimated(path):
    """Its mean would be zero, which is nearest to what lies at the origin."""
    write_features(path, {"train": ([image.name for image in OF_TRAINING.images], FEATURES["train"] + 5),
                          "val": ([image.name for image in OF_VAL.images], FEATURES["val"] * 0)})  # fmt: skip
    assert told(EstimatedEmbedding(path)) == [[1, 0, 0]] * 3


def test_estimates_of_images_that_are_each_a_domain(path):
    of_training, of_val = (EachImage().assign(made.split, made.images, VOCABULARY) for made in (OF_TRAINING, OF_VAL))
    description = EstimatedEmbedding(path, MeanFeatureEmbedding(path)).describe(of_val, of_training)
    assert description.embeddings[description.domain_index].tolist() == [[2, 0], [0, 0], [8, 8]]


@pytest.mark.parametrize("seed", range(10))
def test_shuffled_gives_each_domain_that_of_another(seed):
    honest, shuffled = told(OneHotEmbedding()), told(ShuffledEmbedding(seed=seed))
    assert all(one != other for one, other in zip(honest, shuffled, strict=True))
    assert sorted(honest) == sorted(shuffled)
    assert told(ShuffledEmbedding(seed=seed), OF_TRAINING) == told(OneHotEmbedding(), OF_TRAINING)
    assert told(ShuffledEmbedding(seed=seed)) == shuffled


def test_shuffled_is_alike_for_all_images_of_a_domain_and_uses_no_absent_one():
    actual = told(ShuffledEmbedding(), assigned("val", ["day", "night", "day", "night"]))
    assert actual == [[0, 0, 1], [1, 0, 0], [0, 0, 1], [1, 0, 0]]


def test_seeds_shuffle_differently():
    many = [f"l{number}" for number in range(8)]
    names = tuple(many)
    assignment = Assignment("val", records(many, "val"), names, np.arange(8))
    rows = {tuple(ShuffledEmbedding(seed=seed).describe(assignment, assignment).domain_index) for seed in range(10)}
    assert len(rows) == 10


def test_one_domain_cannot_be_shuffled():
    with pytest.raises(ValueError, match="expected two domains or more in the val split to shuffle, got 1"):
        told(ShuffledEmbedding(), assigned("val", ["day", "day"]))


def test_estimates_can_be_shuffled(path):
    assert told(ShuffledEmbedding(EstimatedEmbedding(path))) == [[0, 0, 1], [0, 0, 1], [1, 0, 0]]


def test_features_are_read_in_the_order_asked_for(path):
    assert num_features(path) == 2
    assert read_features(path, "val", ["val2", "val0"]).tolist() == [[9, 9], [2, 1]]
    assert read_features(path, "val").tolist() == FEATURES["val"].tolist()
    assert read_features(path, "val", []).shape == (0, 2)
    assert [item.name for item in path.parent.iterdir()] == ["features.npz"]


def test_missing_features_are_named(path, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz: there is no such file; .* recipes\.ddn embed"):
        read_features(tmp_path / "none.npz", "train")
    with pytest.raises(ValueError, match="expected features of the test split, got a file without"):
        read_features(path, "test")
    with pytest.raises(ValueError, match="of all 3 images of the val split, 2 are missing, such as x: was it written"):
        read_features(path, "val", ["x", "val1", "y"])


def faulty(path):
    """What may lie there instead of the file."""
    whole = path.read_bytes()
    np.save(path.with_suffix(".npy"), np.zeros(3))
    return {
        "empty": b"",
        "text": b"no features",
        "cut short": whole[: len(whole) // 2],
        "damaged": whole[:200] + b"\0" * 50 + whole[250:],
        "one array": path.with_suffix(".npy").read_bytes(),
    }


@pytest.mark.parametrize("fault", ["empty", "text", "cut short", "damaged", "one array"])
def test_a_faulty_file_of_features_is_named(fault, path):
    path.write_bytes(faulty(path)[fault])
    with pytest.raises(ValueError, match=r"features\.npz: expected (a file of )?features"):
        read_features(path, "train")


def test_features_of_the_image_are_its_own(path):
    assert told(ImageFeatureEmbedding(path)) == FEATURES["val"].tolist()


def test_a_domain_at_random_is_one_that_occurs_and_is_alike_in_each_run():
    many = assigned("train", ["day", "night"] * 50)
    embeddings, domain_index = RandomEmbedding(seed=1).describe(many, many)
    assert embeddings.tolist() == np.eye(3).tolist()
    assert set(domain_index.tolist()) == {0, 2}  # no image is of dusk
    assert 30 < (domain_index == 0).sum() < 70
    assert 30 < (domain_index == many.domain).sum() < 70
    again = RandomEmbedding(seed=1).describe(many, many).domain_index
    assert (domain_index == again).all()
    assert (domain_index != RandomEmbedding(seed=2).describe(many, many).domain_index).any()
