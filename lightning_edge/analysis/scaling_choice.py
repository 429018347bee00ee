"""The batch size and the learning-rate rule that scaling curves recommend."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from lightning_edge.analysis.scaling_curve import CRITICAL_COST, ScalingCurve, ScalingPoint


class Choice(NamedTuple):
    """The batch size and rule with the fewest steps at an acceptable cost."""

    rule: str
    point: ScalingPoint
    cost: float
    """Examples to the target, divided by the fewest examples of any rule and size."""
    next_point: ScalingPoint | None
    """Point with the fewest steps at the next larger size, or ``None`` if there is no larger size."""


def choose(curves: Mapping[str, ScalingCurve], max_cost: float = CRITICAL_COST) -> Choice | None:
    """Choose the batch size and the rule with the fewest steps whose cost is at most ``max_cost``.

    Args:
        curves: Scaling curves to the same target, by the name of the learning-rate rule.
        max_cost: Largest acceptable cost: examples divided by the fewest that any batch size needs under any rule.

    Returns:
        The choice, or ``None`` if no run reached the target.
    """
    points = [(rule, point) for rule, curve in curves.items() for point in curve.points]
    fewest = min((point.examples for _, point in points), default=math.inf)
    if not math.isfinite(fewest):
        return None
    worth = [(rule, point) for rule, point in points if point.examples <= max_cost * fewest]
    rule, point = min(worth, key=lambda candidate: (candidate[1].steps.value, candidate[1].batch_size))
    larger = [other for _, other in points if other.batch_size > point.batch_size]
    next_size = min((other.batch_size for other in larger), default=None)
    next_point = min(
        (other for other in larger if other.batch_size == next_size), key=lambda other: other.steps.value, default=None
    )
    return Choice(rule, point, point.examples / fewest, next_point)
