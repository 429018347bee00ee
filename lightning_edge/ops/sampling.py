"""Selection of samples."""


def evenly_spaced(total: int, count: int) -> list[int]:
    """Ascending, evenly spaced indices of ``count`` of ``total`` samples; all indices if there are fewer."""
    count = min(count, total)
    return [position * total // count for position in range(count)]
