"""The generated street world and its renderer."""
