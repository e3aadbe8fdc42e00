"""The page as one file that needs no server: the same page, with networks, grids and a program of its own within it.

Modules of JavaScript are not loaded from files, but they may be data: an import map gives each of the page's modules
its text, and the connection to the server is one that answers itself (``static/local.js``).
"""

import base64
import json
import re
from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import Any, cast
from urllib.parse import quote

import torch

from iqlightning.errors import UserError
from iqlightning.gridworld.config import SIZES, GridWorldConfig
from iqlightning.gridworld.encoders import GridCNN, LogPlanner
from iqlightning.gridworld.evaluation.value_maps import temperature_of
from iqlightning.gridworld.game.layouts import draw_layouts
from iqlightning.gridworld.page.contenders import OPTIMUM, Contender
from iqlightning.gridworld.page.definitions import definitions
from iqlightning.gridworld.page.server import MODULES
from iqlightning.gridworld.page.session import grid_of, settings_of
from iqlightning.nets.encoders import MLP
from iqlightning.nets.heads import PlainHead
from iqlightning.policies import AgentPolicy
from iqlightning.portable import is_network_alone

__all__ = ["portable_network", "static_page"]

#: Grids that the page goes through, round and round.
GRIDS = 100

_ENCODERS = (GridCNN, LogPlanner, MLP)

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)


def static_page(contenders: Sequence[Contender], env: GridWorldConfig, seed: int, mark: str) -> str:
    """The page as HTML.

    Args:
        contenders: to be watched.
        env: its unseen grids are played and watched.
        seed: of the grids.
        mark: which program made it.

    Raises:
        UserError: if a network is not one of those that the page computes.
    """
    modules = {name: _module(name) for name in (*MODULES, "networks", "planning")}
    modules["link"] = _module("local")
    modules["definitions"] = definitions()
    modules["program"] = f"export const PROGRAM = {json.dumps(_program(contenders, env, seed), allow_nan=False)};\n"
    imports = {name: f"data:text/javascript;charset=utf-8,{quote(text)}" for name, text in modules.items()}
    icon = base64.b64encode(_static("icon.svg").encode()).decode()
    replaced = {
        "<!doctype html>": f"<!doctype html>\n<!-- generator: {escape(mark)} -->",
        '<meta charset="utf-8">': (
            f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        ),
        '"icon.svg"': f'"data:image/svg+xml;base64,{icon}"',
        '<link rel="stylesheet" href="style.css">': f"<style>\n{_static('style.css')}</style>",
        '<script type="module" src="main.js"></script>': (
            f'<script type="importmap">{json.dumps({"imports": imports})}</script>\n'
            '<script type="module">import "main";</script>'
        ),
    }
    page = _static("index.html")
    for part, replacement in replaced.items():
        assert part in page
        page = page.replace(part, replacement)
    return page


def portable_network(policy: AgentPolicy, label: str) -> dict[str, Any]:
    """The network as plain data that ``static/networks.js`` computes with.

    Raises:
        UserError: if it is another than a plain head on one of a few encoders.
    """
    agent, network = policy.agent, cast(Any, policy.agent).network
    encoder = network.encoder
    settings = {"iterations": getattr(encoder, "iterations", None)}
    recipe = encoder.recipe.get("init_args", {})
    plain = is_network_alone(agent) and not network.others and type(network.head) is PlainHead
    if type(encoder) is MLP:
        plain = plain and recipe.get("activation", "ReLU") == "ReLU" and encoder.scale is None
    if not plain or type(encoder) not in _ENCODERS:
        names = ", ".join(each.__name__ for each in _ENCODERS)
        raise UserError(
            f"'{label}' cannot be exported as a page: that computes {names} (with ReLU) and PlainHead, one copy of "
            f"each, and this network is {type(encoder).__name__} and {type(network.head).__name__}"
        )
    weights = {name: tensor.detach().cpu().numpy().astype("<f4") for name, tensor in network.state_dict().items()}
    return {
        "encoder": type(encoder).__name__,
        "settings": settings,
        "tensors": {name: base64.b64encode(array.tobytes()).decode() for name, array in weights.items()},
        "gamma": policy.gamma,
        "temperature": temperature_of(policy),
    }


def _program(contenders: Sequence[Contender], env: GridWorldConfig, seed: int) -> dict[str, Any]:
    """What the page is told of the program, and what it answers from."""
    layouts = draw_layouts(env, torch.full((GRIDS,), seed), torch.arange(GRIDS), "test")
    return {
        "default": settings_of(env),
        "limit": env.move_limit,
        "sizes": list(SIZES),
        "contenders": [_described(each) for each in contenders],
        "grids": [grid_of(layouts.select(slice(index, index + 1))) for index in range(GRIDS)],
    }


def _described(contender: Contender) -> dict[str, Any]:
    described: dict[str, Any] = contender.describe() | {"true_units": contender.true_units}
    policies = [contender.at(index) for index in range(len(described["checkpoints"]))]
    networks = [portable_network(policy, contender.label) for policy in policies if policy is not None]
    gamma, temperature = OPTIMUM
    return described | {"networks": networks, "gamma": gamma, "temperature": temperature}


def _module(name: str) -> str:
    """A module whose imports are found in the import map: what is data has no folder to look in."""
    return re.sub(r'from "\./(\w+)\.js"', r'from "\1"', _static(f"{name}.js"))


def _static(name: str) -> str:
    return (resources.files("iqlightning.gridworld.page") / "static" / name).read_text(encoding="utf-8")
