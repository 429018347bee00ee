"""What a term of the loss is computed from: outputs of source and target, and what they must be."""

from typing import Any, NamedTuple

from torch import Tensor

from callbacks.adaptation._two_domains import LayerOutputs
from lightning_edge.ops.precision import at_least_float32


class Pair(NamedTuple):
    """What a term of the loss is computed from in one training step."""

    source: LayerOutputs
    """What the layer received and returned for the source batch."""
    target: LayerOutputs
    """The same for the target batch."""
    target_output: Any
    """What the module's ``forward`` returned for the target batch."""
    target_input: Any
    """What it received for the target batch, such as images."""
    batch: Any
    """The labeled source batch."""
    progress: float
    """Completed share of training, in [0, 1]."""


def pooled(features: Tensor) -> Tensor:
    """Features of samples, ``[batch, features]``: maps ``[batch, features, ...]`` are averaged over all places."""
    return features.flatten(2).mean(2) if features.ndim > 2 else features


def class_logits(outputs: Tensor) -> Tensor:
    """The outputs of a layer as logits ``[batch, classes]``, also those of a convolution on maps of one place.

    Raises:
        ValueError: They are something else.
    """
    logits = outputs.flatten(1) if outputs.ndim > 2 and outputs[0, 0].numel() == 1 else outputs
    if logits.ndim != 2:
        raise ValueError(
            f"expected layer as one that gives a logit of each class for each image, got outputs of shape "
            f"{list(outputs.shape)}: this callback is for classification"
        )
    return logits


def single_images(inputs: Tensor) -> Tensor:
    """The inputs of a batch, which must be single images.

    Raises:
        ValueError: They are not.
    """
    if inputs.ndim != 4:
        raise ValueError(f"expected batches of single images [batch, 3, height, width], got shape {list(inputs.shape)}")
    return inputs


def probabilities(logits: Tensor) -> Tensor:
    """Class probabilities in single precision at least."""
    return at_least_float32(logits).softmax(1)


def labels_of(pair: Pair) -> Tensor:
    """Class of each source sample, ``[batch]``.

    Raises:
        ValueError: The batch is not one of classification.
    """
    labels = pair.batch.get("label") if isinstance(pair.batch, dict) else None
    if not isinstance(labels, Tensor) or labels.ndim != 1:
        raise ValueError(
            "expected a source batch of classification, with one label for each sample, because this loss compares "
            f"classes, got {type(pair.batch).__name__}"
            + (f" with {list(pair.batch)}" if isinstance(pair.batch, dict) else "")
        )
    return labels
