"""A recipe with nothing to train."""

from functools import partial

from recipes._cli.command_line import run


def search(num_cameras: int = 2) -> dict:
    """Search the cameras."""
    return {"num_cameras": num_cameras}


def wait() -> None:
    """Wait for what never comes."""
    raise KeyboardInterrupt


main = partial(run, __file__, commands=(search, wait))
