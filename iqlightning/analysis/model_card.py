"""The model card of an exported policy: what it is, what it learned from, how well it does, how to load it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from iqlightning.analysis.portable import Agreement, Portable, agent_of
from iqlightning.policies import AgentPolicy
from iqlightning.types import Figure

__all__ = ["model_card"]

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
    """Markdown.

    Args:
        policy: what was exported.
        portable: the traced policy.
        agreements: file name to the comparison with the policy.
        checkpoint: where it came from.
        settings: ``model`` and ``data`` of the run, if the checkpoint has them.
        summary: the run's final table, if there is one.
    """
    env, info = policy.env, policy.info
    assert env is not None
    network = agent_of(policy).network
    weights = sum(parameter.numel() for parameter in network.parameters())
    encoder = type(network.encoder).__name__
    updates = f"{info['updates']:,} gradient updates" if "updates" in info else "an unknown number of updates"
    lines = [
        f"# {info.get('algorithm', 'Policy')} for {env.name}",
        "",
        f"A Q-function of {weights:,} weights (encoder {encoder}) trained with iqlightning for {updates}, seed "
        f"{info.get('seed')}. Its policy is the action of largest Q, or a draw from softmax(Q / "
        f"{policy.temperature:g}). With it comes a reward, Q(s, a) - {policy.gamma:g} V(s').",
        "",
        f"Made from `{checkpoint}`.",
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
        "| `weights.safetensors` | the weights; its header has the recipe of the network | |",
        "",
        *_input(policy, portable),
    ]
    lines += ["", "## How well it does", "", *_figures((*env.FIGURES, *_HELD_OUT), info.get("metrics", {}), summary)]
    lines += ["", "## What it learned from", "", *_data(env.to_dict(), settings)]
    lines += ["", "## How to load it", "", *_loading(agreements)]
    return "\n".join(lines) + "\n"


def _input(policy: AgentPolicy, portable: Portable) -> list[str]:
    network = agent_of(policy).network
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
    if network.observation_high != 1.0:
        text.append(f"Values run to {network.observation_high:g}; the program scales them itself.")
    value = agent_of(policy).value.to_dict()["kind"]
    text += [
        "",
        f"`q_values`: float32 (batch, {network.num_actions}). `values`: float32 (batch), {value}. "
        "`actions`: int64 (batch), the greedy ones.",
    ]
    if portable.sides is not None and getattr(network.encoder, "iterations", 0) is None:
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
            f"| {row['policy']} | " + " | ".join(_cell(row, figure) for figure in shown) + " |"
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
    lines = ["Environment:", "", "```json", json.dumps(env, indent=2), "```"]
    if settings is not None:
        lines += [
            "",
            "Settings of the run:",
            "",
            "```yaml",
            yaml.safe_dump(dict(settings), sort_keys=False).strip(),
            "```",
        ]
    return lines


def _loading(files: Sequence[str] | Mapping[str, Any]) -> list[str]:
    lines = []
    if "policy.pt2" in files:
        lines += [
            "With PyTorch alone:",
            "",
            "```python",
            "import torch",
            "",
            'program = torch.export.load("policy.pt2").module()',
            "q_values, values, actions = program(observations)",
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
            'q_values, values, actions = session.run(None, {"observations": observations.numpy()})',
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
        "from iqlightning.nets.q_network import QNetwork",
        "from safetensors import safe_open",
        "",
        'with safe_open("weights.safetensors", "pt") as file:',
        '    network = QNetwork.from_recipe(json.loads(file.metadata()["network"]))',
        "    network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})",
        "q_values = network(observations)",
        "```",
    ]
