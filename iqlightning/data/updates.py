"""How Lightning's loop, which counts batches, walks over gradient updates, which are what counts here."""

from collections.abc import Iterator
from typing import Any

from lightning.pytorch import Trainer

from iqlightning.errors import UserError
from iqlightning.types import Batch, BatchSource

__all__ = ["EmptyBatchLoader", "UpdateChunk", "UpdateLoader", "limited_epoch", "require_trainer"]


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

    Its length is in updates, and so are all of Lightning's settings that count batches: the algorithm counts each
    update as a batch. Chunks start at the multiples of ``updates_per_step`` in an epoch and end early where something
    is due: at the epoch's end, at ``trainer.max_steps``, at a validation, and wherever the algorithm's ``pauses`` say
    so. The number of the next update is always the trainer's own ``global_step``, never a count kept here: after a
    resume from anywhere, the middle of a chunk included, no update is repeated or left out.

    It is no :class:`torch.utils.data.DataLoader`: there is nothing to sample, to copy or to do in workers, and
    Lightning leaves it alone. It has a state only so that Lightning knows it to be resumable.

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
        self.updates_per_epoch = limited_epoch(trainer, updates_per_epoch)
        self._length = updates_per_epoch

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[UpdateChunk]:
        # A generator: it looks at the trainer when the first chunk is asked for, after a checkpoint has been restored.
        epoch = self.trainer.global_step // self.updates_per_epoch
        while (first := self.trainer.global_step) // self.updates_per_epoch == epoch:
            count = self._end(first) - first
            if count < 1:
                return
            yield UpdateChunk(first, count, self.source)
            made = self.trainer.global_step - first
            if made != count and not self.trainer.should_stop:
                raise RuntimeError(f"training_step got {count} updates but made {made} optimizer steps")

    def _end(self, first: int) -> int:
        """The update at which the chunk that begins with ``first`` has to end."""
        trainer = self.trainer
        begin = first // self.updates_per_epoch * self.updates_per_epoch
        within = first - begin

        def after(update: int, interval: int) -> int:
            return (update // interval + 1) * interval

        ends = [begin + after(within, self.updates_per_step), begin + self.updates_per_epoch]
        if isinstance(every := trainer.val_check_batch, int):
            # without epochs to count in, Lightning counts from the beginning of the run
            across = trainer.check_val_every_n_epoch is None
            ends.append(after(first, every) if across else begin + after(within, every))
        ends += [after(first, every) for every in getattr(trainer.lightning_module, "pauses", ())]
        if trainer.max_steps >= 0:
            ends.append(trainer.max_steps)
        return min(ends)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: see the class."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing: see the class."""


def require_trainer(data: Any) -> Any:
    """The trainer of a data module that is asked for its training batches.

    Raises:
        UserError: if it has no trainer, whose count of updates says which batch comes next.
    """
    if data.trainer is None:
        name = type(data).__name__
        raise UserError(
            f"{name} serves training batches to a trainer, which counts the updates: trainer.fit(model, data); without "
            "one, data.batch(u) is the batch of update u, after prepare_data() and setup('fit')"
        )
    return data.trainer


def limited_epoch(trainer: Trainer, updates_per_epoch: int) -> int:
    """Updates of an epoch under ``trainer.limit_train_batches``, a number of updates or a share of them."""
    limit = trainer.limit_train_batches
    if limit is None:
        return updates_per_epoch
    return max(1, min(updates_per_epoch, limit if isinstance(limit, int) else int(updates_per_epoch * limit)))


class EmptyBatchLoader:
    """One empty batch: lets Lightning run the hooks of validation or test where there are no data to go with them."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Batch]:
        yield Batch()
