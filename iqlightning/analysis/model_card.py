"""The model card of an exported policy: what it is, what it learned from, how well it does, how to load it."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from gymnasium.spaces import Box

from iqlightning.agents.soft_q import SoftQ
from iqlightning.policies import AgentPolicy
from iqlightning.portable import Agreement, Portable, is_network_alone
from iqlightning.provenance import in_brief
from iqlightning.types import Figure

__all__ = ["model_card"]

_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}

_HELD_OUT = (
    Figure("expert_agreement", "agreement with held-out actions"),
    Figure("log_likelihood", "log-likelihood of held-out actions"),
)


def model_card(
    policy: AgentPolicy,
    portable: Portable,
    agreements: Mapping[str, Agreement],
    *,
    checkpoint: str,
    settings: Mapping[str, Any] | None = None,
    summary: Mapping[str, Any] | None = None,
) -> str:
    """Markdown; ``settings`` are the run's ``model`` and ``data``, ``summary`` is its final table, if there is one."""
    env, info = policy.env, policy.info
    assert env is not None
    agent = policy.agent
    encoder = "none" if agent.encoder is None else type(agent.encoder).__name__
    if isinstance(agent, SoftQ):
        weights = sum(parameter.numel() for parameter in agent.network.parameters())
        what = f"A Q-function of {weights:,} weights (encoder {encoder})"
        acting = f"the action of largest Q, or a draw from softmax(Q / {policy.temperature:g})"
    else:
        weights = sum(parameter.numel() for parameter in agent.parameters())
        what = f"{type(agent).__name__}, an actor and its critics, {weights:,} weights in all (encoder {encoder}),"
        acting = "the actor's action without noise, or a draw from its distribution"
    updates = f"{info['updates']:,} gradient updates" if "updates" in info else "an unknown number of updates"
    lines = [
        f"# {_text(info.get('algorithm', 'Policy'))} for {_text(env.name)}",
        "",
        f"{what} trained with iqlightning for {updates}, seed {_text(info.get('seed'))}. Its policy is {acting}. With "
        f"it comes a reward, Q(s, a) - {policy.gamma:g} V(s').",
        "",
        f"Made from {_code(checkpoint)}{_made(info)}.",
        "",
        "## Files",
        "",
        "| file | what it is | checked against the policy |",
        "|---|---|---|",
    ]
    kinds = {"policy.pt2": "program for `torch.export.load`", "policy.onnx": "program for ONNX runtimes"}
    for name, agreement in agreements.items():
        lines.append(
            f"| `{name}` | {kinds[name]} | {agreement.observations:,} observations, largest difference of Q "
            f"{agreement.difference:.1e} where \\|Q\\| reaches {agreement.scale:.3g}, "
            f"{agreement.same_actions:.1%} equal actions |"
        )
    lines += [
        f"| `weights.safetensors` | the weights; its header has the recipe of the {_recipe_of(policy)} | |",
        "",
        *_input(policy, portable),
    ]
    lines += ["", "## How well it does", "", *_figures((*env.FIGURES, *_HELD_OUT), info.get("metrics", {}), summary)]
    lines += ["", "## What it learned from", "", *_data(env.to_dict(), settings)]
    lines += ["", "## How to load it", "", *_loading(agreements, portable.outputs, policy)]
    return "\n".join(lines) + "\n"


def _made(info: Mapping[str, Any]) -> str:
    made = info.get("made")
    return f", trained with {_text(in_brief(made))}" if made else ""


def _input(policy: AgentPolicy, portable: Portable) -> list[str]:
    agent = policy.agent
    dtype = str(portable.dtype).removeprefix("torch.")
    shape = ", ".join(map(str, portable.shape))
    text = [
        "## Input and output",
        "",
        f"`observations`: {dtype}, shape ({shape}). Named dimensions vary from call to call"
        + (
            f", height and width between {portable.sides[0]} and {portable.sides[1]} each."
            if portable.sides is not None
            else "; the others are fixed: the programs were made for this size."
        ),
    ]
    if policy.env is not None and policy.env.legend:
        text.append(policy.env.legend)
    if agent.spaces.codec is not None:
        text.append(
            f"The environment gives {agent.spaces.codec.describe()}; "
            "`iqlightning.spaces.Spaces.of(SPACE, ACTIONS).codec` encodes a batch of these."
        )
    if agent.observation_scale != 1.0:
        text.append(f"Values run to {agent.observation_scale:g}; the program scales them itself.")
    if isinstance(agent, SoftQ):
        outputs = (
            f"`q_values`: float32 (batch, {agent.network.num_actions}). `values`: float32 (batch), "
            f"{agent.value.to_dict()['kind']}. `actions`: int64 (batch), the greedy ones."
        )
    else:
        space = agent.spaces.action
        assert isinstance(space, Box)
        outputs = (
            f"`actions`: float32 ({', '.join(map(str, ('batch', *space.shape)))}), those without noise, from "
            f"{space.low.tolist()} to {space.high.tolist()}. `q`: float32 (batch), Q of these actions."
        )
        text.append(
            "It takes them as the environment gives them: how training standardised them is part of the program."
        )
    text += ["", outputs]
    if portable.sides is not None and getattr(agent.encoder, "iterations", 0) is None:
        text += [
            "",
            "The network iterates the longer, the larger the observation; the programs hold this as a loop.",
        ]
    return text


def _figures(figures: Sequence[Figure], metrics: Mapping[str, float], summary: Mapping[str, Any] | None) -> list[str]:
    lines = []
    if summary is not None:
        shown = [figure for figure in figures if any(figure.name in row for row in summary["rows"])]
        lines += [
            f"{summary['episodes']:,} unseen episodes (seed {summary['seed']}), with 95% intervals:",
            "",
            "| policy | " + " | ".join(figure.label for figure in shown) + " |",
            "|---|" + "---:|" * len(shown),
        ]
        lines += [
            f"| {_text(row.get('policy', ''))} | " + " | ".join(_cell(row, figure) for figure in shown) + " |"
            for row in summary["rows"]
        ]
    known = {figure.label: metrics[f"val/{figure.name}"] for figure in figures if f"val/{figure.name}" in metrics}
    if known:
        lines += ["", "At the last validation before the checkpoint:", "", "| figure | value |", "|---|---:|"]
        lines += [f"| {label} | {value:.4g} |" for label, value in known.items()]
    return lines or ["The checkpoint holds no figures; `iqlightning evaluate` measures them."]


def _cell(row: Mapping[str, Any], figure: Figure) -> str:
    if figure.name not in row:
        return ""
    form = figure.column_form
    ends = row.get(f"{figure.name}_ci95")
    return f"{row[figure.name]:{form}}" + (f" ({ends[0]:{form}} to {ends[1]:{form}})" if ends else "")


def _data(env: Mapping[str, Any], settings: Mapping[str, Any] | None) -> list[str]:
    lines = ["Environment:", "", *_fenced("json", json.dumps(env, indent=2))]
    if settings is not None:
        lines += [
            "",
            "Settings of the run:",
            "",
            *_fenced("yaml", yaml.safe_dump(dict(settings), sort_keys=False).strip()),
        ]
    return lines


def _text(value: object) -> str:
    """What a file says, as plain words of Markdown and of the HTML that it is turned into, on one line."""
    words = " ".join(str(value).split())
    # a line below within a word begins nothing
    return re.sub(
        r"([\\`*{}\[\]()#+!|~<>&]|(?<![^\W_])_|_(?![^\W_]))",
        lambda found: _ENTITIES.get(found[1], f"\\{found[1]}"),
        words,
    )


def _code(value: object) -> str:
    """The same as code, between more backquotes than it has in a row."""
    words = " ".join(str(value).split())
    fence = "`" * (1 + max(map(len, re.findall("`+", words)), default=0))
    padding = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{fence}{padding}{words}{padding}{fence}"


def _fenced(language: str, content: str) -> list[str]:
    """Lines of code, between more backquotes than they have in a row."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", content)), default=0))
    return [f"{fence}{language}", content, fence]


def _recipe_of(policy: AgentPolicy) -> str:
    return "network" if is_network_alone(policy.agent) else "agent"


_FROM_WEIGHTS = {
    "network": (
        "from iqlightning.nets.q_network import QNetwork",
        'network = QNetwork.from_recipe(json.loads(file.metadata()["network"]))',
        "network.load_state_dict",
        "q_values = network(observations)",
    ),
    "agent": (
        "from iqlightning.agents import agent_from_recipe",
        'agent = agent_from_recipe(json.loads(file.metadata()["agent"]))',
        "agent.load_weights",
        "actions = agent.act(observations)",
    ),
}


def _loading(files: Mapping[str, Any], outputs: Sequence[str], policy: AgentPolicy) -> list[str]:
    lines, named = [], ", ".join(outputs)
    imported, built, load, used = _FROM_WEIGHTS[_recipe_of(policy)]
    if "policy.pt2" in files:
        lines += [
            "With PyTorch alone:",
            "",
            "```python",
            "import torch",
            "",
            'program = torch.export.load("policy.pt2").module()',
            f"{named} = program(observations)",
            "```",
            "",
        ]
    if "policy.onnx" in files:
        lines += [
            "With ONNX Runtime:",
            "",
            "```python",
            "import onnxruntime",
            "",
            'session = onnxruntime.InferenceSession("policy.onnx")',
            f'{named} = session.run(None, {{"observations": observations.numpy()}})',
            "```",
            "",
        ]
    return [
        *lines,
        "With iqlightning, from the weights:",
        "",
        "```python",
        "import json",
        "",
        imported,
        "from safetensors import safe_open",
        "",
        'with safe_open("weights.safetensors", "pt") as file:',
        f"    {built}",
        f"    {load}({{name: file.get_tensor(name) for name in file.keys()}})",
        used,
        "```",
    ]
