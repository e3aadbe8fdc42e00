"""``export CKPT``: the policy as files that need none of this package, each checked against the policy."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from iqlightning.analysis.model_card import model_card
from iqlightning.analysis.portable import compare, reloaded, require_onnx, trace, weights_file
from iqlightning.checkpoint_files import read_checkpoint, write_atomically
from iqlightning.checkpoints import load_policy
from iqlightning.cli.options import Options, positive
from iqlightning.cli.resuming import SETTINGS_KEY
from iqlightning.errors import UserError

__all__ = ["run"]


def run(arguments: Sequence[str], command: str) -> None:
    """Parses the options, traces, compares, writes."""
    given = _options(command).parse_args(arguments)
    formats = ("torch", "onnx") if given.format == "all" else (given.format,)
    torch.set_num_threads(1)
    policy = load_policy(given.checkpoint)
    if "onnx" in formats:
        require_onnx()
    folder = Path(given.output) if given.output else _default_folder(Path(given.checkpoint))
    console = Console()
    portable = trace(policy)
    files: dict[str, bytes] = {}
    agreements = {}
    for name in formats:
        file = {"torch": "policy.pt2", "onnx": "policy.onnx"}[name]
        if name == "torch":
            files[file] = portable.torch_bytes()
            agreement = compare(policy, reloaded(portable, files[file]), given.observations)
        else:
            files[file] = portable.onnx_bytes()
            agreement = compare(policy, portable, given.observations, onnx=files[file])
        if not agreement.holds:
            raise UserError(
                f"the {name} program does not repeat the policy: on {agreement.observations:,} observations its "
                f"Q-values are off by up to {agreement.difference:.2g} and {agreement.same_actions:.1%} of its actions "
                "are the same; nothing was written"
            )
        agreements[file] = agreement
        console.print(
            f"{file}: the same as the policy on {agreement.observations:,} observations "
            f"(largest difference of Q {agreement.difference:.1e})",
            highlight=False,
            soft_wrap=True,
        )
    files["weights.safetensors"] = weights_file(policy)
    settings = read_checkpoint(given.checkpoint).get(SETTINGS_KEY)
    card = model_card(
        policy,
        portable,
        agreements,
        checkpoint=str(given.checkpoint),
        settings=settings,
        summary=_summary(Path(given.checkpoint)),
    )
    files["README.md"] = card.encode()
    for name, content in files.items():
        write_atomically(folder / name, content, what="exported file")
    varying = ", ".join(portable.dynamic)
    if portable.sides is not None:
        varying += f" (height and width from {portable.sides[0]} to {portable.sides[1]})"
    console.print(f"dimensions that may vary: {varying}", highlight=False)
    console.print(f"wrote {', '.join(files)} to {folder}", highlight=False, soft_wrap=True)


def _options(command: str) -> Options:
    options = Options(
        command,
        "Writes the policy of a checkpoint as a torch.export program and an ONNX file, each compared with the policy, "
        "its weights as safetensors, and a model card.",
        trusting=True,
    )
    options.add_argument("checkpoint", metavar="CKPT", help="a checkpoint file")
    options.add_argument("--output", metavar="FOLDER", help="where to write; by default the run's folder export")
    options.add_argument("--format", choices=("all", "torch", "onnx"), default="all", help="which programs to write")
    options.add_argument("--observations", type=positive, default=1000, help="how many to compare each program on")
    return options


def _default_folder(checkpoint: Path) -> Path:
    """``logs/NAME/version_N/export``; beside a checkpoint that lies elsewhere, a folder of its name."""
    if checkpoint.parent.name == "checkpoints":
        return checkpoint.parent.parent / "export"
    return checkpoint.with_name(f"{checkpoint.stem}_export")


def _summary(checkpoint: Path) -> dict[str, Any] | None:
    """The run's final table, if it is about this checkpoint."""
    try:
        summary = json.loads((checkpoint.parent.parent / "summary.json").read_text())
        about = Path(summary["checkpoint"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return summary if about.name == checkpoint.name else None
