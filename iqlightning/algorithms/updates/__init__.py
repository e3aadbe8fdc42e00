"""One gradient update of a network: operation by operation, or compiled, on weights that lie in one vector."""
