"""The command that lists all methods of domain adaptation by their kind."""


def taxonomy() -> None:
    """List all methods of domain adaptation in this library by the classes of the survey arXiv:1803.09180."""
