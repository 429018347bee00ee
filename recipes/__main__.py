"""List the recipes, a line each."""

import sys

from recipes._cli import list_recipes

if __name__ == "__main__":
    sys.stdout.write(list_recipes())
