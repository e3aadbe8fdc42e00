"""The sections that every report has: settings, final figures, learning curves."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import NamedTuple

from matplotlib.figure import Figure

from iqlightning.analysis.charts import Series, learning_curves
from iqlightning.analysis.intervals import band
from iqlightning.analysis.report.embed import chart_html
from iqlightning.analysis.report.exhibit import Exhibit
from iqlightning.analysis.report.page import Section
from iqlightning.analysis.report.tables import dot, look, results_table, runs_table
from iqlightning.analysis.report.watched import DISTRIBUTIONS, Watched, distribution

__all__ = ["Chart", "by", "colour_key", "folded", "learning_charts", "sections"]

_FIGURES = 2  # of those that an environment's evaluations end in, the most telling ones

# curve to (heading, a share, what it is)
_CURVES = {
    "val/expert_agreement": (
        "agreement with the expert",
        True,
        "Held-out actions that the policy would take too. Where several are equally good the expert took one of them, "
        "so that even a perfect policy may stay below 100%.",
    ),
    "train/loss": ("loss", False, "Of the objective: losses of different algorithms have nothing in common."),
    "train/entropy": ("entropy", False, "Of the drawn policy on training states, in nats."),
    "train/reward": ("recovered reward", False, "Mean over the expert's transitions."),
    "train/q": ("Q", False, "Mean over the actions of training transitions."),
}


def sections(
    exhibits: Sequence[Exhibit], charts: Sequence["Chart"], watched: Sequence[Watched], missing: Sequence[Exhibit]
) -> list[Section]:
    """In the order of the page; those without anything to show have an empty body.

    Args:
        exhibits: all of them.
        charts: those of :func:`learning_charts`.
        watched: those that have played in environments that show nothing more of themselves.
        missing: those of whose policies nothing more is shown.
    """
    return [
        Section("runs", "What was run", runs_table(exhibits) + _missing(missing)),
        Section("results", "How it ended", _results(exhibits)),
        Section("curves", "How it learned", _curves(exhibits, charts)),
        Section("episodes", "How episodes end", _episodes(watched)),
        Section("videos", "What it does", _videos(watched)),
    ]


class Chart(NamedTuple):
    """Learning curves of one figure in one environment.

    Attributes:
        name: of its files, without their kind.
        place: the environment.
        heading: what is drawn.
        meaning: the same in a sentence.
        series: the curves.
        log: whether on a logarithmic scale.
        percent: whether shares.
    """

    name: str
    place: str
    heading: str
    meaning: str
    series: list[Series]
    log: bool
    percent: bool

    def figure(self, *, legend: bool = False) -> Figure:
        """Drawn; for a file of its own with a legend."""
        label = self.heading.partition(",")[0]
        drawn = learning_curves(self.series, y_label=label, log=self.log, percent=self.percent, legend=legend)
        assert drawn is not None
        return drawn


def by(exhibits: Sequence[Exhibit], what: Callable[[Exhibit], str]) -> Mapping[str, Sequence[Exhibit]]:
    """What is asked of an exhibit to the exhibits, both in order of appearance."""
    groups: dict[str, list[Exhibit]] = {}
    for exhibit in exhibits:
        groups.setdefault(what(exhibit), []).append(exhibit)
    return groups


def colour_key(exhibits: Sequence[Exhibit]) -> str:
    """Which colour is whose."""
    keys = "".join(f'<span><i class="{look(each.colour)}"></i>{escape(each.group.label)}</span>' for each in exhibits)
    return f'<div class="key">{keys}</div>'


# Configurations whose pictures are shown at once; those of others unfold.
_UNFOLDED = 4


def folded(parts: Sequence[tuple[Exhibit, str]]) -> str:
    """HTML of each configuration below its name; of many configurations only the first ones are open."""
    shown = []
    for number, (each, body) in enumerate(parts):
        heading = f"<h3>{dot(each.colour)}{escape(each.group.label)}</h3>"
        if len(parts) <= _UNFOLDED:
            shown.append(heading + body)
        else:
            opened = " open" if number < _UNFOLDED else ""
            shown.append(f"<details{opened}><summary>{heading}</summary>{body}</details>")
    return "".join(shown)


def _missing(exhibits: Sequence[Exhibit]) -> str:
    reasons = [f"{escape(each.group.label)} ({escape(each.trouble or f'{each.place} has none')})" for each in exhibits]
    return f"<p><small>Without pictures below: {', '.join(reasons)}.</small></p>" if reasons else ""


def _episodes(watched: Sequence[Watched]) -> str:
    """Returns and lengths, environment by environment."""
    parts = []
    for place in dict.fromkeys(each.exhibit.place for each in watched):
        here = [each for each in watched if each.exhibit.place == place]
        if charts := "".join(distribution(here, name) for name in DISTRIBUTIONS):
            number = next(len(each.results.returns) for each in here if each.results is not None)
            sentence = f"{number:,} unseen episodes each, played greedily: median, middle half, 5 to 95%."
            parts.append(f'<h3>{escape(place)}</h3><p>{sentence}</p><div class="charts">{charts}</div>')
    return "".join(parts)


def _videos(watched: Sequence[Watched]) -> str:
    """An episode of each, and why there is none."""
    figures, missing = [], []
    for each in watched:
        label = f"{each.exhibit.group.label}, {each.exhibit.place}"
        if picture := each.animation():
            name = f"{dot(each.exhibit.colour)}<b>{escape(label)}</b>"
            figures.append(f"<figure>{picture}<figcaption>{name}</figcaption></figure>")
        if each.trouble:
            missing.append(f"{label}: {each.trouble}")
    shown = f'<div class="charts small">{"".join(figures)}</div>' if figures else ""
    return shown + "".join(f"<p><small>{escape(each)}</small></p>" for each in dict.fromkeys(missing))


def _results(exhibits: Sequence[Exhibit]) -> str:
    table = results_table(exhibits)
    if not table:
        return ""
    share = "; of the success rate Wilson's over its episodes with one seed, and never narrower than that"
    shares = any(figure.name == "success_rate" for each in exhibits if each.env for figure in each.env.FIGURES)
    return (
        "<p>Unseen episodes with the best checkpoint of each run. Intervals are 95%: over seeds (Student's t) from two "
        f"seeds on{share if shares else ''}. Bold is the best mean of the runs' own policies.</p>{table}"
    )


def _curves(exhibits: Sequence[Exhibit], charts: Sequence[Chart]) -> str:
    parts = []
    places = by(exhibits, lambda each: each.place)
    for place, shown in places.items():
        if here := [each for each in charts if each.place == place]:
            heading = f"<h3>{escape(place)}</h3>" if len(places) > 1 else ""
            parts.append(f'{heading}{colour_key(shown)}<div class="charts">{"".join(map(_chart_html, here))}</div>')
    if not parts:
        return ""
    several = any(len(exhibit.group.runs) > 1 for exhibit in exhibits)
    text = (
        "<p>Means over seeds; shaded are 95% intervals (Student's t) from three seeds on, the range of two.</p>"
        if several
        else "<p>One seed each, so no intervals.</p>"
    )
    return f"{text}{''.join(parts)}"


def _chart_html(chart: Chart) -> str:
    drawn = chart_html(chart.figure(), f"{chart.heading}, {chart.place}")
    return f"<figure>{drawn}<figcaption><b>{escape(chart.heading)}</b>. {escape(chart.meaning)}</figcaption></figure>"


def learning_charts(exhibits: Sequence[Exhibit]) -> list[Chart]:
    """A chart for each curve that any of them has, environment by environment."""
    charts: list[Chart] = []
    for shown in by(exhibits, lambda each: each.place).values():
        env = shown[0].env
        for figure in [each for each in env.FIGURES if each.heading][:_FIGURES] if env is not None else []:
            # what cannot be less than something above 0 is a ratio
            charts += _chart(
                shown,
                f"val/{figure.name}",
                (figure.heading or figure.label).replace("\n", " "),
                f"{figure.label[0].upper()}{figure.label[1:]} on validation episodes.",
                log=figure.limits[0] > 0,
                percent=figure.form.endswith("%"),
            )
        for name, (heading, percent, meaning) in _CURVES.items():
            parts = by(shown, lambda each: str(each.group.runs[0].settings.get("model.class_path", "")))
            if name != "train/loss" or len(parts) == 1:
                parts = {"": shown}
            for algorithm, alike in parts.items():
                called = f"{heading}, {algorithm.rpartition('.')[2]}" if algorithm else heading
                charts += _chart(alike, name, called, meaning, percent=percent)
    return charts


def _chart(
    exhibits: Sequence[Exhibit], name: str, heading: str, meaning: str, *, log: bool = False, percent: bool = False
) -> list[Chart]:
    """One chart, or none if nobody has the curve; all are of one environment."""
    known = [(each, curves) for each in exhibits if (curves := _curves_of(each, name))]
    series = [Series(each.group.label, each.colour, band(curves)) for each, curves in known]
    if not any(each.band.x for each in series):
        return []
    place = exhibits[0].place
    return [Chart(f"{place}-{heading}", place, heading, meaning, series, log, percent)]


def _curves_of(exhibit: Exhibit, name: str) -> list[list[tuple[int, float]]]:
    return [run.curves[name] for run in exhibit.group.runs if run.curves.get(name)]
