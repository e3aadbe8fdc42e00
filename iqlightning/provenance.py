"""Where a figure comes from: the program's versions, the code's state, the machine."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

__all__ = ["MADE_KEY", "in_brief", "machine", "provenance"]

#: under which a checkpoint keeps :func:`provenance`
MADE_KEY = "iqlightning_made"

_PACKAGES = ("iqlightning", "torch", "lightning", "gymnasium", "numpy")


def machine() -> dict[str, Any]:
    """Processor, cores, and threads and graphics cards as torch sees them.

    A figure of one processor need not be reproduced by another: sums are taken in another order.
    """
    name, facts = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if facts.is_file():
        names = {line.partition(":")[2].strip() for line in facts.read_text().splitlines() if "model name" in line}
        name = ", ".join(sorted(names)) or name
    cards = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {"processor": name, "cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpus": cards}


def provenance() -> dict[str, Any]:
    """Versions, the state of the code, and the machine; nothing that changes from one run to the next.

    ``code`` is the commit of the checkout that the package lies in, and ``project`` that of the working directory,
    where it is another one; ``dirty`` says that files under version control have been changed since.
    """
    found: dict[str, Any] = {"versions": _versions(), "machine": machine()}
    code = _checkout(Path(__file__).parent)
    project = _checkout(Path.cwd())
    if code is not None:
        found["code"] = code
    if project is not None and project != code:
        found["project"] = project
    return found


def in_brief(made: Mapping[str, Any]) -> str:
    """One line of a record as :func:`provenance` makes it; what it lacks is left out."""
    versions, where = _mapping(made.get("versions")), _mapping(made.get("machine"))
    parts = [f"{name} {versions[name]}" for name in ("iqlightning", "torch") if name in versions]
    code = _mapping(made.get("code"))
    if "commit" in code:
        parts[:1] = [f"{' '.join(parts[:1])} ({str(code['commit'])[:8]}{', changed' if code.get('dirty') else ''})"]
    if "processor" in where:
        threads = where.get("threads")
        parts.append(f"{where['processor']}, {threads} thread{'' if threads == 1 else 's'}")
        gpus = where.get("gpus")
        parts += map(str, gpus if isinstance(gpus, list | tuple) else [])
    return "; ".join(parts)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        module = sys.modules.get(name)
        try:
            found[name] = str(getattr(module, "__version__", None) or version(name))
        except PackageNotFoundError:
            continue
    return found


def _checkout(folder: Path) -> dict[str, Any] | None:
    """Commit of the checkout that a folder lies in; None without one, or without git."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        # a folder that a checkout ignores, such as an installed package in its environment, is no part of it
        if not commit or not _git(folder, "ls-files", "."):
            return None
        return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
