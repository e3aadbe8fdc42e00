"""Silences what Lightning says on every run and nobody can act on; every other warning stays, ours as one sentence."""

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

__all__ = ["filter_warnings"]

# each is about a choice that this package makes on purpose, or about Lightning's own use of other libraries
_KNOWN = (
    r".*LeafSpec.*",
    r".*treespec.*is deprecated.*",
    r".*does not have many workers.*",
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*Experiment logs directory .* exists and is not empty.*",
    r".*number of training batches .* is smaller than the logging interval.*",
    r".*Trying to infer the `batch_size` from an ambiguous collection.*",
    r".*The `srun` command is available on your system but is not used.*",
    r".*You are using a CUDA device .* that has Tensor Cores.*",
    r".*Starting from v1\.9\.0, `tensorboardX` has been removed.*",
    r".*JsonargparseDeprecationWarning.*",
    # the weights after the update are what a checkpoint is to hold
    r"Using ModelCheckpoint with manual optimization and every_n_train_steps.*",
    r".*callbacks used to create the checkpoint need to be provided.*",
    # by Gymnasium, of an environment in a process of its own whose error is told in a sentence
    r".*ERROR: (Received the following error from Worker|Traceback|Raising the last exception)",
)

_TALKERS = (
    "lightning.fabric.utilities.rank_zero",
    "lightning.fabric.utilities.seed",
    "lightning.pytorch.trainer.connectors.checkpoint_connector",
    "lightning.pytorch.utilities.rank_zero",
    "lightning_utilities.core.rank_zero",
)

# said at level INFO, as good as on every run
_CHATTER = (
    "Tip:",
    "Seed set to",
    "GPU available: False",
    "TPU available",
    "HPU available",
    "`Trainer.fit` stopped",
    "`Trainer(overfit_batches=",
    "LOCAL_RANK",
    "Restored all states",
    "Restoring states",
    "Loaded model weights",
    "`weights_only` was not set",  # said of saving, where it means the whole state; loading never unpickles
)


def filter_warnings() -> None:
    """Call before Lightning is imported: some of it warns while it is."""
    for message in _KNOWN:
        warnings.filterwarnings("ignore", message=message)
    warnings.filterwarnings("ignore", module=r"jsonargparse.*", category=DeprecationWarning)
    if warnings.showwarning is not _show:
        _show.otherwise = warnings.showwarning
        warnings.showwarning = _show
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # a filter sees only what is logged to its own logger
    for name in _TALKERS:
        logger = logging.getLogger(name)
        if not any(isinstance(each, _NoChatter) for each in logger.filters):
            logger.addFilter(_NoChatter())


class _Show:
    """Our own warnings are sentences for the user, who has no use for the line of code that says them."""

    otherwise: Any = None

    def __call__(
        self, message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: str | None = None
    ) -> None:
        if Path(filename).is_relative_to(_PACKAGE):
            print(f"iqlightning: warning: {message}", file=file or sys.stderr)
        else:
            self.otherwise(message, category, filename, lineno, file, line)


_PACKAGE = Path(__file__).parents[1]
_show = _Show()


class _NoChatter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return record.levelno >= logging.WARNING or not any(words in message for words in _CHATTER)
