"""Which of many samples to take."""


def evenly_spaced(total: int, count: int) -> list[int]:
    """Rising indices of ``count`` of ``total`` samples at even distances; all where there are fewer."""
    count = min(count, total)
    return [position * total // count for position in range(count)]
