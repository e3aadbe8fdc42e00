"""From run folders to one HTML file."""

from collections import Counter
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from iqlightning.analysis.report.examination import Examination, examine
from iqlightning.analysis.report.page import Section, page
from iqlightning.analysis.report.sections import sections
from iqlightning.analysis.report.sweep import SWEEP_FILE, sweep_section
from iqlightning.analysis.report.tables import Exhibit, environment_of
from iqlightning.analysis.runs import find_runs, group_runs

__all__ = ["build_report"]

_COLOURS = 8


def build_report(
    paths: Sequence[str | Path],
    *,
    title: str | None = None,
    episodes: int = 1000,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
    first: Sequence[Section] = (),
    more: Sequence[Section] = (),
) -> str:
    """The report as HTML, with everything it shows inside it.

    Args:
        paths: folders of runs, or folders above them.
        title: heading of the page; None names the configurations.
        episodes: grids that each checkpoint plays for failures and animations.
        seed: of these grids.
        progress: called with what is being looked at.
        first: sections before those that every report has.
        more: sections after those that every report has.

    Folders of sweeps show what was searched as well.

    Raises:
        UserError: if there is no run.
    """
    runs = find_runs(paths)
    groups = group_runs(runs)
    exhibits = []
    beside = Counter[str]()  # each environment has charts of its own, so colours have to differ within it alone
    for group in groups:
        if progress is not None:
            progress(group.label)
        place = environment_of(group.runs[0])
        exhibits.append(Exhibit(group, beside[place] % _COLOURS, examine(group, episodes, seed)))
        beside[place] += 1
    names = list(dict.fromkeys(run.name for run in runs))
    heading = title or f"Report: {', '.join(names[:4])}{' and others' if len(names) > 4 else ''}"
    number = (
        f"{len(runs)} run{'s' if len(runs) > 1 else ''} of {len(groups)} configuration{'s' if len(groups) > 1 else ''}"
    )
    lead = f"{number}."
    if any(isinstance(exhibit.found, Examination) for exhibit in exhibits):
        lead += f" Pictures are of each configuration's first seed, {episodes:,} unseen grids, seed {seed}."
    sweeps = [sweep_section(Path(path)) for path in paths if (Path(path) / SWEEP_FILE).exists()]
    return page(heading, f"<p>{escape(lead)}</p>", [*first, *sweeps, *sections(exhibits), *more])
