"""``collect``: makes demonstrations with the expert, a checkpoint, one's own function or the random policy.

They become a file for ``fit``, a Minari dataset, or both; and either of these can be read instead of playing.
"""

import json
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from gymnasium.spaces import Space
from rich.console import Console
from torch import Tensor

from iqlightning.checkpoints import load_policy
from iqlightning.cli.counting_bar import counting_bar
from iqlightning.cli.gridworld_options import add_gridworld_options, changed_environment, gridworld_changes
from iqlightning.cli.options import Options, above_zero, device_of, natural, positive
from iqlightning.data.arrays import read_npz
from iqlightning.data.collect import collect
from iqlightning.data.demonstrations import check_fits, load_demonstrations, save_demonstrations
from iqlightning.data.minari import are_whole_episodes, check_new_minari, from_minari, to_minari
from iqlightning.data.stable_baselines import ALGORITHMS, StableBaselinesPolicy
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.envs.gymnasium_heuristics import GymnasiumHeuristic
from iqlightning.errors import UserError
from iqlightning.evaluation.reference_policies import RandomPolicy
from iqlightning.registration import env_config_from_dict
from iqlightning.spaces import action_dtype, action_shape
from iqlightning.types import EnvConfig, Expert, Policy, Trajectories

__all__ = ["run"]

_NAMED = ("expert", "heuristic", "random")

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
        played, metadata, output = _play(given, device, options.trusted)
    else:
        played, metadata = _read(given)
        output = _free(Path(given.output), given.force) if given.output else None
    played = _good_ones(played, given.min_return)
    env, source = env_config_from_dict(metadata["env"]), metadata["source"]
    places = []
    if output is not None:
        save_demonstrations(output, played, metadata)
        places.append(str(output))
    if given.to_minari is not None:
        places.append(str(to_minari(given.to_minari, played, env, source)))
    Console().print(
        f"wrote {played.num_episodes:,} episodes ({played.num_transitions:,} transitions, mean return "
        f"{played.returns.mean():.2f}) of {env.name} by {source} to {' and '.join(places)}",
        highlight=False,
        soft_wrap=True,
    )


def _play(given: Any, device: torch.device, trusted: Sequence[str]) -> tuple[Trajectories, dict[str, Any], Path | None]:
    """What was played, what to say of it, and the file to write, if any."""
    policy, source, env = _policy(given, device, trusted)
    episodes = given.episodes or _DEFAULT_EPISODES
    what = given.policy if given.policy in _NAMED else "policy"
    output = given.output or f"data/{env.name}-{what}-e{episodes}-s{given.seed}.safetensors"
    file = None if given.to_minari is not None and given.output is None else _free(Path(output), given.force)
    with counting_bar("playing", episodes) as progress:
        if policy is None:
            played = Trajectories.concatenate(list(_expert(env).parts(episodes, given.seed, progress)))
        else:
            played = collect(
                policy, env, episodes, given.seed, sample=given.sample, device=str(device), progress=progress
            )
    recipe = {"episodes": episodes, "sample": given.sample, "min_return": given.min_return, "split": "train"}
    recipe |= {} if given.temperature is None else {"temperature": given.temperature}
    return played.to("cpu"), {"env": env.to_dict(), "seed": given.seed, "source": source, "recipe": recipe}, file


def _read(given: Any) -> tuple[Trajectories, dict[str, Any]]:
    """Episodes that are there already, and what is known of them."""
    named = _environment(given)
    if given.from_minari is not None:
        what = given.from_minari
        played, env, dataset = from_minari(what, named)
        metadata: dict[str, Any] = {"env": env.to_dict(), "source": f"Minari's {dataset}"}
        if not are_whole_episodes(played):
            metadata["whole_episodes"] = False
            Console(stderr=True).print(
                "some episodes go on where the one before ended: their first observations are not taken as initial "
                "states, and the value term InitialStates cannot be had from them",
                soft_wrap=True,
            )
    else:
        what = given.from_file
        if str(what).endswith(".npz"):
            if named is None:
                raise UserError(f"'{what}' holds arrays alone: name the environment they are of with --gym ID")
            played, metadata = read_npz(what, named.spaces), {}
        else:
            played, metadata = load_demonstrations(what)
        metadata = {"source": str(what)} | metadata
        if named is not None:
            check_fits(what, played, named)
            metadata["env"] = named.to_dict()
        if "env" not in metadata:
            raise UserError(f"'{what}' does not say which environment it is of: name it with --gym ID")
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
    if output.exists() and not force:
        raise UserError(f"'{output}' exists already; name another file with --output or replace it with --force")
    return output


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
    elif policy in _NAMED:
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
        metavar="expert|heuristic|random|CKPT|MODEL.zip|MODULE:NAME",
        help="the environment's own expert (GridWorld has one), Gymnasium's own controller (LunarLander-v3), the "
        "random policy, a checkpoint, with --trust stable_baselines3 a model of Stable-Baselines3 (extra sb3, with "
        "--gym), or with --trust PACKAGE a function of your own from observations (N, ...) to actions (N, ...); "
        "None: expert",
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
        metavar="FILE",
        default=None,
        help="read a demonstrations file, or arrays in an .npz file (with --gym), instead of playing",
    )
    options.add_argument(
        "--to_minari",
        metavar="ID",
        default=None,
        help="write a Minari dataset, such as CartPole-v1/mine-v0 (extra minari)",
    )
    options.add_argument("--gym", metavar="ID", default=None, help="a Gymnasium environment instead of GridWorld")
    options.add_argument("--gym_kwargs", metavar="JSON", default=None, help="its arguments, such as '{\"size\": 5}'")
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


def _policy(given: Any, device: torch.device, trusted: Sequence[str]) -> tuple[Policy | None, str, EnvConfig]:
    """Who plays (None: the expert, which is not played but planned), what to call it, and where."""
    named = _environment(given)
    if given.policy == "expert":
        env = changed_environment(named, given)
        return None, _expert(env).label, env
    if given.policy == "heuristic":
        env = changed_environment(named, given)
        return GymnasiumHeuristic(env), "Gymnasium's heuristic", env
    if given.policy == "random":
        env = changed_environment(named, given)
        return RandomPolicy(env.spaces.action, given.seed), "random policy", env
    module, colon, name = given.policy.partition(":")
    if colon and not Path(given.policy).exists():
        env = changed_environment(named, given)
        own = _own_policy(module, name, trusted, env)
        if given.temperature is not None:
            raise UserError(
                f"--temperature is for a checkpoint's actions, and --policy is '{given.policy}': leave it out"
            )
        if given.sample and isinstance(own, _Function):
            raise UserError(f"--sample says nothing to a function, and '{given.policy}' is one: leave it out")
        return own, given.policy, env
    if given.policy.endswith(".zip"):
        model = _stable_baselines(given, named, device, trusted)
        return model, f"{model.label} ({given.policy})", changed_environment(named, given)
    if not Path(given.policy).exists() and not given.policy.endswith(".ckpt"):
        valid = ", ".join(_NAMED)
        raise UserError(f"there is no policy '{given.policy}'; valid: {valid}, a checkpoint, MODEL.zip, MODULE:NAME")
    policy = load_policy(given.policy, device=device)
    if given.temperature is not None:
        policy.value.temperature = given.temperature
    env = named or policy.env
    if env is None:
        raise UserError(f"'{given.policy}' does not say which environment it is for: name one with --gym")
    return policy, f"{policy.info.get('algorithm', 'checkpoint')} ({given.policy})", changed_environment(env, given)


def _expert(env: EnvConfig) -> Expert:
    if env.expert is None:
        raise UserError(f"'{env.name}' has no expert of its own: choose --policy random, a checkpoint or MODULE:NAME")
    return env.expert


def _environment(given: Any) -> EnvConfig | None:
    if given.gym is None:
        if given.gym_kwargs is not None:
            raise UserError("--gym_kwargs are the arguments of --gym ID, which is missing")
        return None
    try:
        kwargs = json.loads(given.gym_kwargs or "{}")
    except json.JSONDecodeError as error:
        raise UserError(f"--gym_kwargs is not JSON: {error}") from error
    if not isinstance(kwargs, dict):
        raise UserError(f"--gym_kwargs must be names and values in braces, not {given.gym_kwargs}")
    return GymnasiumConfig(id=given.gym, kwargs=kwargs)


def _stable_baselines(
    given: Any, env: EnvConfig | None, device: torch.device, trusted: Sequence[str]
) -> StableBaselinesPolicy:
    if not Path(given.policy).is_file():
        raise UserError(f"there is no file '{given.policy}'")
    if "stable_baselines3" not in trusted:
        raise UserError(
            f"'{given.policy}' would be read as a model of Stable-Baselines3, whose files hold pickled parts that can "
            "run anything: if you trust where it comes from, say so with --trust stable_baselines3"
        )
    if env is None:
        raise UserError(f"'{given.policy}' does not say which environment it is for: name it with --gym ID")
    return StableBaselinesPolicy(given.policy, env, given.sb3, device)


def _own_policy(module: str, name: str, trusted: Sequence[str], env: EnvConfig) -> Policy:
    if not any(module == package or module.startswith(f"{package}.") for package in trusted):
        raise UserError(
            f"'{module}:{name}' is code to run: if you trust it, say so with --trust {module.partition('.')[0]}"
        )
    try:
        own = getattr(import_module(module), name, None)
    except ModuleNotFoundError as error:
        raise UserError(f"cannot import '{module}': {error}") from error
    if callable(own) or hasattr(own, "act"):
        return own if hasattr(own, "act") else _Function(own, env.spaces.action)  # type: ignore[return-value]
    raise UserError(f"'{module}' has no function '{name}'")


class _Function:
    """A plain function as a policy."""

    def __init__(self, function: Callable[[Tensor], Any], space: Space) -> None:
        self._function, self._space = function, space

    def act(self, observations: Tensor, *, sample: bool = False) -> Tensor:
        """The function's actions, as int64 or float32."""
        actions = torch.as_tensor(self._function(observations), device=observations.device)
        shape = action_shape(self._space)
        if actions.shape != (len(observations), *shape):
            one = f"numbers of shape {shape}" if shape else "one whole number"
            raise UserError(
                f"the policy returned actions of shape {tuple(actions.shape)} for {len(observations)} observations; it "
                f"must return {one} for each"
            )
        return actions.to(action_dtype(self._space))


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
