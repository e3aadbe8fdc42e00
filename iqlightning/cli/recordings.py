"""Episodes that are there already: the options by which commands read them, and the summary of what was read."""

import json
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from rich.table import Table

from iqlightning.cli.options import Options, natural
from iqlightning.cli.time_limit import add_time_limit
from iqlightning.data.contents import contents
from iqlightning.data.demonstrations import check_fits, environment_of, header_of, load_demonstrations, spaces_for
from iqlightning.data.fitting import fitted, guessed_spaces
from iqlightning.data.minari import read_minari
from iqlightning.data.named_columns import PARTS
from iqlightning.data.readers import FORMATS, read_recording
from iqlightning.data.recording import are_whole_episodes
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.errors import UserError, unknown
from iqlightning.evaluation.tables import new_table
from iqlightning.spaces import Spaces
from iqlightning.types import EnvConfig, Trajectories

__all__ = [
    "READING",
    "Reading",
    "add_environment_options",
    "add_reading_options",
    "named_environment",
    "read_episodes",
    "summary",
]

#: Options that only the files of others need.
READING = ("names", "first_action", "observation_scale")


class Reading(NamedTuple):
    """Episodes, what a file says of them, the spaces they are of, and what was supposed on the way."""

    played: Trajectories
    metadata: dict[str, Any]
    spaces: Spaces
    notes: list[str]


def add_environment_options(options: Options) -> None:
    """Which environment of Gymnasium, see :func:`named_environment`."""
    options.add_argument(
        "--gym", metavar="ID", default=None, help="a Gymnasium environment, such as CartPole-v1 or my_package:Mine-v0"
    )
    options.add_argument("--gym_kwargs", metavar="JSON", default=None, help="its arguments, such as '{\"size\": 5}'")
    options.add_argument(
        "--wrappers",
        metavar="NAME,...|JSON",
        default=None,
        help="wrappers around it, the first one inside: names such as atari, babyai, minigrid, minatar, or "
        'a list \'[{"class_path": ..., "init_args": {...}}]\'',
    )
    add_time_limit(options)


def add_reading_options(options: Options) -> None:
    """Which environment, and what the files of others leave open."""
    add_environment_options(options)
    options.add_argument(
        "--names",
        metavar="PART=NAME,...",
        action="append",
        default=None,
        help="columns or arrays by other names, such as 'observations=state_*,actions=torque'; parts: "
        + ", ".join(PARTS),
    )
    options.add_argument(
        "--first_action",
        type=natural,
        default=None,
        help="number of the first action in a recording; None: as in --gym",
    )
    options.add_argument(
        "--observation_scale",
        type=_fraction,
        metavar="X",
        default=None,
        help="multiply recorded observations, by 255 or 1/255 for instance; None: they are in the units of --gym",
    )


def named_environment(given: Any) -> EnvConfig | None:
    """That of ``--gym``, ``--gym_kwargs``, ``--wrappers`` and ``--max_episode_steps``; None if there is none."""
    if given.gym is None:
        for name in ("gym_kwargs", "wrappers"):  # a time limit is any environment's of Gymnasium
            if getattr(given, name) is not None:
                raise UserError(f"--{name} belongs to --gym ID, which is missing")
        return None
    try:
        kwargs = json.loads(given.gym_kwargs or "{}")
    except json.JSONDecodeError as error:
        raise UserError(f"--gym_kwargs is not JSON: {error}") from error
    if not isinstance(kwargs, dict):
        raise UserError(f"--gym_kwargs must be names and values in braces, not {given.gym_kwargs}")
    return GymnasiumConfig(given.gym, kwargs, _wrappers(given.wrappers), given.max_episode_steps)


def _wrappers(text: str | None) -> list[Any]:
    if text is None:
        return []
    if not text.lstrip().startswith(("[", "{")):
        return [each.strip() for each in text.split(",") if each.strip()]
    try:
        wrappers = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"--wrappers is neither names nor JSON: {error}") from error
    return wrappers if isinstance(wrappers, list) else [wrappers]


def read_episodes(what: str, given: Any, *, minari: bool = False, lenient: bool = False) -> Reading:
    """The episodes of a demonstrations file, or of a recording in another format.

    Args:
        what: a file, or a Minari dataset.
        given: the parsed options of :func:`add_reading_options`.
        minari: takes ``what`` for a Minari dataset, whatever it looks like.
        lenient: for looking at them only: a demonstrations file need not fit ``--gym``, and where no environment is
            named for a recording its spaces are guessed.

    Raises:
        UserError: if it cannot be read, or is not of the environment.
    """
    named = named_environment(given)
    if named is None and given.max_episode_steps is not None:
        raise UserError("--max_episode_steps is for the environment of --gym ID, which is missing")
    if minari and given.names is not None:
        raise UserError("--names is for columns and arrays, and a Minari dataset has its own: leave it out")
    recording = read_minari(what, named) if minari else read_recording(what, named, _names(given.names))
    if recording is None:
        if useless := [name for name in READING if getattr(given, name) is not None]:
            raise UserError(f"--{useless[0]} is for {', '.join(FORMATS)}, and '{what}' is none of these: leave it out")
        played, stored = load_demonstrations(what)
        stored = {"source": what} | stored
        if named is not None and not lenient:
            recorded = environment_of(what, stored)
            if recorded is not None and (difference := named.differs_from(recorded)):
                raise UserError(f"'{what}' is not of --gym {given.gym}: {difference}")
            check_fits(what, played, named)
            stored["env"] = named.to_dict()
        if "env" not in stored and not lenient:
            raise UserError(f"'{what}' does not say which environment it is of: name it with --gym ID")
        env = environment_of(what, stored)
        written = json.loads(header_of(what)[0].get("spaces", "null")) if env is None else None
        return Reading(played, stored, spaces_for(what, stored, Spaces.from_dict(written) if written else None), [])
    env = named or recording.env
    if env is None and not lenient:
        raise UserError(f"'{what}' does not say which environment it is of: name it with --gym ID")
    spaces = guessed_spaces(recording, given.first_action) if env is None else env.spaces
    played = fitted(
        recording, spaces, env=env, first_action=given.first_action, observation_scale=given.observation_scale
    )
    metadata: dict[str, Any] = {"source": recording.source or what} | ({} if env is None else {"env": env.to_dict()})
    if not are_whole_episodes(played):
        metadata["whole_episodes"] = False
        recording.notes.append(
            "some episodes go on where the one before ended: their first observations are not taken as initial states, "
            "and the value term InitialStates cannot be had from them"
        )
    return Reading(played, metadata, spaces, recording.notes)


def summary(reading: Reading, title: str) -> Table:
    """What was read, in a table."""
    figures = contents(reading.played, reading.spaces)
    table = new_table(title, "", "", words=2)
    table.show_header = False
    for label, value in _rows(figures, reading.spaces):
        table.add_row(label, value)
    for number, note in enumerate(reading.notes):
        table.add_row("" if number else "to know", note)
    return table


def _rows(figures: dict[str, Any], spaces: Spaces) -> list[tuple[str, str]]:
    lengths, returns = figures["lengths"], figures["returns"]
    seen, done = figures["observations"], figures["actions"]
    shape = " x ".join(map(str, seen["shape"])) or "a single number"
    rows = [
        (
            "episodes",
            f"{figures['episodes']:,} ({figures['terminated']:,} terminated, {figures['truncated']:,} cut off)",
        ),
        ("transitions", f"{figures['transitions']:,}"),
        ("lengths", f"{lengths['min']:.0f} to {lengths['max']:.0f}, mean {lengths['mean']:.1f}"),
        ("returns", f"{returns['min']:.4g} to {returns['max']:.4g}, mean {returns['mean']:.4g}"),
        ("observations", f"{shape}, {seen['dtype']}, {seen['min']:.4g} to {seen['max']:.4g}"),
    ]
    if constant := seen["constant"]:
        shown = ", ".join(map(str, constant[:8])) + (", ..." if len(constant) > 8 else "")
        rows.append(("never change", f"entries {shown} of observations"))
    if "counts" in done:
        total = sum(done["counts"])
        shares = [f"{number}: {count / total:.1%}" for number, count in enumerate(done["counts"][:12])]
        rows.append(("actions", f"{spaces.action}; {', '.join(shares)}{', ...' if len(done['counts']) > 12 else ''}"))
    else:
        low, high = min(done["low"]), max(done["high"])
        rows.append(
            ("actions", f"{len(done['low'])} real, {low:.4g} to {high:.4g}, {done['at_bounds']:.1%} at a bound")
        )
    repeated = f"{figures['duplicate_episodes']:,} episodes, {figures['duplicate_transitions']:,} transitions"
    rows.append(("duplicates", repeated))
    if figures["contradictions"]:
        rows.append(
            ("contradictions", f"{figures['contradictions']:,} observations were answered by different actions")
        )
    return rows


def _names(given: list[str] | None) -> dict[str, str]:
    names = {}
    for pair in ",".join(given or []).split(",") if given else []:
        part, equals, name = (each.strip() for each in pair.partition("="))
        if not equals or not name:
            raise UserError(f"--names takes PART=NAME, not '{pair}'; parts: {', '.join(PARTS)}")
        if part not in PARTS:
            raise unknown("part of a recording", part, PARTS)
        names[part] = name
    return names


def _fraction(text: str) -> float:
    try:
        number = float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        number = 0.0
    if not 0 < number < torch.inf:
        from argparse import ArgumentTypeError

        raise ArgumentTypeError(f"must be a number above 0 or a fraction such as 1/255, not '{text}'")
    return number
