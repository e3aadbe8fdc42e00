"""From run folders to one HTML file."""

from collections import Counter
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from iqlightning.analysis.report.exhibit import Exhibit, exhibit
from iqlightning.analysis.report.page import Section, page
from iqlightning.analysis.report.sections import sections
from iqlightning.analysis.report.sweep import SWEEP_FILE, sweep_section
from iqlightning.analysis.runs import find_runs, group_runs

__all__ = ["build_report"]

_COLOURS = 8


def build_report(
    paths: Sequence[str | Path],
    *,
    title: str | None = None,
    episodes: int = 1000,
    seed: int = 0,
    progress: Callable[[str], None] = lambda label: None,
    first: Sequence[Section] = (),
    more: Sequence[Section] = (),
) -> str:
    """The report as HTML, with everything it shows inside it.

    Args:
        paths: folders of runs, or folders above them.
        title: heading of the page; None names the configurations.
        episodes: that each checkpoint plays for what its environment shows of it.
        seed: of these episodes.
        progress: called with what is being looked at.
        first: sections before those that every report has.
        more: sections after those that every report has.

    Folders of sweeps show what was searched as well.

    Raises:
        UserError: if there is no run.
    """
    runs = find_runs(paths)
    groups = group_runs(runs)
    exhibits: list[Exhibit] = []
    beside = Counter[str]()  # each environment has charts of its own, so colours have to differ within it alone
    for group in groups:
        progress(group.label)
        shown = exhibit(group, episodes, seed)
        exhibits.append(shown._replace(colour=beside[shown.place] % _COLOURS))
        beside[shown.place] += 1
    of_worlds: list[Section] = []
    drawn: list[Exhibit] = []
    for kind in dict.fromkeys(type(each.env) for each in exhibits if each.env is not None):
        progress("what their policies do")
        with_policy = [each for each in exhibits if type(each.env) is kind and each.policy is not None]
        own = [Section(*each) for each in kind.report_sections(with_policy, episodes, seed)] if with_policy else []
        of_worlds += own
        drawn += with_policy if own else []
    names = list(dict.fromkeys(run.name for run in runs))
    heading = title or f"Report: {', '.join(names[:4])}{' and others' if len(names) > 4 else ''}"
    lead = f"{_counted(len(runs), 'run')} of {_counted(len(groups), 'configuration')}."
    if drawn:
        lead += f" Pictures are of each configuration's first seed, {episodes:,} unseen episodes, seed {seed}."
    sweeps = [sweep_section(Path(path)) for path in paths if (Path(path) / SWEEP_FILE).exists()]
    missing = [each for each in exhibits if each not in drawn]
    every = [*first, *sweeps, *sections(exhibits, missing), *of_worlds, *more]
    return page(heading, f"<p>{escape(lead)}</p>", every)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number > 1 else ''}"
