"""The game, batched on tensors; see :class:`iqlightning.gridworld.config.GridWorldConfig` for its rules."""
