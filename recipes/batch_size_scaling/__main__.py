"""``python -m recipes.batch_size_scaling`` is the command line of this recipe."""

from recipes.batch_size_scaling import main

main()
