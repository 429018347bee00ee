"""Notices, from what a frozen encoder sees, that a stream has come into another domain."""

import torch
from jaxtyping import Float
from torch import Tensor


class DomainWatcher:
    """Follows the mean features of recent frames, and names the known domain that they are nearest to.

    Another domain must be clearly nearer, for several frames on end; once it is taken, the way back is as long. A frame
    beyond all domains counts no more than one between the nearest of them and its neighbor, so that a strange frame
    alone changes nothing.

    Args:
        centers: Mean features of each known domain, ``[domains, features]``.
        momentum: Share of the past in the mean of recent frames, in [0, 1): 0.9 is about the last ten frames.
        margin: Part of the distance to the present domain that another may have at most to be clearly nearer, in
            (0, 1].
        patience: Frames on end for which it must be so.

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
        if patience < 1:
            raise ValueError(f"expected patience of at least 1, got {patience}")
        self.centers, self.momentum, self.margin, self.patience = centers, momentum, margin, patience
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next frame decides at once."""
        self.domain: int | None = None
        """Domain of the stream; ``None`` before the first frame."""
        self.recent: Float[Tensor, " features"] | None = None
        """Mean features of recent frames."""
        self._num_frames = 0

    def reset_to(self, domain: int) -> None:
        """Go on from a domain that somebody knows."""
        self.domain, self.recent, self._num_frames = domain, self.centers[domain].clone(), 0

    def __call__(self, features: Float[Tensor, " features"]) -> int:
        """Domain of the stream after the next frame.

        Args:
            features: What the encoder sees in it.

        Raises:
            ValueError: They are not as many as those of the centers, or not finite; nothing changes then.
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
        is_beaten = bool(distances[nearest] < self.margin * distances[self.domain])
        self._num_frames = self._num_frames + 1 if is_beaten else 0
        if self._num_frames >= self.patience:
            self.domain, self._num_frames = nearest, 0
        return self.domain

    def _bounded(self, features: Float[Tensor, " features"]) -> Float[Tensor, " features"]:
        """Features at most as far from the nearest center as its neighbor is."""
        if len(self.centers) == 1:
            return features
        away = features - self.centers
        nearest = int(torch.linalg.vector_norm(away, dim=1).argmin())
        distances = torch.linalg.vector_norm(self.centers - self.centers[nearest], dim=1)
        distances[nearest] = torch.inf
        length = torch.linalg.vector_norm(away[nearest]).clamp(min=1e-12)
        return self.centers[nearest] + away[nearest] * (distances.min() / length).clamp(max=1)
