"""Members of a family, wherever in its packages they are."""

import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import Any

__all__ = ["members"]


def members(base: type, *packages: ModuleType) -> list[Any]:
    """The classes that can be built, by name."""
    modules = [
        importlib.import_module(f"{package.__name__}.{m.name}")
        for package in packages
        for m in pkgutil.iter_modules(package.__path__)
    ]
    classes = {c for m in modules for _, c in inspect.getmembers(m, inspect.isclass) if issubclass(c, base)}
    return sorted((c for c in classes if not inspect.isabstract(c)), key=lambda c: c.__name__)
