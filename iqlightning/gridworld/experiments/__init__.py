"""GridWorld's experiments."""
