"""``python -m recipes.domain_adaptation`` is the command line of this recipe."""

from recipes.domain_adaptation import main

main()
