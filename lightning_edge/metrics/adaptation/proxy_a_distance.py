"""Proxy A-distance: how well a classifier tells two domains apart."""

from lightning_edge.metrics.adaptation.domain_classifier import DomainLogOdds


def proxy_a_distance(log_odds: DomainLogOdds) -> float:
    """Proxy A-distance of two domains, 2 (1 - 2 error), where the error is that of a held-out domain classifier.

    The source is Ben-David et al. 2007, "Analysis of representations for domain adaptation". The error is the mean of
    those on both domains, so that their numbers of rows do not matter. Log odds of exactly 0 are half an error.

    Args:
        log_odds: Result of :func:`~lightning_edge.metrics.adaptation.domain_classifier.domain_log_odds`.

    Returns:
        The distance: 2 if the domains are separated, and about 0 or slightly less if they are equal.
    """
    error = ((1 + log_odds.source.sign()).mean() + (1 - log_odds.target.sign()).mean()) / 4
    return float(2 * (1 - 2 * error))
