"""The sections that every report has: settings, final figures, learning curves."""

from collections.abc import Callable, Mapping, Sequence
from html import escape

from iqlightning.analysis.charts import Series, learning_curves
from iqlightning.analysis.intervals import band
from iqlightning.analysis.report.embed import animation_html, chart_html
from iqlightning.analysis.report.exhibit import Exhibit
from iqlightning.analysis.report.page import Section
from iqlightning.analysis.report.tables import results_table, runs_table

__all__ = ["by", "colour_key", "sections"]

_FIGURES = 2  # of those that an environment's evaluations end in, the most telling ones

# curve to (heading, a share, what it is)
_CURVES = {
    "val/expert_agreement": (
        "agreement with the expert",
        True,
        "Held-out actions that the policy would take too.",
    ),
    "train/loss": ("loss", False, "Of the objective: losses of different algorithms have nothing in common."),
    "train/entropy": ("entropy", False, "Of the drawn policy on training states, in nats."),
    "train/reward": ("recovered reward", False, "Mean over the expert's transitions."),
    "train/q": ("Q", False, "Mean over the actions of training transitions."),
}


def sections(exhibits: Sequence[Exhibit], without_pictures: Sequence[Exhibit]) -> list[Section]:
    """In the order of the page; those without anything to show have an empty body.

    Args:
        exhibits: all of them.
        without_pictures: those of whose policies nothing more is shown.
    """
    return [
        Section("runs", "What was run", runs_table(exhibits) + _missing(without_pictures)),
        Section("results", "How it ended", _results(exhibits)),
        Section("curves", "How it learned", _curves(exhibits)),
        Section("videos", "What it does", _videos(exhibits)),
    ]


def by(exhibits: Sequence[Exhibit], what: Callable[[Exhibit], str]) -> Mapping[str, Sequence[Exhibit]]:
    """What is asked of an exhibit to the exhibits, both in order of appearance."""
    groups: dict[str, list[Exhibit]] = {}
    for exhibit in exhibits:
        groups.setdefault(what(exhibit), []).append(exhibit)
    return groups


def colour_key(exhibits: Sequence[Exhibit]) -> str:
    """Which colour is whose."""
    keys = "".join(f'<span><i class="b{each.colour}"></i>{escape(each.group.label)}</span>' for each in exhibits)
    return f'<div class="key">{keys}</div>'


def _missing(exhibits: Sequence[Exhibit]) -> str:
    reasons = [f"{escape(each.group.label)} ({escape(each.trouble or f'{each.place} has none')})" for each in exhibits]
    return f"<p><small>Without pictures below: {', '.join(reasons)}.</small></p>" if reasons else ""


def _videos(exhibits: Sequence[Exhibit]) -> str:
    """What the callback EpisodeVideo has recorded."""
    figures = []
    for each in exhibits:
        file = next((path for run in each.group.runs if (path := run.folder / "episode.gif").is_file()), None)
        gif = b"" if file is None else file.read_bytes()
        if gif.startswith((b"GIF87a", b"GIF89a")):
            label = escape(f"{each.group.label}, {each.place}")
            picture = animation_html(gif, f"an episode of {each.group.label}")
            figures.append(f"<figure>{picture}<figcaption><b>{label}</b></figcaption></figure>")
    return f'<div class="charts">{"".join(figures)}</div>' if figures else ""


def _results(exhibits: Sequence[Exhibit]) -> str:
    table = results_table(exhibits)
    if not table:
        return ""
    shares = any(figure.name == "success_rate" for each in exhibits if each.env for figure in each.env.FIGURES)
    return (
        "<p>Unseen episodes with the best checkpoint of each run. Intervals are 95%: over seeds (Student's t) from two "
        f"seeds on{'; for the success rate never narrower than Wilson&rsquo;s over its episodes' if shares else ''}. "
        f"Bold is the best mean of the runs' own policies.</p>{table}"
    )


def _curves(exhibits: Sequence[Exhibit]) -> str:
    parts = []
    places = by(exhibits, lambda each: each.place)
    for place, shown in places.items():
        if charts := _charts(shown):
            heading = f"<h3>{escape(place)}</h3>" if len(places) > 1 else ""
            parts.append(f'{heading}{colour_key(shown)}<div class="charts">{"".join(charts)}</div>')
    if not parts:
        return ""
    several = any(len(exhibit.group.runs) > 1 for exhibit in exhibits)
    text = (
        "<p>Means over seeds; shaded are 95% intervals (Student's t) from three seeds on, the range of two.</p>"
        if several
        else "<p>One seed each, so no intervals.</p>"
    )
    return f"{text}{_when_best(exhibits)}{''.join(parts)}"


def _charts(exhibits: Sequence[Exhibit]) -> list[str]:
    """A chart for each curve that any of them has; all are of one environment."""
    charts = []
    env = exhibits[0].env
    for figure in [each for each in env.FIGURES if each.heading][:_FIGURES] if env is not None else []:
        # what cannot be less than something above 0 is a ratio
        charts += _chart(
            exhibits,
            f"val/{figure.name}",
            (figure.heading or figure.label).replace("\n", " "),
            f"{figure.label[0].upper()}{figure.label[1:]} on validation episodes.",
            log=figure.limits[0] > 0,
            percent=figure.form.endswith("%"),
        )
    for name, (heading, percent, meaning) in _CURVES.items():
        parts = by(exhibits, lambda each: str(each.group.runs[0].settings.get("model.class_path", "")))
        if name != "train/loss" or len(parts) == 1:
            parts = {"": exhibits}
        for algorithm, shown in parts.items():
            called = f"{heading}, {algorithm.rpartition('.')[2]}" if algorithm else heading
            charts += _chart(shown, name, called, meaning, percent=percent)
    return charts


def _chart(
    exhibits: Sequence[Exhibit], name: str, heading: str, meaning: str, *, log: bool = False, percent: bool = False
) -> list[str]:
    """One figure, or none if nobody has the curve."""
    known = [(each, curves) for each in exhibits if (curves := _curves_of(each, name))]
    series = [Series(each.group.label, each.colour, band(curves)) for each, curves in known]
    figure = learning_curves(series, log=log, percent=percent)
    if figure is None:
        return []
    drawn = chart_html(figure, f"{heading}, {exhibits[0].place}")
    return [f"<figure>{drawn}<figcaption><b>{escape(heading)}</b>. {escape(meaning)}</figcaption></figure>"]


def _curves_of(exhibit: Exhibit, name: str) -> list[list[tuple[int, float]]]:
    return [run.curves[name] for run in exhibit.group.runs if run.curves.get(name)]


def _when_best(exhibits: Sequence[Exhibit]) -> str:
    """When the success rate came within one point of its best."""
    parts = []
    for each in exhibits:
        curves = _curves_of(each, "val/success_rate")
        mean = band(curves) if curves else None
        if mean is not None and mean.x:
            best = max(mean.mean)
            when = next(x for x, y in zip(mean.x, mean.mean, strict=True) if y >= best - 0.01)
            label = escape(each.group.label)
            parts.append(f"{label} comes within a point of its best, {best:.1%}, after {when:,} updates")
    return f"<p>Here: {'; '.join(parts)}.</p>" if parts else ""
