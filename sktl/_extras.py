"""Optional dependencies: import them, or name the extra to install."""

import importlib
import importlib.util
from types import ModuleType

from sktl.exceptions import MissingExtraError


def has_module(module: str) -> bool:
    """Return whether ``module`` is installed, without importing it."""
    return importlib.util.find_spec(module.partition(".")[0]) is not None


def import_extra(module: str, extra: str, what: str) -> ModuleType:
    """Import ``module``, or raise an error that names the extra it belongs to."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{what} needs the package {module.partition('.')[0]!r}, which could not "
            f"be imported ({error}). Install it with: pip install 'sktl[{extra}]'"
        ) from error
