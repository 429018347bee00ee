"""``python -m recipes.segmentation`` is the command line of this recipe."""

from recipes.segmentation import main

main()
