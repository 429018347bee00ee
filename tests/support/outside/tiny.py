"""A recipe outside the package."""

from functools import partial

from lightning.pytorch import LightningDataModule, LightningModule, Trainer

from recipes._cli.command_line import run


def profile(model: LightningModule, trainer: Trainer, datamodule: LightningDataModule, repeats: int = 3) -> dict:
    """Count the parameters.

    Args:
        repeats: How often.
    """
    return {"parameters": sum(parameter.numel() for parameter in model.parameters()), "repeats": repeats}


def search(budget: int, folder: str = "here") -> dict:
    """Search without a model."""
    return {"budget": budget, "named": folder}


main = partial(
    run,
    __file__,
    commands=(profile, search),
    links={"data.num_classes": ["model.init_args.net.init_args.num_classes", "model.init_args.absent.num_classes"]},
)

if __name__ == "__main__":
    main()
