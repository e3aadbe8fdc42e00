"""The results as a table and as a file."""

import os
import platform
from collections.abc import Iterable
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from iqlightning.analysis.speed.measure import Result

__all__ = ["as_dict", "as_table"]


def as_table(results: Iterable[Result]) -> Table:
    """One line a result: median, the lowest and highest repeat."""
    table = Table(title=f"speed, {machine()}", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("what", min_width=36)
    for heading in ("median", "spread"):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        low, high = result.spread
        spread = f"{_number(low)}-{_number(high)}" if len(result.values) > 1 else ""
        table.add_row(Text(result.what), f"{_number(result.median)} {result.unit}", spread)
    return table


def as_dict(results: Iterable[Result], **settings: Any) -> dict[str, Any]:
    """Primitives for a file."""
    return {
        "machine": machine(),
        "torch": torch.__version__,
        **settings,
        "results": [each.to_dict() for each in results],
    }


def machine() -> str:
    """The processor, cores and threads in use."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            names = {line.partition(":")[2].strip() for line in file if line.startswith("model name")}
        name = ", ".join(sorted(names)) or name
    except OSError:
        pass
    return f"{name}, {os.cpu_count()} cores, torch with {torch.get_num_threads()} thread"


def _number(value: float) -> str:
    if abs(value) >= 1e5:
        return f"{value / 1e6:.3g}M"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
