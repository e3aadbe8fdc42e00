"""GridWorld's callbacks."""
