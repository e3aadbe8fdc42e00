"""GridWorld's evaluation."""
