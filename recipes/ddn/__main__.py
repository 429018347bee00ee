"""``python -m recipes.ddn`` is the command line of this recipe."""

from recipes.ddn import main

main()
