"""Environments of Gymnasium as batches of tensors, and models of dynamics; see ``types.EnvConfig``."""
