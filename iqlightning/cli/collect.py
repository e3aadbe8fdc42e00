"""``collect``: makes demonstrations with the expert, a checkpoint, one's own function or the random policy.

They become a file for ``fit``, a Minari dataset, or both; and either of these can be read instead of playing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from iqlightning.cli.counting_bar import counting_bar
from iqlightning.cli.gridworld_options import add_gridworld_options, gridworld_changes
from iqlightning.cli.options import Options, above_zero, console_beside, device_of, natural, positive
from iqlightning.cli.players import NAMED, expert_of, player
from iqlightning.cli.recordings import READING, add_reading_options, read_episodes, summary
from iqlightning.data.collect import collect
from iqlightning.data.demonstrations import save_demonstrations
from iqlightning.data.minari import check_new_minari, to_minari
from iqlightning.data.readers import FORMATS
from iqlightning.data.stable_baselines import ALGORITHMS
from iqlightning.errors import UserError
from iqlightning.files import check_output
from iqlightning.registration import env_config_from_dict
from iqlightning.types import Trajectories

__all__ = ["run"]

# Options that say how to play, beside those of GridWorld; all are None unless given.
_PLAYING = ("seed", "sample", "temperature", "device")

# The study's number of demonstrations.
_DEFAULT_EPISODES = 450


def run(arguments: Sequence[str], command: str) -> None:
    """Parses the options, plays and writes the file."""
    options = _options(command)
    given = options.parse_args(arguments)
    device = device_of(given.device or "auto")
    _refuse_contradictions(given)
    _refuse_what_does_nothing(given)
    _fill_in(given)
    if given.to_minari is not None:
        check_new_minari(given.to_minari)
    if given.from_minari is None and given.from_file is None:
        played, metadata, output = _play(given, device)
    else:
        output = _free(Path(given.output), given.force) if given.output else None
        played, metadata = _read(given)
    played = _good_ones(played, given.min_return)
    env, source = env_config_from_dict(metadata["env"]), metadata["source"]
    places = []
    if output is not None:
        save_demonstrations(output, played, metadata)
        places.append(str(output))
    if given.to_minari is not None:
        places.append(str(to_minari(given.to_minari, played, env, source)))
    console_beside(given.output).print(
        f"wrote {played.num_episodes:,} episodes ({played.num_transitions:,} transitions, mean return "
        f"{played.returns.mean():.2f}) of {env.name} by {source} to {' and '.join(places)}",
        highlight=False,
        soft_wrap=True,
    )


def _play(given: Any, device: torch.device) -> tuple[Trajectories, dict[str, Any], Path | None]:
    """What was played, what to say of it, and the file to write, if any."""
    policy, source, env = player(given, device)
    episodes = given.episodes or _DEFAULT_EPISODES
    what = given.policy if given.policy in NAMED else "policy"
    output = given.output or f"data/{env.name}-{what}-e{episodes}-s{given.seed}.safetensors"
    file = None if given.to_minari is not None and given.output is None else _free(Path(output), given.force)
    with counting_bar("playing", episodes, steps=policy is not None) as progress:
        if policy is None:
            played = Trajectories.concatenate(list(expert_of(env).parts(episodes, given.seed, progress)))
        else:
            played = collect(
                policy, env, episodes, given.seed, sample=given.sample, device=str(device), progress=progress
            )
    recipe = {"episodes": episodes, "sample": given.sample, "min_return": given.min_return, "split": "train"}
    recipe |= {} if given.temperature is None else {"temperature": given.temperature}
    return played.to("cpu"), {"env": env.to_dict(), "seed": given.seed, "source": source, "recipe": recipe}, file


def _read(given: Any) -> tuple[Trajectories, dict[str, Any]]:
    """Episodes that are there already, and what is known of them; a summary is shown."""
    what = given.from_file or given.from_minari
    reading = read_episodes(what, given, minari=given.from_minari is not None)
    console_beside(given.output).print(summary(reading, what))
    played, metadata = reading.played, reading.metadata
    if given.episodes is not None:
        if given.episodes > played.num_episodes:
            raise UserError(f"--episodes {given.episodes}, but '{what}' has only {played.num_episodes}")
        played = played.select(torch.arange(given.episodes))
    # a part is no longer what the recipe makes
    part = {name: getattr(given, name) for name in ("episodes", "min_return") if getattr(given, name) is not None}
    if part:
        metadata["recipe"] = part | ({"part_of": metadata["recipe"]} if "recipe" in metadata else {})
    return played, metadata


def _free(output: Path, force: bool) -> Path:
    return check_output(output, "demonstrations file", force=force)


def _refuse_contradictions(given: Any) -> None:
    sources = [name for name in ("policy", "from_minari", "from_file") if getattr(given, name) is not None]
    if len(sources) > 1:
        raise UserError(
            f"--{sources[0]} and --{sources[1]} exclude each other: play with a policy, or read what there is"
        )
    if sources[:1] in (["from_minari"], ["from_file"]) and given.output is None and given.to_minari is None:
        raise UserError(f"--{sources[0]} needs to know where to: --output FILE or --to_minari ID")


def _refuse_what_does_nothing(given: Any) -> None:
    """Whoever gives an option expects something of it."""
    policy = given.policy or "expert"
    if given.from_minari is not None or given.from_file is not None:
        source = "from_file" if given.from_minari is None else "from_minari"
        playing = [name for name in _PLAYING if getattr(given, name) is not None] + [*gridworld_changes(given)]
        if playing:
            raise UserError(
                f"--{playing[0]} is for episodes that are played, and those of --{source} are read: leave it out"
            )
    elif policy in NAMED:
        for name in ("sample", "temperature"):
            if getattr(given, name) is not None:
                raise UserError(f"--{name} is for a checkpoint's actions, and --policy is '{policy}': leave it out")
        if policy == "expert" and given.device is not None:
            raise UserError("--device is where a policy plays, and the expert plans on the CPU: leave it out")
    elif policy.endswith(".zip") and (given.sample or given.temperature is not None):
        raise UserError("a model of Stable-Baselines3 plays without noise: leave out --sample and --temperature")
    elif given.temperature is not None and not given.sample:
        raise UserError("--temperature is that of drawn actions: give --sample as well")
    if given.sb3 is not None and not policy.endswith(".zip"):
        raise UserError("--sb3 says of which algorithm a MODEL.zip of --policy is, and there is none: leave it out")
    if (
        given.from_file is None
        and given.from_minari is None
        and (useless := [name for name in READING if getattr(given, name) is not None])
    ):
        raise UserError(f"--{useless[0]} is for episodes that are read with --from, and these are played: leave it out")
    if given.force and given.output is None and given.to_minari is not None:
        raise UserError("--force replaces the file of --output, and a Minari dataset is never replaced: leave it out")


def _fill_in(given: Any) -> None:
    """What was left open: the expert, seed 0, the best actions."""
    given.policy = given.policy or "expert"
    given.seed = given.seed or 0
    given.sample = bool(given.sample)


def _options(command: str) -> Options:
    options = Options(
        command, "Make a demonstrations file (.safetensors) that fit reads with --data.path FILE.", trusting=True
    )
    options.add_argument(
        "--policy",
        default=None,
        metavar="expert|random|CKPT|MODEL.zip|MODULE:NAME",
        help="the environment's own expert (GridWorld has one), the random policy, a checkpoint, with --trust "
        "stable_baselines3 a model of Stable-Baselines3 (extra sb3, with --gym), or with --trust PACKAGE "
        "a function of your own from observations (N, ...) to actions (N, ...), or one whose argument is called env, "
        "make_expert(env) -> obs -> action, called anew for each episode; None: expert",
    )
    options.add_argument(
        "--sb3", choices=ALGORITHMS, default=None, help="algorithm of MODEL.zip; None: as the file says"
    )
    options.add_argument(
        "--from_minari",
        metavar="ID|FOLDER",
        default=None,
        help="read a Minari dataset instead of playing (extra minari); its folder begins with / or ./",
    )
    options.add_argument(
        "--from",
        "--from_file",
        dest="from_file",
        metavar="FILE|ID",
        default=None,
        help=f"read what was recorded instead of playing: a demonstrations file, {', '.join(FORMATS)}; with --gym "
        "where it does not say its environment",
    )
    options.add_argument(
        "--to_minari",
        metavar="ID",
        default=None,
        help="write a Minari dataset, such as CartPole-v1/mine-v0 (extra minari)",
    )
    add_reading_options(options)
    options.add_argument("--episodes", type=positive, default=None, help="how many to play (None: 450) or read (all)")
    options.add_argument("--seed", type=natural, default=None, help="seed of the episodes; None: 0")
    options.add_argument(
        "--sample",
        action="store_true",
        default=None,
        help="draw a checkpoint's actions from softmax(Q / temperature)",
    )
    options.add_argument(
        "--temperature", type=above_zero, default=None, help="of drawn actions; None: that of training"
    )
    options.add_argument("--min_return", type=float, default=None, help="keep only episodes that return at least this")
    options.add_argument("--output", metavar="FILE", default=None, help="where to; None: a name by the recipe in data/")
    options.add_argument("--force", action="store_true", help="replace the file if it exists")
    options.add_argument("--device", default=None, help="auto, cpu, cuda, cuda:1, ...; None: auto")
    add_gridworld_options(options, instead_of="its default, or as in the checkpoint's training")
    return options


def _good_ones(played: Trajectories, min_return: float | None) -> Trajectories:
    if min_return is None:
        return played
    good = (played.returns >= min_return).nonzero()[:, 0]
    if not len(good):
        raise UserError(
            f"none of {played.num_episodes} episodes returned at least {min_return:g} (the best "
            f"{played.returns.max():g}); nothing was written"
        )
    return played.select(good)
