"""``evaluate CKPT``: plays unseen episodes with a checkpoint, from the file alone."""

import json
import math
from collections.abc import Sequence
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from iqlightning.checkpoint_files import write_atomically
from iqlightning.checkpoints import load_policy
from iqlightning.cli.counting_bar import counting_bar
from iqlightning.cli.failure_report import failure_figures, failure_table, require_explainable
from iqlightning.cli.ground_truth import (
    recorded_demonstrations,
    recorded_figures,
    recorded_table,
    require_solvable,
    transfer_figures,
    transfer_table,
    truth_figures,
    truth_table,
)
from iqlightning.cli.options import (
    Options,
    add_gridworld_options,
    below_one,
    changed_environment,
    device_of,
    fraction,
    natural,
    positive,
)
from iqlightning.errors import UserError
from iqlightning.evaluation.environment import evaluate_environment
from iqlightning.evaluation.metrics import wilson_interval
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.play import evaluate_gridworld
from iqlightning.gridworld.game.layouts import splits_are_disjoint
from iqlightning.types import EnvConfig

__all__ = ["evaluate", "run"]

_DEFAULT_SLIP = 0.2

_LABELS = {
    "success_rate": "success rate",
    "distance_ratio": "distance ratio (moves / shortest path)",
    "solved_distance_ratio": "distance ratio of the solved ones",
    "manhattan_ratio": "Manhattan ratio",
    "spl": "SPL",
    "mean_return": "mean return",
    "std_return": "standard deviation of the return",
    "mean_length": "mean length",
}


def run(arguments: Sequence[str], command: str) -> None:
    """Parses the options, plays, prints a table, writes the file."""
    given = _options(command).parse_args(arguments)
    device = device_of(given.device)
    policy = load_policy(given.checkpoint, device=device)
    if policy.env is None:
        raise UserError(f"'{given.checkpoint}' does not say which environment it is for")
    env = changed_environment(policy.env, given)
    _require_fitting(policy, env, device)
    for option, asked in (("--truth", given.truth), ("--transfer", given.transfer)):
        if asked is not None:
            require_solvable(env, option)
    if given.failures is not None:
        require_explainable(env, given.failures, sampled=given.sample)
    if given.temperature is not None and not given.sample:
        raise UserError("--temperature is that of drawn actions: give --sample as well")
    if given.slip is not None and given.transfer is None:
        raise UserError("--slip is how often a move of --transfer slips: give --transfer as well")
    recorded = None if given.demonstrations is None else recorded_demonstrations(env, given.demonstrations)
    with counting_bar("playing", given.episodes) as progress:
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
    console = Console()
    console.print(_table(figures, env))
    if given.failures is not None:
        found = failure_figures(policy, env, given.episodes, given.seed, given.failures, device)
        figures["failures"] = found
        console.print(failure_table(found, given.episodes))
    if given.truth is not None:
        figures["truth"] = truth_figures(policy, env, given.truth, given.seed, device)
        console.print(truth_table(figures["truth"]))
    if given.transfer is not None:
        slip = _DEFAULT_SLIP if given.slip is None else given.slip
        figures["transfer"] = transfer_figures(policy, env, given.transfer, given.seed, slip, device)
        console.print(transfer_table(figures["transfer"]))
    if recorded is not None:
        figures["recorded_rewards"] = recorded_figures(policy, recorded, str(given.demonstrations), device)
        console.print(recorded_table(figures["recorded_rewards"]))
    if given.json is not None:
        text = json.dumps(_without_nan(figures), indent=2, allow_nan=False)
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
    """The figures of unseen episodes, primitives only: what ``--json`` writes.

    Args:
        policy: a :class:`~iqlightning.types.Policy`.
        env: the environment; GridWorld is played on grids of the test split.
        episodes: how many.
        seed: of the episodes and of drawn actions.
        sample: draw actions instead of acting greedily.
        temperature: of drawn actions; None means the one of training.
        device: where to play.
        progress: called with the number of newly finished episodes.
    """
    options: dict[str, Any] = {"sample": sample, "temperature": temperature, "device": device, "progress": progress}
    figures: dict[str, Any] = {"episodes": episodes, "seed": seed, "policy": "sampled" if sample else "greedy"}
    if sample:
        figures["temperature"] = policy.value.temperature if temperature is None else temperature
    if isinstance(env, GridWorldConfig):
        results = evaluate_gridworld(policy, env, episodes, seed, split="test", **options)
        figures |= results.metrics()
        figures["success_rate_ci95"] = list(wilson_interval(int(results.success.sum()), episodes))
        figures |= {
            "level": env.level,
            "height": env.height,
            "width": env.width,
            "num_walls": env.wall_count,
            "random_start": env.random_start,
            "max_moves": env.move_limit,
            "unseen": splits_are_disjoint(env),
        }
    else:
        figures |= evaluate_environment(policy, env, episodes, seed, **options).metrics()
        # normal approximation over episodes
        half = 1.96 * figures["std_return"] / math.sqrt(episodes)
        figures["mean_return_ci95"] = [figures["mean_return"] - half, figures["mean_return"] + half]
    return figures | {"env": env.to_dict(), "episodes": episodes}


def _without_nan(figures: Any) -> Any:
    """The same with None for what could not be had: JSON knows no other numbers than finite ones."""
    if isinstance(figures, dict):
        return {name: _without_nan(figure) for name, figure in figures.items()}
    if isinstance(figures, list | tuple):
        return [_without_nan(figure) for figure in figures]
    return None if isinstance(figures, float) and not math.isfinite(figures) else figures


def _options(command: str) -> Options:
    options = Options(command, "Play unseen episodes with a checkpoint; everything is rebuilt from that file alone.")
    options.add_argument("checkpoint", metavar="CKPT", help="a checkpoint that fit wrote")
    options.add_argument("--episodes", type=positive, default=1000, help="episodes to play")
    options.add_argument("--seed", type=natural, default=0, help="seed of the episodes")
    options.add_argument("--sample", action="store_true", help="draw actions from softmax(Q / temperature)")
    options.add_argument("--temperature", type=fraction, default=None, help="of drawn actions; None: that of training")
    options.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    exact: dict[str, Any] = {"metavar": "GRIDS", "type": positive, "nargs": "?", "const": 64, "default": None}
    options.add_argument("--truth", help="compare Q, policy and reward with the exact solution of 64 grids", **exact)
    options.add_argument("--transfer", help="plan anew with the recovered reward alone, also on changed grids", **exact)
    options.add_argument(
        "--demonstrations", metavar="FILE", default=None, help="compare with the rewards recorded in demonstrations"
    )
    options.add_argument(
        "--slip",
        type=below_one,
        default=None,
        help=f"probability that a move of --transfer slips; None: {_DEFAULT_SLIP}",
    )
    options.add_argument("--failures", metavar="PNG", default=None, help="draw which grids fail and why; count them")
    options.add_argument("--json", metavar="FILE", default=None, help="write the figures here; null: there is none")
    add_gridworld_options(options, instead_of="as in training")
    return options


def _require_fitting(policy: Any, env: EnvConfig, device: torch.device) -> None:
    """Tries the network on one observation: some encoders play any size, some only the one they were trained on."""
    trained: EnvConfig = policy.env
    if env.spaces.action != trained.spaces.action or len(env.observation_shape) != len(trained.observation_shape):
        raise UserError(f"the checkpoint is for '{trained.name}' and cannot play '{env.name}'")
    try:
        policy.q_values(torch.zeros((1, *env.observation_shape), device=device))
    except RuntimeError as error:
        encoder = type(policy.network.encoder).__name__
        raise UserError(
            f"the checkpoint's encoder {encoder} plays observations of shape {tuple(trained.observation_shape)} only, "
            f"not {tuple(env.observation_shape)}: leave out --height and --width, or train with an encoder of any size"
        ) from error


def _table(figures: dict[str, Any], env: EnvConfig) -> Table:
    episodes = figures["episodes"]
    what = f"{episodes:,} episodes of {env.name}"
    if isinstance(env, GridWorldConfig):
        unseen = "unseen grids" if figures["unseen"] else "grids (this level has too few to keep some unseen)"
        what = f"{episodes:,} {unseen}: {env.level}, {env.height}x{env.width}, {env.wall_count} walls"
    how = figures["policy"] if "temperature" not in figures else f"drawn at temperature {figures['temperature']:g}"
    table = Table(title=f"{what}; {how}, seed {figures['seed']}", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("95% interval", justify="right")
    for name, label in _LABELS.items():
        if name not in figures:
            continue
        value, interval = figures[name], figures.get(f"{name}_ci95")
        form = "{:.2%}" if name == "success_rate" else "{:.3f}"
        table.add_row(label, form.format(value), " to ".join(form.format(end) for end in interval) if interval else "")
    return table
