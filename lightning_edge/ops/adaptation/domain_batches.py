"""Batches of a source and a target domain that belong together."""

from torch import Tensor


def check_domains(source: Tensor, target: Tensor, least: int = 1) -> None:
    """Raise ``ValueError`` unless both domains have enough samples, and values of the same shape.

    Args:
        source: Values of the samples of the source domain; the first axis counts the samples.
        target: The same of the target domain; it may have another number of samples.
        least: Number of samples that each domain needs.
    """
    for name, batch in (("source", source), ("target", target)):
        if len(batch) < least:
            raise ValueError(f"expected {least} or more samples as {name}, got {len(batch)}; enlarge its batch")
    if source.shape[1:] != target.shape[1:]:
        raise ValueError(
            f"expected equal shapes of the samples of source and target, "
            f"got {list(source.shape[1:])} and {list(target.shape[1:])}; take both from the same layer"
        )


def check_labels(labels: Tensor, samples: Tensor, name: str) -> None:
    """Raise ``ValueError`` unless each sample has a label.

    Args:
        labels: Labels, or probabilities of classes, of samples.
        samples: Samples; the first axis counts them.
        name: Name of the labels in the error.
    """
    if len(labels) != len(samples):
        raise ValueError(f"expected {name} of each of {len(samples)} samples, got {len(labels)}")
