"""``python -m recipes.shift`` is the command line of this recipe."""

from recipes.shift import main

main()
