"""Making environments through Gymnasium, and sentences for whatever fails inside them."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium

from iqlightning.envs.wrappers import import_library
from iqlightning.errors import UserError, blamed_on, error_text, nearest_few
from iqlightning.registration import may_be_own, may_import

__all__ = ["errors_of", "made_by_gymnasium"]

# What a constructor raises because of an argument: its author's own words are enough.
_ARGUMENTS = (gymnasium.error.Error, ImportError, TypeError, ValueError, AssertionError)

# Where Gymnasium copies observations into its arrays.
_COPYING = ("gymnasium.vector.utils.space_utils", "gymnasium.vector.utils.shared_memory")


def made_by_gymnasium(env_id: str, make: Callable[[], Any]) -> Any:
    """What ``make`` returns, an environment of this id or a batch of them.

    Raises:
        UserError: if the id names a module that may not be imported, is not registered, or the environment cannot be
            made.
    """
    module = env_id.rpartition(":")[0]
    if module and not may_import(module):
        # Gymnasium would import the module before the colon, and the id may come from a file
        package = module.partition(".")[0]
        advice = f"if you trust it, say --trust {package}, or import it first"
        refusal = advice if may_be_own(package) else "it is no package of your own, and is not imported"
        raise UserError(f"the environment id '{env_id}' names a module to import: {refusal}")
    import_library(env_id)
    try:
        return make()
    except (UserError, MemoryError):
        raise
    except gymnasium.error.UnregisteredEnv as error:
        raise _not_registered(env_id, _asked_for(error) or env_id) from error
    except Exception as error:  # an environment may fail in any way, most often because of an argument
        raise UserError(
            f"the Gymnasium environment '{env_id}' cannot be made: {error_text(error, _ARGUMENTS)}"
        ) from error


@contextmanager
def errors_of(env_id: str, method: str) -> Iterator[None]:
    """Tells a user that it is the environment that failed, and how.

    Raises:
        UserError: if anything is raised.
    """
    with blamed_on(f"the environment '{env_id}' itself failed in its {method}"):
        try:
            yield
        except (ValueError, TypeError) as error:
            modules = {frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(error.__traceback__)}
            if modules.isdisjoint(_COPYING):
                raise
            words = error_text(error, (ValueError, TypeError))
            raise UserError(
                f"the environment '{env_id}' gives other observations than its space says: {words:.200}"
            ) from error


def _not_registered(env_id: str, asked_for: str) -> UserError:
    """The sentence for an id that nobody has registered: this one, or one that its environment asks for."""
    module, colon, name = asked_for.rpartition(":")
    near = nearest_few(name, gymnasium.registry)
    hint = f"; near ids: {', '.join(near)}" if near else ""
    whose = "" if asked_for == env_id else f", which '{env_id}' asks for,"
    if colon:
        return UserError(f"the module '{module}' is imported, but registers no environment '{name}'{whose}{hint}")
    return UserError(
        f"no environment '{asked_for}'{whose} is registered: its package may not be imported (say --trust PACKAGE, or "
        f"import it first){hint}"
    )


def _asked_for(error: BaseException) -> str | None:
    """The id that the innermost call of ``gymnasium.make`` was asked for: an environment may make another."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    makes = [frame.f_locals.get("id") for frame in frames if frame.f_code is gymnasium.make.__code__]
    ids = [each for each in makes if isinstance(each, str)]
    return ids[-1] if ids else None
