"""From a demonstrations file, or from play, to the batches of any update, on the training device.

file -> :mod:`~iqlightning.data.demonstrations` -> :mod:`~iqlightning.data.imitation_data` (split, stride) ->
:mod:`~iqlightning.data.expert_source` (indices of :mod:`~iqlightning.data.index_stream`, then
:mod:`~iqlightning.data.augment`) -> :mod:`~iqlightning.data.updates` -> ``training_step``. The learner's own
transitions come from :mod:`~iqlightning.data.experience` by way of :mod:`~iqlightning.data.replay`; several processes
share environments and memory out as :mod:`~iqlightning.data.shards` says.
"""

from iqlightning.data.arrays import from_arrays

__all__ = ["from_arrays"]
