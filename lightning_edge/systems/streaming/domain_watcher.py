"""Detect from the features of a frozen encoder that a stream has entered another domain."""

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_edge.checks import check_at_least


class DomainWatcher:
    """Tracks the mean features of recent frames, and returns the known domain with the nearest center.

    The domain changes only if another one is clearly nearer for several consecutive frames; changing back takes just as
    long. The distance of a frame from the nearest center is limited to the distance between this center and its nearest
    neighbor, so that a single unusual frame does not change the domain.

    Args:
        centers: Mean features of each known domain, ``[domains, features]``.
        momentum: Weight of earlier frames in the running mean, in [0, 1). A momentum of 0.9 averages about the last ten
            frames.
        margin: A domain is clearly nearer if its distance is below this multiple of the distance to the current domain,
            in (0, 1].
        patience: Number of consecutive frames for which another domain must be clearly nearer.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        centers: Float[Tensor, "domains features"],
        momentum: float = 0.7,
        margin: float = 0.9,
        patience: int = 5,
    ) -> None:
        if centers.ndim != 2 or len(centers) < 1:
            raise ValueError(f"expected centers of one domain or more, [domains, features], got {list(centers.shape)}")
        if not 0 <= momentum < 1:
            raise ValueError(f"expected momentum within [0, 1), got {momentum}")
        if not 0 < margin <= 1:
            raise ValueError(f"expected margin within (0, 1], got {margin}")
        check_at_least(1, patience=patience)
        self.centers, self.momentum, self.margin, self.patience = centers, momentum, margin, patience
        self.reset()

    def reset(self) -> None:
        """Start a new stream: the next frame determines the domain at once."""
        self.domain: int | None = None
        """Number of the current domain; ``None`` before the first frame."""
        self.recent: Float[Tensor, " features"] | None = None
        """Running mean of the features of recent frames; ``None`` before the first frame."""
        self._num_frames = 0

    def reset_to(self, domain: int) -> None:
        """Continue from a known domain."""
        self.domain, self.recent, self._num_frames = domain, self.centers[domain].clone(), 0

    def __call__(self, features: Float[Tensor, " features"]) -> int:
        """Number of the domain of the stream after the next frame.

        Args:
            features: Features of the frame from the encoder.

        Raises:
            ValueError: The features do not have the size of the centers, or are not finite. The watcher is not changed.
        """
        if features.shape != self.centers.shape[1:] or not torch.isfinite(features).all():
            raise ValueError(
                f"expected {self.centers.shape[1]} finite features of a frame, got {list(features.shape)}"
                + ("" if torch.isfinite(features).all() else " with NaN or infinity")
            )
        features = self._bounded(features)
        self.recent = features if self.recent is None else torch.lerp(features, self.recent, self.momentum)
        distances = torch.linalg.vector_norm(self.centers - self.recent, dim=1)
        nearest = int(distances.argmin())
        if self.domain is None:
            self.domain = nearest
            return nearest
        is_other_nearer = bool(distances[nearest] < self.margin * distances[self.domain])
        self._num_frames = self._num_frames + 1 if is_other_nearer else 0
        if self._num_frames >= self.patience:
            self.domain, self._num_frames = nearest, 0
        return self.domain

    def _bounded(self, features: Float[Tensor, " features"]) -> Float[Tensor, " features"]:
        """Move features towards the nearest center until they are no farther from it than its nearest neighbor."""
        if len(self.centers) == 1:
            return features
        offsets = features - self.centers
        nearest = int(torch.linalg.vector_norm(offsets, dim=1).argmin())
        distances = torch.linalg.vector_norm(self.centers - self.centers[nearest], dim=1)
        distances[nearest] = torch.inf
        length = torch.linalg.vector_norm(offsets[nearest]).clamp(min=1e-12)
        return self.centers[nearest] + offsets[nearest] * (distances.min() / length).clamp(max=1)
