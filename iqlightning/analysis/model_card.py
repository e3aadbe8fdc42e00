"""The model card of an exported policy: what it is, what it learned from, how well it does, how to load it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from iqlightning.analysis.portable import Agreement, Portable
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.policies import QPolicy

__all__ = ["model_card"]

_FIGURES = {
    "success_rate": "success rate",
    "distance_ratio": "distance ratio",
    "manhattan_ratio": "Manhattan ratio",
    "spl": "SPL",
    "mean_return": "mean return",
    "std_return": "standard deviation of the return",
    "mean_length": "mean length",
    "expert_agreement": "agreement with held-out actions",
    "log_likelihood": "log-likelihood of held-out actions",
}


def model_card(
    policy: QPolicy,
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
    weights = sum(parameter.numel() for parameter in policy.network.parameters())
    encoder = type(policy.network.encoder).__name__
    updates = f"{info['updates']:,} gradient updates" if "updates" in info else "an unknown number of updates"
    lines = [
        f"# {info.get('algorithm', 'Policy')} for {env.name}",
        "",
        f"A Q-function of {weights:,} weights (encoder {encoder}) trained with iqlightning for {updates}, seed "
        f"{info.get('seed')}. Its policy is the action of largest Q, or a draw from softmax(Q / "
        f"{policy.value.temperature:g}). With it comes a reward, Q(s, a) - {policy.gamma:g} V(s').",
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
    lines += ["", "## How well it does", "", *_figures(info.get("metrics", {}), summary)]
    lines += ["", "## What it learned from", "", *_data(env.to_dict(), settings)]
    lines += ["", "## How to load it", "", *_loading(agreements)]
    return "\n".join(lines) + "\n"


def _input(policy: QPolicy, portable: Portable) -> list[str]:
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
    if isinstance(policy.env, GridWorldConfig):
        text.append("Planes of zeros and ones: walls, player, goal. Actions: 0 up, 1 right, 2 down, 3 left.")
    if policy.network.observation_high != 1.0:
        text.append(f"Values run to {policy.network.observation_high:g}; the program scales them itself.")
    value = policy.value.to_dict()["kind"]
    text += [
        "",
        f"`q_values`: float32 (batch, {policy.network.num_actions}). `values`: float32 (batch), {value}. "
        "`actions`: int64 (batch), the greedy ones.",
    ]
    if portable.sides is not None and getattr(policy.network.encoder, "iterations", 0) is None:
        text += ["", "The network iterates the longer, the larger the grid is; the programs hold this as a loop."]
    return text


def _figures(metrics: Mapping[str, float], summary: Mapping[str, Any] | None) -> list[str]:
    lines = []
    if summary is not None:
        names = [name for name in _FIGURES if any(name in row for row in summary["rows"])]
        lines += [
            f"{summary['episodes']:,} unseen episodes (seed {summary['seed']}), with 95% Wilson intervals:",
            "",
            "| policy | " + " | ".join(_FIGURES[name] for name in names) + " |",
            "|---|" + "---:|" * len(names),
        ]
        lines += [
            f"| {row['policy']} | " + " | ".join(_cell(row, name) for name in names) + " |" for row in summary["rows"]
        ]
    known = {name: metrics[f"val/{name}"] for name in _FIGURES if f"val/{name}" in metrics}
    if known:
        lines += ["", "At the last validation before the checkpoint:", "", "| figure | value |", "|---|---:|"]
        lines += [f"| {_FIGURES[name]} | {value:.4g} |" for name, value in known.items()]
    return lines or ["The checkpoint holds no figures; `iqlightning evaluate` measures them."]


def _cell(row: Mapping[str, Any], name: str) -> str:
    if name not in row:
        return ""
    if name != "success_rate":
        return f"{row[name]:.3f}"
    low, high = row.get("success_rate_ci95", (None, None))
    return f"{row[name]:.1%}" + (f" ({low:.1%} to {high:.1%})" if low is not None else "")


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
