"""What the report shows of a policy in any environment: returns and lengths of episodes, and one of them moving."""

from typing import NamedTuple

from PIL import Image

from iqlightning.analysis.charts import boxes
from iqlightning.analysis.report.embed import animation_html, chart_html
from iqlightning.analysis.report.exhibit import Exhibit
from iqlightning.errors import error_text
from iqlightning.evaluation.environment import Returns, evaluate_environment
from iqlightning.evaluation.video import record_episode

__all__ = ["DISTRIBUTIONS", "Watched", "distribution", "filmed_before", "shortly", "watch"]

#: What is drawn of episodes: attribute of the results to how the axis is called.
DISTRIBUTIONS = {"returns": "return of an episode", "lengths": "moves of an episode"}

# bytes of an animation that is shown, pixels of its longest side, frames
_LARGEST_GIF, _SIDE, _FRAMES = 64 << 20, 200, 60

# letters of what went wrong
_LONGEST_TROUBLE = 200


class Watched(NamedTuple):
    """A policy that has played.

    Attributes:
        exhibit: whose.
        results: of its episodes; None where they could not be played, or have figures of another kind.
        gif: an episode; empty where the environment does not draw itself.
        trouble: why one of them is missing; "" if none is.
    """

    exhibit: Exhibit
    results: Returns | None
    gif: bytes
    trouble: str

    def animation(self) -> str:
        """HTML of the episode; "" where there is none that can be read."""
        if not self.gif.startswith((b"GIF87a", b"GIF89a")):
            return ""
        try:
            return animation_html(self.gif, f"an episode of {self.exhibit.group.label}")
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
            return ""  # it is damaged


def filmed_before(exhibit: Exhibit) -> Watched:
    """One that does not play, with the episode that the callback EpisodeVideo has left in a run's folder."""
    files = (run.folder / "episode.gif" for run in exhibit.group.runs)
    file = next((path for path in files if path.is_file() and path.stat().st_size <= _LARGEST_GIF), None)
    return Watched(exhibit, None, b"" if file is None else file.read_bytes(), "")


def watch(exhibit: Exhibit, episodes: int, seed: int) -> Watched:
    """Lets a policy play, and films it where the run has not done so itself; what goes wrong is told, not raised."""
    assert exhibit.env is not None
    assert exhibit.policy is not None
    results, gif, trouble = None, filmed_before(exhibit).gif, ""
    # an environment of somebody else's, perhaps of another version than in training, may fail in any way
    try:
        played = evaluate_environment(exhibit.policy, exhibit.env, episodes, seed)
        results = played if isinstance(played, Returns) else None
    except Exception as error:
        trouble = shortly(error)
    try:
        if not gif and not trouble:
            gif = record_episode(exhibit.policy, exhibit.env, seed, most_frames=_FRAMES, side=_SIDE).gif
    except Exception as error:
        trouble = shortly(error)
    return Watched(exhibit, results, gif, trouble)


def distribution(watched: list[Watched], name: str) -> str:
    """A chart of :data:`DISTRIBUTIONS`, over the policies of one environment; "" if nobody has played."""
    rows = [
        (each.exhibit.group.label, each.exhibit.colour, getattr(each.results, name).tolist())
        for each in watched
        if each.results is not None
    ]
    if not rows:
        return ""
    axis = DISTRIBUTIONS[name]
    return f"<figure>{chart_html(boxes(rows, axis), f'{axis}, {watched[0].exhibit.place}')}</figure>"


def shortly(error: Exception) -> str:
    """Why something is missing, where foreign code may have raised anything."""
    return error_text(error, (Exception,))[:_LONGEST_TROUBLE]
