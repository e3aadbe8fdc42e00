"""``evaluate CKPT``: plays unseen episodes with a checkpoint, from the file alone."""

import json
import math
from collections.abc import Sequence
from typing import Any

import torch
from gymnasium.spaces import Discrete

from iqlightning.checkpoints import load_policy
from iqlightning.cli.counting_bar import counting_bar
from iqlightning.cli.gridworld_analyses import (
    add_gridworld_analyses,
    gridworld_analyses,
    require_gridworld_analyses,
)
from iqlightning.cli.gridworld_options import changed_environment
from iqlightning.cli.options import Options, above_zero, console_beside, device_of, natural, positive
from iqlightning.cli.recorded_rewards import recorded_demonstrations, recorded_figures, recorded_table
from iqlightning.cli.recovered_rewards import add_reward_options, recovered_rewards, require_reward_options
from iqlightning.cli.time_limit import add_time_limit, limited
from iqlightning.errors import UserError
from iqlightning.evaluation.environment import Returns, evaluate_environment
from iqlightning.evaluation.tables import intervals_of, policy_table
from iqlightning.evaluation.video import require_video, write_video
from iqlightning.files import write_atomically
from iqlightning.provenance import in_brief, provenance
from iqlightning.types import EnvConfig

__all__ = ["evaluate", "run"]


def run(arguments: Sequence[str], command: str) -> None:
    """Parses the options, plays, prints a table, writes the file."""
    options = _options(command)
    given = options.parse_args(arguments)
    device = device_of(given.device)
    policy = load_policy(given.checkpoint, device=device)
    if policy.env is None:
        raise UserError(f"'{given.checkpoint}' does not say which environment it is for")
    env = limited(changed_environment(policy.env, given), given)
    _require_fitting(policy, env, device)
    require_gridworld_analyses(given, env)
    require_reward_options(given)
    if given.video is not None:
        require_video(given.video)
    if given.temperature is not None and not given.sample:
        raise UserError("--temperature is that of drawn actions: give --sample as well")
    recorded = None if given.demonstrations is None else recorded_demonstrations(env, given.demonstrations)
    with counting_bar("playing", given.episodes, steps=type(env).play is EnvConfig.play) as progress:
        figures = evaluate(
            policy,
            env,
            given.episodes,
            given.seed,
            sample=given.sample,
            temperature=given.temperature,
            device=device,
            progress=progress,
        )
    figures |= {"checkpoint": str(given.checkpoint)} | {
        name: policy.info[name] for name in ("algorithm", "updates") if name in policy.info
    }
    figures |= {"made": policy.info.get("made"), "evaluated": provenance()}
    console = console_beside(given.json)
    console.print(policy_table(_title(figures, env), env.FIGURES, figures))
    for label, made in (("trained", figures["made"]), ("played", figures["evaluated"])):
        if made:
            console.print(f"{label + ' with:':<14} {in_brief(made)}", highlight=False, soft_wrap=True)
    if given.video is not None:
        how = {"sample": given.sample, "temperature": given.temperature}
        filmed = write_video(given.video, policy, env, given.seed, device=device, mark=options.mark, **how)
        console.print(
            f"wrote {given.video}: an episode of {filmed.moves:,} moves, return {filmed.total:.2f}",
            highlight=False,
            soft_wrap=True,
        )
    for analysis in gridworld_analyses(given, policy, env, device, options.mark):
        figures[analysis.name] = analysis.figures
        console.print(analysis.table)
    if given.rewards is not None:
        found, table = recovered_rewards(given, policy, env, device, options.mark)
        figures |= found
        console.print(table)
    if recorded is not None:
        figures["recorded_rewards"] = recorded_figures(policy, recorded, str(given.demonstrations), device)
        console.print(recorded_table(figures["recorded_rewards"]))
    if given.json is not None:
        text = json.dumps({"generator": options.mark} | _without_nan(figures), indent=2, allow_nan=False)
        write_atomically(given.json, f"{text}\n".encode(), what="result file")


def evaluate(
    policy: Any,
    env: EnvConfig,
    episodes: int,
    seed: int,
    *,
    sample: bool = False,
    temperature: float | None = None,
    device: str | torch.device = "cpu",
    progress: Any = None,
) -> dict[str, Any]:
    """The figures of episodes of the test split, primitives only: what ``--json`` writes."""
    options: dict[str, Any] = {"sample": sample, "temperature": temperature, "device": device, "progress": progress}
    figures: dict[str, Any] = {"episodes": episodes, "seed": seed, "policy": "sampled" if sample else "greedy"}
    if sample and isinstance(env.spaces.action, Discrete):  # an actor's is that of its training alone
        figures["temperature"] = policy.temperature if temperature is None else temperature
    results = evaluate_environment(policy, env, episodes, seed, split="test", **options)
    figures |= results.metrics() | intervals_of(results) | env.facts()
    if isinstance(results, Returns):
        figures["returns"] = results.returns.tolist()
    return figures | {"env": env.to_dict(), "episodes": episodes}


def _without_nan(figures: Any) -> Any:
    """The same with None for what could not be had: JSON knows no other numbers than finite ones."""
    if isinstance(figures, dict):
        return {name: _without_nan(figure) for name, figure in figures.items()}
    if isinstance(figures, list | tuple):
        return [_without_nan(figure) for figure in figures]
    return None if isinstance(figures, float) and not math.isfinite(figures) else figures


def _options(command: str) -> Options:
    description = "Play unseen episodes with a checkpoint; everything is rebuilt from that file alone."
    options = Options(command, description, trusting=True)
    options.add_argument("checkpoint", metavar="CKPT", help="a checkpoint that fit wrote")
    options.add_argument("--episodes", type=positive, default=1000, help="episodes to play")
    options.add_argument("--seed", type=natural, default=0, help="seed of the episodes")
    options.add_argument("--sample", action="store_true", help="draw from softmax(Q / temperature), or the actor")
    options.add_argument(
        "--temperature", type=above_zero, default=None, help="of drawn actions; None: that of training"
    )
    options.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    options.add_argument(
        "--demonstrations", metavar="FILE", default=None, help="compare with the rewards recorded in demonstrations"
    )
    add_time_limit(options)
    add_reward_options(options)
    options.add_output(
        "--video",
        what="video",
        metavar="FILE.mp4|FILE.gif",
        default=None,
        help="film an episode (.mp4 needs the extra video)",
    )
    help_of_json = "write the figures here (-: standard output); null: there is none"
    options.add_output("--json", what="result file", metavar="FILE", default=None, help=help_of_json)
    add_gridworld_analyses(options)
    return options


def _require_fitting(policy: Any, env: EnvConfig, device: torch.device) -> None:
    """Tries the network on one observation: some encoders play any size, some only the one they were trained on."""
    trained: EnvConfig = policy.env
    # what its agent was built for: the environment itself, or a wrapper of it, may have changed since
    spaces = policy.agent.spaces
    if env.spaces.action != spaces.action:
        why = "; a wrapper or the environment itself has changed since it was trained" if env == trained else ""
        raise UserError(
            f"the checkpoint is for '{trained.name}' with actions {spaces.action}, and '{env.name}' has "
            f"{env.spaces.action}{why}"
        )
    if len(env.observation_shape) != len(spaces.observation_shape):
        raise UserError(f"the checkpoint is for '{trained.name}' and cannot play '{env.name}'")
    try:
        # the agent's own: nothing is allowed by a mask of zeros, which the policy would refuse
        policy.agent.act(torch.zeros((1, *env.observation_shape), device=device))
    except RuntimeError as error:
        encoder = type(policy.agent.encoder).__name__
        raise UserError(
            f"the checkpoint's encoder {encoder} plays observations of shape {tuple(trained.observation_shape)} only, "
            f"not {tuple(env.observation_shape)}: leave out --height and --width, or train with an encoder of any size"
        ) from error


def _title(figures: dict[str, Any], env: EnvConfig) -> str:
    how = figures["policy"] if "temperature" not in figures else f"drawn at temperature {figures['temperature']:g}"
    return f"{env.describe(figures['episodes'])}; {how}, seed {figures['seed']}"
