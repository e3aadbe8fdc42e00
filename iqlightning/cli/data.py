"""``data FILE``: what is in a demonstrations file or a recording in another format, as figures and as a picture."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import gymnasium
from rich.table import Table

from iqlightning.analysis.charts import literal
from iqlightning.analysis.contents_figure import contents_figure
from iqlightning.cli.options import Options, console_beside
from iqlightning.cli.recordings import add_reading_options, named_environment, read_episodes, summary
from iqlightning.data.contents import conflicts_with, contents
from iqlightning.data.readers import FORMATS
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.errors import UserError
from iqlightning.files import write_atomically
from iqlightning.registration import env_config_from_dict
from iqlightning.types import EnvConfig

__all__ = ["run"]


# what a picture of each format calls the program that made it
_SAYS_WHO = {"png": "Software", "svg": "Creator", "pdf": "Creator"}


def run(arguments: Sequence[str], command: str) -> None:
    """Parses the options, prints a table, writes the files."""
    options = _options(command)
    given = options.parse_args(arguments)
    if given.figure is not None and Path(given.figure).suffix.lower()[1:] not in _SAYS_WHO:
        raise UserError(f"--figure {given.figure}: its name must end in .png, .svg or .pdf")
    reading = read_episodes(given.file, given, lenient=True)
    named = named_environment(given)
    stored = reading.metadata.get("env")
    env = named if named is not None or stored is None else env_config_from_dict(stored)
    conflicts = [] if env is None else conflicts_with(reading.played, env, _time_limit(env))
    if named is not None and stored is not None:
        recorded = env_config_from_dict(stored)
        if recorded.to_dict() != named.to_dict():
            conflicts.append(f"the file says that it is of '{recorded.name}'")
    console = console_beside(given.json)
    where = "no environment" if stored is None else env_config_from_dict(stored).name
    table = summary(reading, f"{given.file}: {where}, by {reading.metadata.get('source', 'nobody named')}")
    _add_conflicts(table, env, conflicts)
    console.print(table)
    if given.json is not None:
        figures = {
            "generator": options.mark,
            "file": given.file,
            **reading.metadata,
            **contents(reading.played, reading.spaces),
        }
        figures |= {"spaces": reading.spaces.to_dict(), "notes": reading.notes, "conflicts": conflicts}
        write_atomically(given.json, f"{json.dumps(figures, indent=2, allow_nan=False)}\n".encode(), "result file")
    if given.figure is not None:
        content = io.BytesIO()
        title = f"{Path(given.file).name}: {reading.played.num_episodes:,} episodes, {where}"
        picture = contents_figure(reading.played, reading.spaces, title)
        kind = Path(given.figure).suffix[1:].lower()
        literal(picture).savefig(content, format=kind, dpi=130, metadata={_SAYS_WHO[kind]: options.mark})
        write_atomically(given.figure, content.getvalue(), "figure")


def _add_conflicts(table: Table, env: EnvConfig | None, conflicts: Sequence[str]) -> None:
    if env is not None and not conflicts:
        table.add_row("conflicts", f"none with '{env.name}'")
    for number, conflict in enumerate(conflicts):
        table.add_row("" if number else "conflicts", conflict)


def _time_limit(env: EnvConfig) -> int | None:
    """Steps after which Gymnasium cuts episodes of the environment off; None where it does not, or cannot be asked."""
    if isinstance(env, GymnasiumConfig):
        return env.time_limit
    named = env.gymnasium_spec()
    registered = None if named is None else gymnasium.registry.get(named[0].rpartition(":")[2])
    if named is None or registered is None:
        return None
    limit = named[1].get("max_episode_steps", registered.max_episode_steps)
    return None if limit is None or limit < 1 else int(limit)


def _options(command: str) -> Options:
    description = "Show what is in demonstrations: episodes, lengths, returns, actions, ranges, duplicates, conflicts."
    options = Options(command, description, trusting=True)
    options.add_argument("file", metavar="FILE", help=f"a demonstrations file, {', '.join(FORMATS)}")
    written, drawn = "write the figures here (-: standard output)", "draw them (.png, .svg, .pdf)"
    options.add_output("--json", what="result file", metavar="FILE", default=None, help=written)
    options.add_output("--figure", what="figure", metavar="FILE.png", default=None, help=drawn)
    add_reading_options(options)
    return options
