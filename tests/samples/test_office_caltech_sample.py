"""Generated features of Office-Caltech10: laid out as the real ones, always the same, and with a shift."""

import numpy as np
import pytest
from scipy.io import loadmat, whosmat
from sklearn.neighbors import KNeighborsClassifier

from lightning_edge.ops.feature_scaling import standardized_shares
from lightning_edge.samples.office_caltech import DOMAINS, NUM_IMAGES, sample_office_caltech
from lightning_edge.shallow import SubspaceAlignment, TransferComponentAnalysis

COUNTS = (200, 200, 100, 150)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_EDGE_CACHE", str(tmp_path_factory.mktemp("samples")))
        yield sample_office_caltech(COUNTS)


def test_it_is_laid_out_as_the_real_data(root):
    assert {path.name for path in root.glob("*.mat")} == {f"{domain}_SURF_L10.mat" for domain in DOMAINS}
    for domain, count in zip(DOMAINS, COUNTS, strict=True):
        path = root / f"{domain}_SURF_L10.mat"
        assert whosmat(path) == [("fts", (count, 800), "uint8"), ("labels", (count, 1), "double")]
        assert np.ptp(np.bincount(loadmat(path)["labels"][:, 0].astype(int))[1:]) <= 1


def test_the_default_numbers_are_those_of_the_real_data():
    assert dict(zip(DOMAINS, NUM_IMAGES, strict=True)) == {
        "amazon": 958, "Caltech10": 1123, "dslr": 157, "webcam": 295,
    }  # fmt: skip


def test_the_features_are_those_of_this_version(tmp_path, monkeypatch):
    """If a change is meant, raise ``OFFICE_CALTECH_VERSION``; every number that was measured on them is then void."""
    monkeypatch.setenv("LIGHTNING_EDGE_CACHE", str(tmp_path))
    root = sample_office_caltech((20, 20, 20, 20))
    features = [loadmat(root / f"{domain}_SURF_L10.mat")["fts"].astype(float) for domain in DOMAINS]
    # a draw may differ by a rounding between processors
    assert [values.sum() for values in features] == pytest.approx([5063, 3945, 3566, 2396], rel=1e-3)
    assert [(values @ np.arange(800)).mean() for values in features] == pytest.approx(
        [103078.8, 75919.2, 70288.6, 48039.4], rel=1e-3
    )


def test_equal_arguments_give_equal_files(root, tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_EDGE_CACHE", str(tmp_path))
    again, other = sample_office_caltech(COUNTS), sample_office_caltech(COUNTS, seed=1)
    for path in root.glob("*.mat"):
        assert (again / path.name).read_bytes() == path.read_bytes()
        assert (other / path.name).read_bytes() != path.read_bytes()


def domain_of(root, domain):
    content = loadmat(root / f"{domain}_SURF_L10.mat")
    return standardized_shares(content["fts"].astype(float)), content["labels"][:, 0]


def accuracy(estimator, source, target, *adapt_to):
    return estimator.fit(*source, *adapt_to).score(*target)


def test_another_domain_is_hard_and_adaptation_helps(root):
    """As with the real features, where one nearest neighbor in five to four is right, and adapted ones in two."""
    amazon, caltech = (domain_of(root, domain) for domain in ("amazon", "Caltech10"))
    without = accuracy(KNeighborsClassifier(1), caltech, amazon)
    assert without < 0.35
    for estimator in (SubspaceAlignment(), TransferComponentAnalysis()):
        assert accuracy(estimator, caltech, amazon, amazon[0]) > without + 0.08


def test_dslr_and_webcam_are_alike(root):
    dslr, webcam, amazon = (domain_of(root, domain) for domain in ("dslr", "webcam", "amazon"))
    near = accuracy(TransferComponentAnalysis(), webcam, dslr, dslr[0])
    assert near > accuracy(TransferComponentAnalysis(), amazon, dslr, dslr[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(((20, 9, 20, 20),), "num_images of Caltech10 of at least 10, got 9"), (((20, 20, 20, 20), -1), "seed")],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        sample_office_caltech(*arguments)
