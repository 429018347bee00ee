"""Domains of images: partitions of a data set, their embeddings, and the data module that adds them."""
