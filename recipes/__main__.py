"""List the recipes, one per line."""

import sys

from recipes._cli.command_line import list_recipes

if __name__ == "__main__":
    sys.stdout.write(list_recipes())
