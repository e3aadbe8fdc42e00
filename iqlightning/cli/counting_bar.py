"""A progress bar over a known number of things."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["counting_bar"]

#: Seconds before the first line where there is no terminal; each further line takes twice as long.
_FIRST_LINE = 20.0


@contextmanager
def counting_bar(what: str, total: int, *, steps: bool = False) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while the block runs; yields what to call with increments.

    Where that is no terminal, a line now and then says how far it is, after 20 seconds, 40, 80 and so on.

    Args:
        what: is counted.
        total: how many there will be.
        steps: whether it is called at every step of environments, also with 0: their number is shown, by which one sees
            that something happens while no episode ends.
    """
    console = Console(stderr=True)
    columns = [TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn()]
    columns += [TextColumn("{task.fields[made]:,} steps")] if steps else []
    with Progress(
        *columns,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(what, total=total, made=0)
        begun, line = time.monotonic(), _FIRST_LINE
        made = done = 0

        def advance(count: int) -> None:
            nonlocal made, done, line
            made, done = made + 1, done + count
            bar.update(task, advance=count, made=made)
            if not console.is_terminal and (seconds := time.monotonic() - begun) >= line:
                line *= 2
                after = f" and {made:,} steps" if steps else ""
                console.print(f"{what}: {done:,} of {total:,} after {seconds:.0f} s{after}", highlight=False)

        yield advance
