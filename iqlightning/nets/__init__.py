"""Networks: encoders, heads, Q-networks and their target copies."""
