"""Domains of images: partitions of a data set, embeddings of domains, and data modules with domains."""
