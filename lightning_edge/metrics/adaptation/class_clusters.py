"""Agreement of predicted classes with clusters of the features."""

from jaxtyping import Float
from torch import Tensor

from lightning_edge.metrics.adaptation.row_checks import check_rows

_NUM_STARTS = 5
"""Number of random starts of k-means; with one, the score of the same model varies by the seed."""


def class_ami(
    features: Float[Tensor, "target features"], logits: Float[Tensor, "target classes"], seed: int = 0
) -> float:
    """ClassAMI (Musgrave et al., arXiv:2208.07360) on target data; higher is better.

    The adjusted mutual information of two partitions of the rows: the predicted classes, and k-means clusters of the
    features, as many as there are classes. It is 1 if they are equal and 0 on average if they are independent.

    Args:
        features: Features of at least two target rows.
        logits: Their logits.
        seed: Seed of k-means.

    Returns:
        The score. It is 0 if one class is predicted for all rows, or all rows have the same features. With fewer
        distinct rows than classes, each of them is a cluster.

    Raises:
        ValueError: There are fewer than two rows, or a value is NaN or infinite.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_mutual_info_score

    check_rows(2, features=features, logits=logits)
    predicted = logits.argmax(1)
    if len(predicted.unique()) < 2:
        return 0.0  # that of one class and one cluster would be 1
    num_clusters = min(logits.shape[1], len(features.unique(dim=0)))
    kmeans = KMeans(num_clusters, n_init=_NUM_STARTS, random_state=seed)  # pyright: ignore[reportArgumentType]
    return float(adjusted_mutual_info_score(predicted.numpy(), kmeans.fit_predict(features.double().numpy())))
