"""Imports that are put off until somebody needs what they bring."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    """Stands in a module's place until it is asked for something that is not known."""

    def __init__(self, name: str, known: dict[str, str]) -> None:
        super().__init__(name)
        vars(self).update(known)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python itself asks, when something is imported from it
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


def put_off(name: str, **known: str) -> None:
    """Let a module be imported only when it is needed.

    Args:
        name: Of the module.
        known: Attributes that are asked for before.
    """
    sys.modules.setdefault(name, _Later(name, known))
