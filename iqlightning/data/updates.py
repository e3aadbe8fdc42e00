"""How Lightning's loop, which counts batches, walks over gradient updates, which are what counts here."""

import math
from collections.abc import Iterator
from typing import Any

from lightning.pytorch import Trainer

from iqlightning.errors import UserError
from iqlightning.types import Batch, BatchSource

__all__ = ["EmptyBatchLoader", "UpdateChunk", "UpdateLoader"]


class UpdateChunk:
    """Several updates in a row: what one call of ``training_step`` gets, so that the loop's cost is paid once for all.

    Iterating serves the batches of updates ``first`` to ``first + count - 1``, one at a time. (A plain class, so that
    Lightning hands it on untouched; it takes batches from a source that may play to make them. Log with
    ``batch_size=``: Lightning would otherwise iterate the chunk to find it out.)
    """

    __slots__ = ("count", "first", "source")

    def __init__(self, first: int, count: int, source: BatchSource) -> None:
        self.first = first
        self.count = count
        self.source = source

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Batch]:
        return (self.source.batch(update) for update in range(self.first, self.first + self.count))

    def __repr__(self) -> str:
        return f"UpdateChunk(first={self.first}, count={self.count})"


class UpdateLoader:
    """The training dataloader: an epoch is ``updates_per_epoch`` updates, served in chunks of ``updates_per_step``.

    Chunks start at the multiples of ``updates_per_step`` in an epoch and never reach beyond the epoch's end or
    ``trainer.max_steps``. The number of the next update is always the trainer's own ``global_step``, never a count kept
    here: after a resume from anywhere, the middle of a chunk included, no update is repeated or left out.

    It is no :class:`torch.utils.data.DataLoader`: there is nothing to sample, to copy or to do in workers, and
    Lightning leaves it alone. It has a state only so that Lightning knows it to be resumable and asks it to.

    Args:
        source: of the batches.
        trainer: whose ``global_step`` counts the updates.
        updates_per_epoch: updates between two epoch ends.
        updates_per_step: updates of one ``training_step``.

    Raises:
        UserError: if a number is below 1.
    """

    def __init__(self, source: BatchSource, trainer: Trainer, updates_per_epoch: int, updates_per_step: int) -> None:
        for name, value in (("updates_per_epoch", updates_per_epoch), ("updates_per_step", updates_per_step)):
            if value < 1:
                raise UserError(f"{name} must be at least 1, but is {value}")
        self.source = source
        self.trainer = trainer
        self.updates_per_step = updates_per_step
        self._chunks = math.ceil(updates_per_epoch / updates_per_step)
        # With trainer.limit_train_batches an epoch is shorter, and the next one starts where it ended.
        limit = trainer.limit_train_batches
        chunks = (
            min(self._chunks, limit)
            if isinstance(limit, int)
            else int(self._chunks * (1.0 if limit is None else limit))
        )
        self.updates_per_epoch = max(1, min(updates_per_epoch, chunks * updates_per_step))

    def __len__(self) -> int:
        return self._chunks

    def __iter__(self) -> Iterator[UpdateChunk]:
        # A generator: it looks at the trainer when the first chunk is asked for, after a checkpoint has been restored.
        epoch = self.trainer.global_step // self.updates_per_epoch
        while (first := self.trainer.global_step) // self.updates_per_epoch == epoch:
            within = first % self.updates_per_epoch
            end = min((within // self.updates_per_step + 1) * self.updates_per_step, self.updates_per_epoch)
            count = end - within
            if self.trainer.max_steps >= 0:
                count = min(count, self.trainer.max_steps - first)
            if count < 1:
                return
            yield UpdateChunk(first, count, self.source)
            made = self.trainer.global_step - first
            if made != count and not self.trainer.should_stop:
                raise RuntimeError(f"training_step got {count} updates but made {made} optimizer steps")

    def state_dict(self) -> dict[str, Any]:
        """Nothing: see the class."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Makes Lightning's counts of epochs and batches agree with the number of updates made.

        It counts whole batches, and is wrong where a chunk was cut short (by ``max_steps`` or Ctrl-C) or where
        ``updates_per_step`` has changed since; it would then end the epoch, and validate, at the wrong update.
        """
        fit_loop = self.trainer.fit_loop
        epochs, within = divmod(self.trainer.global_step, self.updates_per_epoch)
        batches: Any = fit_loop.epoch_loop.batch_progress.current
        counted_epochs: Any = fit_loop.epoch_progress.current
        if within:
            _shift(batches, within // self.updates_per_step - batches.processed)
        elif 0 < batches.processed < self._chunks:
            # The epoch's last update was made but its end was not noticed any more: begin with the next one.
            _shift(batches, -batches.processed)
            _shift(counted_epochs, epochs - counted_epochs.processed)


def _shift(progress: Any, shift: int) -> None:
    for name in ("ready", "started", "processed", "completed"):
        setattr(progress, name, getattr(progress, name) + shift)


class EmptyBatchLoader:
    """One empty batch: lets Lightning run the hooks of validation or test where there are no data to go with them."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Batch]:
        yield Batch()
