"""Accuracy on the source of a classifier that is trained on predictions for the target."""

from jaxtyping import Float, Int64
from torch import Tensor

from lightning_edge.metrics.adaptation.row_checks import check_rows


def reverse_accuracy(
    source_features: Float[Tensor, "source features"],
    source_labels: Int64[Tensor, " source"],
    target_features: Float[Tensor, "target features"],
    target_logits: Float[Tensor, "target classes"],
) -> float:
    """Reverse validation (Zhong et al. 2010; Ganin et al., arXiv:1505.07818) with a linear classifier on the features.

    The classifier learns the classes that the model predicts for the target, and is scored with the labels of the
    source. Where the model is wrong on the target, the classifier learns wrong classes. The original method trains a
    second model of the same kind instead, which would take as long as the training itself.

    Args:
        source_features: Features of source data.
        source_labels: Their labels.
        target_features: Features of target data.
        target_logits: Their logits.

    Returns:
        Share of the source samples whose class is right; a model that predicts one class for all gets that class's
        share.

    Raises:
        ValueError: A domain has no rows, or a feature or a logit is NaN or infinite.
    """
    # importing scikit-learn takes a second
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    check_rows(1, source_features=source_features, target_features=target_features, target_logits=target_logits)
    predicted = target_logits.argmax(1)
    if len(predicted.unique()) == 1:
        return float((source_labels == predicted[0]).double().mean())
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    classifier.fit(target_features.double().numpy(), predicted.numpy())
    return float(classifier.score(source_features.double().numpy(), source_labels.numpy()))
