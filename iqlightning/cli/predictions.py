"""What ``predict`` does with its result."""

from collections.abc import Sequence
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from iqlightning.cli.options import console_beside
from iqlightning.errors import UserError
from iqlightning.files import write_atomically

__all__ = ["write_predictions"]


def write_predictions(batches: Sequence[Any], output: str | None, mark: str) -> None:
    """Joins the batches' tensors, says how often each action was chosen, and writes a file if one is asked for.

    The file bears the mark of the command.

    Raises:
        UserError: if there is nothing to write, or it cannot be written.
    """
    if not batches:
        raise UserError("the data hold nothing to predict: they have no held-out demonstrations")
    joined: dict[str, Tensor] = {
        name: torch.cat([batch[name] for batch in batches]).cpu().contiguous() for name in batches[0]
    }
    count = len(next(iter(joined.values())))
    chosen = torch.bincount(joined["actions"]).tolist() if "actions" in joined else []
    shares = ", ".join(f"action {action}: {number / count:.1%}" for action, number in enumerate(chosen))
    console = console_beside(output)
    console.print(f"predicted {count:,} observations ({shares})", highlight=False)
    if output is None:
        console.print("name a file with --output to keep them", highlight=False)
        return
    write_atomically(output, save(joined, {"generator": mark}), what="predictions file")
    console.print(f"wrote {', '.join(joined)} to {output}", highlight=False, soft_wrap=True)
