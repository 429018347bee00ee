"""What holds for every test."""

import os

import torch

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it would ask the network for a newer version at import

torch.set_num_threads(1)
