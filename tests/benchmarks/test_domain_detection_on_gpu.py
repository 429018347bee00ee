"""Domain-aware detectors and their baselines on generated BDD100K, trained side by side on one GPU.

``python -m recipes.ddn compare`` trains one net after another, whose steps are hundreds of kernels too small for a GPU.
Here the whole step of a net, from the draw of images to AdamW, is recorded once as a CUDA graph, and the graphs of all
nets replay at once: 24 nets took 270 s for 43 epochs on an H200. Nets, losses, rate and schedule are those of the
recipe; flip, scale, place and color are changed as there, by other random numbers and on black in place of gray; the
precision is bfloat16 by autocast, and there are 2,000 images for training in place of 600, and 500 for validation.

The figures in the docs are of a script before it was put in order as this one, which has not run on a GPU yet.
"""

import copy
import os
from collections.abc import Mapping
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from graphed_detection import Images, Told, Training, draw, train
from rich.console import Console
from rich.table import Table

from lightning_edge.analysis.intervals import mean_with_interval
from lightning_edge.data import BDD100KDataModule
from lightning_edge.methods import PolynomialDecay
from lightning_edge.metrics.average_precision import ScoredImage, ap50_by_domain, average_precision, outer_edges
from lightning_edge.nn.conditioning import in_domain
from lightning_edge.nn.detection.center_detector import CenterDetector
from lightning_edge.nn.dynamic.ddn import CondConvNet, DomainNet
from lightning_edge.nn.encoders.frozen_encoder import FrozenEncoder
from lightning_edge.nn.encoders.norm_statistics import reestimate_norms
from lightning_edge.ops.center_targets import pad_boxes
from recipes.ddn.compare import _WIDTHS

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]
NUM_TRAIN, NUM_VAL, EPOCHS, SEEDS, BATCH, RATE = 2000, 500, 43, 3, 16, 2e-3
TUNING_EPOCHS, TUNING_RATE = 8, 2e-4


class Split:
    """Images of a split on the GPU, their truth and their domains, of those that occur."""

    def __init__(self, data, split, encoder):
        dataset = data.dataset(split)
        samples = [dataset[index] for index in range(len(dataset))]
        self.samples = samples
        image = torch.stack([sample["image"] for sample in samples]).cuda()
        boxes, ignored = (
            pad_boxes([sample[name].cuda() for sample in samples], [sample[label].cuda() for sample in samples])
            for name, label in (("boxes_xyxy", "label"), ("ignored_xyxy", "ignored_label"))
        )
        self.images = Images(image, boxes, ignored, torch.tensor([image.shape[3], image.shape[2]]).cuda())
        present, self.domain = torch.stack([sample["domain"] for sample in samples]).cuda().unique(return_inverse=True)
        self.names = [data.domain_names[index] for index in present.tolist()]
        self.features = torch.cat([encoder(part.cpu().float() / 255) for part in image.split(250)]).cuda()

    def indices(self, domain):
        return (self.domain == domain).nonzero().flatten()

    def means(self):
        return torch.stack([self.features[self.domain == index].mean(0) for index in range(len(self.names))])


def load():
    data = BDD100KDataModule(num_samples=(NUM_TRAIN, NUM_VAL), num_workers=0)
    data.prepare_data()
    encoder = FrozenEncoder.from_timm()
    learned = Split(data, "train", encoder)
    encoder.standardize(learned.features.cpu())
    learned.features = encoder.scaled(learned.features.cpu()).cuda()
    return data, learned, Split(data, "val", encoder)


def make_net(kind, num_features):
    channels = {"wide2": _WIDTHS[2], "wide4": _WIDTHS[4]}.get(kind)
    body = CenterDetector("resnet10_quarter", 10, encoder_options=channels and {"channels": channels})
    if kind == "condconv4":
        return CondConvNet(body, 4, "encoder")
    return DomainNet(body, num_features, int(kind[-1]), "encoder") if num_features else body


def plan(learned, judged, seed):
    """For each net: its kind, what it is told in training, and what in each of its evaluations."""
    count = len(learned.names)
    places = torch.eye(count).cuda()
    nearest = torch.cdist(judged.features, learned.means()).argmin(1)
    cycle = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    other = torch.empty_like(cycle).index_copy_(0, cycle, cycle.roll(1)).cuda()
    any_domain = [torch.randint(count, split.domain.shape).cuda() for split in (learned, judged)]

    def evaluations(of_learned, of_judged):
        return {
            "": Told(of_judged, judged.domain),
            "shuffled": Told(of_judged, other[judged.domain]),
            "estimated": Told(of_learned, nearest),
        }

    means, each = evaluations(learned.means(), judged.means()), torch.arange(len(judged.features)).cuda()
    return {
        **{kind: (kind, None, {"": None}) for kind in ("static", "wide2", "wide4", "condconv4")},
        "ddn2": ("ddn2", Told(places, learned.domain), evaluations(places, places)),
        "ddn4": ("ddn4", Told(places, learned.domain), evaluations(places, places)),
        "ddn4_random": ("ddn4", Told(places, any_domain[0]), {"": Told(places, any_domain[1])}),
        "means4": (
            "ddn4",
            Told(learned.means(), learned.domain),
            means | {"of_image": Told(judged.features, each)},
        ),
    }


@torch.no_grad()
def scored(net, judged, told=None, indices=None):
    """What a net finds in all images, or in some, beside the truth."""
    net.eval()
    indices = torch.arange(len(judged.domain)).cuda() if indices is None else indices
    images = []
    for part in indices.split(100):
        with nullcontext() if told is None else in_domain(net, told.table, told.row[part]):
            actual = net.detect(judged.images.image[part].float() / 255)
        for index, detections in zip(part.tolist(), actual, strict=True):
            truth, number = judged.samples[index], len(judged.samples[index]["label"])
            boxes = torch.cat([truth["boxes_xyxy"], truth["ignored_xyxy"]])
            labels = torch.cat([truth["label"], truth["ignored_label"]])
            on_cpu = type(detections)(*(values.cpu() for values in detections))
            on_cpu = on_cpu._replace(boxes_xyxy=outer_edges(on_cpu.boxes_xyxy))
            is_ignored = (torch.arange(len(labels)) >= number).long()
            domain = int(judged.domain[index])
            images.append(ScoredImage(index, domain, on_cpu, outer_edges(boxes), labels, is_ignored))
    net.train()
    return images


def rate(peak):
    schedule = PolynomialDecay(warmup=0.05)
    return lambda done: peak * schedule(done)


def train_all(learned, judged):
    trainings = {}
    for seed in range(SEEDS):
        for name, (kind, told, _) in plan(learned, judged, seed).items():
            torch.manual_seed(seed)
            net = make_net(kind, told.table.shape[1] if told else 0).cuda().to(memory_format=torch.channels_last)
            steps = draw(NUM_TRAIN, EPOCHS, BATCH, seed)
            trainings[name, seed] = Training(net, learned.images, told, *steps, rate(RATE))
    train(list(trainings.values()))
    return {key: training.net for key, training in trainings.items()}


def fine_tuned(static, learned, seed):
    """A net for each domain, trained on with its images."""
    trainings = [
        Training(
            copy.deepcopy(static),
            learned.images,
            None,
            *draw(NUM_TRAIN, TUNING_EPOCHS, BATCH, 100 * seed + domain, learned.indices(domain).cpu()),
            rate(TUNING_RATE),
        )
        for domain in range(len(learned.names))
    ]
    train(trainings)
    return [training.net for training in trainings]


def renormed(static, learned):
    """A net for each domain, with statistics of batch norm of its images."""
    nets = [copy.deepcopy(static) for _ in learned.names]
    for domain, net in enumerate(nets):
        reestimate_norms(net, (learned.images.image[part].float() / 255 for part in learned.indices(domain).split(50)))
    return nets


def of_each_domain(nets, judged):
    return [image for domain, net in enumerate(nets) for image in scored(net, judged, None, judged.indices(domain))]


def test_average_precision(capsys, monkeypatch):
    monkeypatch.setitem(os.environ, "CUDA_DEVICE_MAX_CONNECTIONS", "32")  # before CUDA begins
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    data, learned, judged = load()
    nets = train_all(learned, judged)
    actual: dict[str, list[Mapping[str, float]]] = {}
    for seed in range(SEEDS):
        images = {
            f"{name} {label}".strip(): scored(nets[name, seed], judged, told)
            for name, (_, _, evaluations) in plan(learned, judged, seed).items()
            for label, told in evaluations.items()
        }
        static = nets["static", seed]
        images["fine_tuned"] = of_each_domain(fine_tuned(static, learned, seed), judged)
        images["norms"] = of_each_domain(renormed(static, learned), judged)
        for name, of_net in images.items():
            scores = average_precision(of_net, data.class_names) | ap50_by_domain(of_net, judged.names)
            actual.setdefault(name, []).append({key: 100 * value for key, value in scores.items()})
    table = Table(title=f"mean of {SEEDS} seeds with 95 % interval, percent; -static: AP50, seed by seed")
    for heading in ("net", "AP", "AP50", "-static", *judged.names):
        table.add_column(heading)
    for name, scores in actual.items():
        gains = [own["ap50"] - other["ap50"] for own, other in zip(scores, actual["static"], strict=True)]
        cells = [[score[key] for score in scores] for key in ("ap", "ap50")]
        of_domains = [np.mean([score[key] for score in scores]) for key in judged.names]
        table.add_row(name, *map(mean_with_interval, [*cells, gains]), *(f"{value:.1f}" for value in of_domains))
    with capsys.disabled():
        Console(width=150).print(table)
