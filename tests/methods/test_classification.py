"""What is logged, against counting by hand, and what the loss is."""

import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch import nn
from torch.utils.data import DataLoader
from toys import make_trainer

from lightning_edge.methods import Classification

NUM_CLASSES = 5


class ToyClasses(LightningDataModule):
    """Three batches that differ in size."""

    num_classes, class_names = NUM_CLASSES, tuple("abcde")

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.batches = [
            {
                "image": torch.rand(size, 3, 8, 8, generator=generator),
                "label": torch.randint(0, NUM_CLASSES, (size,), generator=generator),
            }
            for size in (5, 3, 1)
        ]

    def val_dataloader(self):
        return DataLoader(self.batches, batch_size=None)

    test_dataloader = val_dataloader


class Linear(nn.Sequential):
    num_classes = NUM_CLASSES

    def __init__(self):
        torch.manual_seed(3)
        super().__init__(nn.Flatten(), nn.Linear(192, NUM_CLASSES))


@pytest.mark.parametrize("stage", ["val", "test"])
def test_scores_are_of_all_images_whatever_their_batch(stage, tmp_path):
    method, data = Classification(Linear(), label_smoothing=0.3), ToyClasses()
    trainer = make_trainer(tmp_path)
    (trainer.validate if stage == "val" else trainer.test)(method, data, verbose=False)
    images, labels = (torch.cat([batch[key] for batch in data.batches]) for key in ("image", "label"))
    scores = method(images)
    logged = trainer.callback_metrics
    assert logged[f"{stage}/accuracy"] == pytest.approx((scores.argmax(1) == labels).float().mean().item())
    assert 0 < logged[f"{stage}/accuracy"] < 1
    # smoothing is of the training alone
    assert logged[f"{stage}/loss"] == pytest.approx(nn.functional.cross_entropy(scores, labels).item())


def test_label_smoothing_mixes_in_the_mean_over_classes():
    batch = ToyClasses().batches[0]
    logs = Classification(Linear())(batch["image"]).log_softmax(1)
    own = -logs.gather(1, batch["label"][:, None]).mean()
    expected = 0.7 * own - 0.3 * logs.mean()
    torch.testing.assert_close(Classification(Linear(), label_smoothing=0.3).loss(batch), expected)


def test_predictions_are_classes():
    method, image = Classification(Linear()), torch.rand(4, 3, 8, 8)
    assert torch.equal(method.predict_step({"image": image}, 0), method(image).argmax(1))


def test_label_smoothing_is_checked():
    with pytest.raises(ValueError, match=r"expected label_smoothing within \[0, 1\], got 1.5"):
        Classification(Linear(), label_smoothing=1.5)


class ToyDomains(ToyClasses):
    """Batches that differ in size; ``says`` of an image is what a net will answer, right at night and never at dawn."""

    domain_names = ("night clear", "dawn/dusk clear", "unseen")

    def __init__(self, domains=((0, 0, 1, 0, 0), (1, 1, 1), (0,)), half_right=False):
        super().__init__()
        self.batches = []
        for values in domains:
            domain, label = torch.tensor(values), torch.arange(len(values)) % NUM_CLASSES
            says = (label + domain) % NUM_CLASSES
            if half_right:
                says[::2] = (label[::2] + 1) % NUM_CLASSES
            image = says[:, None, None, None].expand(-1, 3, 8, 8) / NUM_CLASSES
            self.batches.append({"image": image, "label": label, "domain": domain})


class Says(nn.Module):
    """Answers what the first pixel says."""

    num_classes = NUM_CLASSES

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, image):
        answer = (image[:, 0, 0, 0] * NUM_CLASSES).round().long() % NUM_CLASSES
        return self.factor * nn.functional.one_hot(answer, NUM_CLASSES).float()


def logged_by_domain(trainer, stage):
    prefix = f"{stage}/accuracy_"
    return {key.removeprefix(prefix): v.item() for key, v in trainer.callback_metrics.items() if key.startswith(prefix)}


@pytest.mark.parametrize("stage", ["val", "test"])
def test_accuracy_is_counted_in_each_domain_that_has_images(stage, tmp_path):
    trainer, method, data = make_trainer(tmp_path), Classification(Says()), ToyDomains()
    (trainer.validate if stage == "val" else trainer.test)(method, data, verbose=False)
    assert logged_by_domain(trainer, stage) == {"night_clear": 1.0, "dawn_dusk_clear": 0.0}
    assert trainer.callback_metrics[f"{stage}/accuracy"] == pytest.approx(5 / 9)
    assert not any("domain" in key for key in method.state_dict()), "counts are no weights"


def test_each_image_of_a_domain_counts_alike_whatever_its_batch(tmp_path):
    trainer, data = make_trainer(tmp_path), ToyDomains([(0, 0, 0, 0, 0), (0, 0, 0, 1)], half_right=True)
    trainer.validate(Classification(Says()), data, verbose=False)
    # wrong are places 0, 2, 4 of the first batch, and 0 and 2 of the second
    assert logged_by_domain(trainer, "val") == pytest.approx({"night_clear": 3 / 8, "dawn_dusk_clear": 0.0})


def test_each_evaluation_counts_anew_and_takes_the_domains_of_its_data(tmp_path):
    trainer, method = make_trainer(tmp_path), Classification(Says())
    trainer.validate(method, ToyDomains([(0, 0)], half_right=True), verbose=False)
    assert logged_by_domain(trainer, "val") == {"night_clear": 0.5}
    trainer.validate(method, ToyDomains([(0, 1)]), verbose=False)
    assert logged_by_domain(trainer, "val") == {"night_clear": 1.0, "dawn_dusk_clear": 0.0}
    other = ToyDomains([(0, 1)])
    other.domain_names = ("snow", "rain")
    trainer.validate(method, other, verbose=False)
    assert logged_by_domain(trainer, "val") == {"snow": 1.0, "rain": 0.0}
    trainer.validate(method, ToyClasses(), verbose=False)
    assert logged_by_domain(trainer, "val") == {}


def test_a_fit_forgets_the_sanity_check(tmp_path):
    trainer = make_trainer(tmp_path, max_epochs=1, num_sanity_val_steps=1, limit_train_batches=1)
    data = ToyDomains([(0, 0, 0), (1,)])
    data.train_dataloader = data.val_dataloader
    method = Classification(Says())
    trainer.fit(method, data)
    assert method.domain_accuracy.num_images.tolist() == [3, 1, 0]


@pytest.mark.parametrize("names", [None, ()])
def test_without_names_of_domains_nothing_more_is_logged(names, tmp_path):
    trainer, data = make_trainer(tmp_path), ToyDomains()
    data.domain_names = names
    trainer.validate(Classification(Says()), data, verbose=False)
    assert trainer.callback_metrics.keys() == {"val/accuracy", "val/loss"}


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric DomainAccuracy")
def test_without_domains_in_batches_nothing_more_is_logged(tmp_path):
    trainer, data = make_trainer(tmp_path), ToyDomains()
    for batch in data.batches:
        del batch["domain"]
    trainer.validate(Classification(Says()), data, verbose=False)
    assert trainer.callback_metrics.keys() == {"val/accuracy", "val/loss"}


def test_two_processes_count_together(tmp_path):
    """Each of them sees one domain only."""
    trainer = make_trainer(tmp_path, strategy="ddp_fork", devices=2)
    data = ToyDomains([(0, 0), (1, 1, 1), (0,), (1,)])
    trainer.validate(Classification(Says()), data, verbose=False)
    assert logged_by_domain(trainer, "val") == {"night_clear": 1.0, "dawn_dusk_clear": 0.0}


def test_domains_that_become_one_key_are_named(tmp_path):
    data = ToyDomains()
    data.domain_names = ("a b", "a/b")
    with pytest.raises(ValueError, match=r"\['a b', 'a/b'\]"):
        make_trainer(tmp_path).validate(Classification(Says()), data, verbose=False)


class Pairs(ToyClasses):
    """Tuples, as most data sets of the field give."""

    def train_dataloader(self):
        return DataLoader([(batch["image"], batch["label"]) for batch in self.batches], batch_size=None)

    val_dataloader = test_dataloader = train_dataloader


class WithoutLabels(ToyClasses):
    def val_dataloader(self):
        return DataLoader([{"image": batch["image"]} for batch in self.batches], batch_size=None)

    train_dataloader = test_dataloader = val_dataloader


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
@pytest.mark.parametrize(("data", "given"), [(Pairs, "a (tuple|list)"), (WithoutLabels, "one with 'image'")])
def test_batches_of_another_kind_are_refused_with_what_was_expected(stage, data, given, tmp_path):
    said = (
        rf"expected a batch with 'image' and 'label' \(ClassificationBatch\), got {given}\. See the guide to your own"
    )
    trainer = make_trainer(tmp_path, num_sanity_val_steps=0, limit_val_batches=1 if stage == "validate" else 0)
    with pytest.raises(ValueError, match=said):
        getattr(trainer, stage)(Classification(Linear()), data())
