"""Nets that train beside a model to adapt it: discriminators, decoders and translators."""
