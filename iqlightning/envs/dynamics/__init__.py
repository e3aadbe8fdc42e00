"""Models of an environment's dynamics, fitted to demonstrations, and episodes that are imagined with them."""
