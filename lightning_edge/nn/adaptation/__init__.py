"""Nets that train beside a model to adapt it, such as discriminators and translators, and changes of appearance."""

from lightning_edge.nn.adaptation.appearance import RandomAppearance as RandomAppearance
from lightning_edge.nn.adaptation.random_convolutions import RandomConvolutions as RandomConvolutions
