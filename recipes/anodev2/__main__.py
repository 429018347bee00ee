"""``python -m recipes.anodev2`` is the command line of this recipe."""

from recipes.anodev2 import main

main()
