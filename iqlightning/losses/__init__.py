"""Objectives as pure functions of tensors: they see Q-values, never a network."""
