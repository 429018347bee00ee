"""``python -m recipes.accel`` is the command line of this recipe."""

from recipes.accel import main

main()
