"""What the server of trial processes imports before it starts the first: all that a run may come to need."""

from importlib import import_module
from pkgutil import walk_packages

from iqlightning import evaluation
from iqlightning.cli.trust import import_families

__all__: list[str] = []

import_families(())
# nothing in it can be named in a configuration, so that it is no family
for _module in walk_packages(evaluation.__path__, f"{evaluation.__name__}."):
    import_module(_module.name)
for _command in ("evaluate", "fit", "training", "trial_process"):
    import_module(f"iqlightning.cli.{_command}")
