"""From run folders to one HTML file."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from pathlib import Path

from iqlightning.analysis.report.exhibit import Exhibit, exhibit
from iqlightning.analysis.report.figure_files import write_figures
from iqlightning.analysis.report.page import Section, page
from iqlightning.analysis.report.sections import learning_charts, sections
from iqlightning.analysis.report.watched import filmed_before, shortly, watch
from iqlightning.analysis.runs import find_runs, group_runs

__all__ = ["FEW", "MANY", "build_report"]

#: Episodes that a checkpoint plays for the pictures: of worlds that play many at once, and of others.
MANY, FEW = 1000, 20


def build_report(
    paths: Sequence[str | Path],
    *,
    title: str | None = None,
    episodes: int | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda label: None,
    more: Sequence[Section] = (),
    generator: str = "iqlightning",
    left_out: Callable[[str], None] | None = None,
    figures: str | Path | None = None,
) -> str:
    """The report as HTML, with everything it shows inside it.

    Args:
        paths: folders of runs, or folders above them.
        title: heading of the page; None names the configurations.
        episodes: that each checkpoint plays for what is shown of it; None for :data:`MANY` where the environment plays
            in a way of its own, :data:`FEW` elsewhere.
        seed: of these episodes.
        progress: called with what is being looked at.
        more: sections after those that every report has.
        generator: the program that made it, as the page says it.
        left_out: as of :func:`~iqlightning.analysis.runs.find_runs`.
        figures: folder that the charts are also written to, see :mod:`iqlightning.analysis.report.figure_files`.

    Raises:
        UserError: if there is no run, or a figure cannot be written.
    """
    runs = find_runs(paths, left_out)
    groups = group_runs(runs)
    exhibits: list[Exhibit] = []
    beside = Counter[str]()  # each environment has charts of its own, so colours have to differ within it alone
    for group in groups:
        progress(group.label)
        shown = exhibit(group, episodes or MANY, seed)
        exhibits.append(shown._replace(colour=beside[shown.place]))
        beside[shown.place] += 1
    of_worlds: list[Section] = []
    drawn: list[Exhibit] = []
    progress("what their policies do")
    for kind in dict.fromkeys(type(each.env) for each in exhibits if each.env is not None):
        with_policy = [each for each in exhibits if type(each.env) is kind and each.policy is not None]
        sections_of = partial(kind.report_sections, episodes=episodes or MANY, seed=seed)
        own, troubles = _sections_of_world(with_policy, sections_of)
        of_worlds += own
        exhibits = [
            each._replace(policy=None, trouble=troubles[each.group.label]) if each.group.label in troubles else each
            for each in exhibits
        ]
        drawn += [each for each in exhibits if each.policy is not None and type(each.env) is kind] if own else []
    others = [each for each in exhibits if each.policy is not None and each not in drawn]
    watched = [watch(each, episodes or FEW, seed) if each in others else filmed_before(each) for each in exhibits]
    drawn += [each.exhibit for each in watched if each.results is not None]
    names = list(dict.fromkeys(run.name for run in runs))
    heading = title or f"Report: {', '.join(names[:4])}{' and others' if len(names) > 4 else ''}"
    lead = f"{_counted(len(runs), 'run')} of {_counted(len(groups), 'configuration')}."
    if drawn:
        lead += f" Pictures are of each configuration's first seed, unseen episodes, seed {seed}."
    missing = [each for each in exhibits if each not in drawn]
    charts = learning_charts(exhibits)
    if figures is not None:
        write_figures(figures, charts, exhibits, watched, generator)
    every = [*sections(exhibits, charts, watched, missing), *of_worlds, *more]
    return page(heading, f"<p>{escape(lead)}</p>", every, generator)


def _sections_of_world(
    exhibits: Sequence[Exhibit], sections_of: Callable[[Sequence[Exhibit]], Sequence[tuple[str, str, str]]]
) -> tuple[list[Section], dict[str, str]]:
    """The sections that a world has of its own, and by label why policies are not in them: one stops no others."""
    if not exhibits:
        return [], {}
    try:
        return [Section(*each) for each in sections_of(exhibits)], {}
    except Exception as error:  # a checkpoint may be of another environment than it says
        if len(exhibits) == 1:
            return [], {exhibits[0].group.label: shortly(error)}
    troubles: dict[str, str] = {}
    for each in exhibits:
        troubles |= _sections_of_world([each], sections_of)[1]
    good = [each for each in exhibits if each.group.label not in troubles]
    return (_sections_of_world(good, sections_of)[0] if troubles else []), troubles


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number > 1 else ''}"
