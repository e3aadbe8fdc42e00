"""What ``evaluate`` can say of GridWorld beyond how well it is played: failures, the exact truth, transfer."""

import argparse
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from rich.table import Table

from iqlightning.cli.gridworld_failures import failure_figures, failure_table, require_explainable
from iqlightning.cli.gridworld_options import add_gridworld_options
from iqlightning.cli.gridworld_truth import (
    require_solvable,
    transfer_figures,
    transfer_table,
    truth_figures,
    truth_table,
)
from iqlightning.cli.options import below_one, positive
from iqlightning.errors import UserError
from iqlightning.types import EnvConfig

__all__ = ["Analysis", "add_gridworld_analyses", "gridworld_analyses", "require_gridworld_analyses"]

_DEFAULT_SLIP = 0.2


class Analysis(NamedTuple):
    """What else was found out about a policy.

    Attributes:
        name: of its figures in the file of results.
        figures: primitives only.
        table: of them.
    """

    name: str
    figures: dict[str, Any]
    table: Table


def add_gridworld_analyses(options: argparse.ArgumentParser) -> None:
    """Adds ``--truth``, ``--transfer``, ``--slip``, ``--failures``, and the options of the grids."""
    exact: dict[str, Any] = {"metavar": "GRIDS", "type": positive, "nargs": "?", "const": 64, "default": None}
    options.add_argument("--truth", help="compare Q, policy and reward with the exact solution of 64 grids", **exact)
    options.add_argument("--transfer", help="plan anew with the recovered reward alone, also on changed grids", **exact)
    options.add_argument(
        "--slip",
        type=below_one,
        default=None,
        help=f"probability that a move of --transfer slips; None: {_DEFAULT_SLIP}",
    )
    options.add_argument("--failures", metavar="PNG", default=None, help="draw which grids fail and why; count them")
    add_gridworld_options(options, instead_of="as in training")


def require_gridworld_analyses(given: argparse.Namespace, env: EnvConfig) -> None:
    """Before anything is played.

    Raises:
        UserError: if what is asked for cannot be had of this environment.
    """
    for option, grids in (("--truth", given.truth), ("--transfer", given.transfer)):
        if grids is not None:
            require_solvable(env, option)
    if given.failures is not None:
        require_explainable(env, given.failures, sampled=given.sample)
    if given.slip is not None and given.transfer is None:
        raise UserError("--slip is how often a move of --transfer slips: give --transfer as well")


def gridworld_analyses(
    given: argparse.Namespace, policy: Any, env: EnvConfig, device: torch.device
) -> Iterator[Analysis]:
    """Those that are asked for, one after the other."""
    if given.failures is not None:
        grid = require_explainable(env, given.failures, sampled=given.sample)
        figures = failure_figures(policy, grid, given.episodes, given.seed, given.failures, device)
        yield Analysis("failures", figures, failure_table(figures, given.episodes))
    if given.truth is not None:
        truth = truth_figures(policy, env, given.truth, given.seed, device)
        yield Analysis("truth", truth, truth_table(truth))
    if given.transfer is not None:
        slip = _DEFAULT_SLIP if given.slip is None else given.slip
        transfer = transfer_figures(policy, env, given.transfer, given.seed, slip, device)
        yield Analysis("transfer", transfer, transfer_table(transfer))
