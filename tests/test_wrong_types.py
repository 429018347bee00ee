"""Errors about arguments of a wrong type: without the suite's type checks, as a user of the library has it."""

import subprocess
import sys

CALLS = """
import numpy as np
import torch
from torch import nn

from lightning_edge import data
from lightning_edge.nn import DeepLab, DISFlow, Normalize
from lightning_edge.nn.ode.anodev2 import ODEBlock
from lightning_edge.ops.shift import grid_shifts
from lightning_edge.systems import FixedInterval, VideoStream
from lightning_edge.systems.streaming.frame_check import check_frame

for call in (
    lambda: DISFlow("slow"),
    lambda: VideoStream(DeepLab("resnet10t", 5)),
    lambda: FixedInterval(2.5),
    lambda: ODEBlock(nn.Identity(), 2.5),
    lambda: ODEBlock(nn.Identity(), step="rk4"),
    lambda: ODEBlock(nn.Identity(), gradient="block_checkpoint"),
    lambda: grid_shifts(18, 3, 1.5),
    lambda: Normalize((0.5,), (0.5,))(torch.zeros(1, 1, 2, 2, dtype=torch.uint8)),
    lambda: data.CIFARDataModule(batch_size=None),
    lambda: data.CIFARDataModule(num_workers=1.5),
    lambda: data.CamVidDataModule(seed="0"),
    lambda: data.CIFARDataModule(num_samples=None),
    lambda: data.CIFARDataModule(num_samples=(200, None)),
    lambda: data.CIFARDataModule(val_fraction=None),
    lambda: data.CIFARDataModule(train_fraction="1"),
    lambda: data.CIFARDataModule(num_classes=None),
    lambda: data.CorruptedCIFARDataModule(severity=None),
    lambda: data.CorruptedCIFARDataModule(corruptions=None),
    lambda: data.DigitsDataModule(num_train_per_domain=None),
    lambda: data.DigitsDataModule(num_samples=300),
    lambda: data.DigitsDataModule(keep_attributes={"source": None}),
    lambda: data.MNISTDataModule(look="upside down"),
    lambda: data.MNISTMDataModule(num_train="all"),
    lambda: data.BDD100KDataModule(sample_size=None),
    lambda: data.BDD100KDataModule(sample_domains=None),
    lambda: data.CityscapesDataModule(sample_domains="night"),
    lambda: data.BDD100KDataModule(num_samples=(None, 5)),
    lambda: check_frame(np.zeros((4, 4, 3), np.uint8), None),
    lambda: data.RandomDomains(None),
    lambda: data.ByClusters("features.npz", 2.5),
):
    try:
        call()
    except ValueError as error:
        print(error)
"""


def test_are_one_sentence_each():
    ended = subprocess.run([sys.executable, "-c", CALLS], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines() == [
        "expected preset ultrafast, fast or medium, got 'slow'",
        "expected a video net, such as AccelNet or the net of Accel, got DeepLab",
        "expected interval as a whole number of frames from 1, got 2.5",
        "expected num_steps to be a whole number, got 2.5",
        "expected step to be a function, as in lightning_edge.ops, got 'rk4'",
        "expected gradient to be a function, as in lightning_edge.ops, got 'block_checkpoint'",
        "expected dilation to be a whole number, got 1.5",
        "expected an image of floats in [0, 1], got torch.uint8: divide bytes by 255",
        "expected a whole number as batch_size, got None",
        "expected a whole number as num_workers, got 1.5",
        "expected a whole number as seed, got '0'",
        "expected two whole numbers of at least 1 as num_samples, got None",
        "expected two whole numbers of at least 1 as num_samples, got (200, None)",
        "expected val_fraction within [0, 1), got None",
        "expected train_fraction within (0, 1], got '1'",
        "expected num_classes of 10 or 100, got None",
        "expected a whole number as severity, got None",
        "expected one or more corruptions without duplicates, got []",
        "expected a whole number as num_train_per_domain, got None",
        "expected two whole numbers of at least 1 as num_samples, got 300",
        "expected keep_attributes['source'] as a tuple of ('mnist', 'mnist_m', 'inverted', 'blurred'), got None",
        "expected look to be one of ('plain', 'inverted', 'blurred'), got 'upside down'",
        "expected a whole number as num_train, got 'all'",
        "expected two whole numbers of at least 1 as sample_size, got None",
        "expected sample_domains as a list of names, got None",
        "expected sample_domains as a list of names, got 'night'",
        "expected two whole numbers of at least 1 as num_samples, got (None, 5)",
        "expected frame as a tensor [3, height, width] in [0, 1], got ndarray; convert an RGB array of bytes by "
        "torch.from_numpy(frame).permute(2, 0, 1) / 255",
        "expected a whole number as num_domains, got None",
        "expected a whole number as num_domains, got 2.5",
    ]
