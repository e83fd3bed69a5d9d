"""What an installation can be extended with: factories by name, of this package and of others."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, cast

from attrs import field, frozen

from tenantkb.domain.errors import ConfigurationError
from tenantkb.domain.records import printable


@frozen
class Recipe:
    """How something is made that is registered by name.

    Attributes:
        factory: A callable, or the text ``"package.module:name"`` of one.
        options: Keyword arguments that it is called with.
    """

    factory: Callable[..., Any] | str
    options: Mapping[str, Any] = field(factory=dict)

    @property
    def is_portable(self) -> bool:
        """Whether another process can follow it."""
        return isinstance(self.factory, str)

    def make(self, *arguments: object) -> Any:
        """Call the factory; like :meth:`load`, and whatever the factory raises."""
        return self.load()(*arguments, **self.options)

    def load(self) -> Callable[..., Any]:
        """The factory, imported if need be.

        Raises:
            ConfigurationError: it cannot be.
        """
        if not isinstance(self.factory, str):
            return self.factory
        module, _, name = self.factory.partition(":")
        try:
            loaded = getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"cannot load {self.factory!r}: {error}; "
                "is it installed, or its folder in import_path?"
            ) from error
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigurationError(f"cannot load {self.factory!r}: {error}") from error
        if not callable(loaded):
            raise ConfigurationError(f"{self.factory!r} is not callable")
        return cast(Callable[..., Any], loaded)


class Factories:
    """Factories by name, in order of registration.

    A factory is a callable or the text ``"package.module:name"`` of one, imported at first use.
    """

    def __init__(self, kind: str, entries: Mapping[str, str]) -> None:
        """Start with some entries.

        Args:
            kind: What the factories make, for messages.
            entries: Factories by name.
        """
        self._kind = kind
        self._recipes = {name: Recipe(factory) for name, factory in entries.items()}

    def register(
        self,
        name: str,
        factory: Callable[..., Any] | str,
        options: Mapping[str, Any] | None = None,
        *,
        replace: bool = False,
    ) -> None:
        """Add a factory at the end, or with ``replace`` in the place of the one of this name.

        Args:
            name: What the entry is called from now on.
            factory: The factory, or where it is.
            options: Keyword arguments that it is called with.
            replace: Whether there may be one of this name.

        Raises:
            ConfigurationError: the name is taken and ``replace`` is not set.
        """
        if name in self._recipes and not replace:
            raise ConfigurationError(
                f"there is a {self._kind} {name} already; it is replaced only if replace is set"
            )
        self._recipes[name] = Recipe(factory, options or {})

    def unregister(self, name: str) -> None:
        """Remove a factory.

        Raises:
            ConfigurationError: there is none of this name.
        """
        self.recipe(name)
        del self._recipes[name]

    def names(self) -> list[str]:
        """Registered names, in order."""
        return list(self._recipes)

    def __contains__(self, name: object) -> bool:
        return name in self._recipes

    def recipe(self, name: str) -> Recipe:
        """What was registered under a name.

        Raises:
            ConfigurationError: there is none of this name; the message lists those there are.
        """
        if name not in self._recipes:
            known = ", ".join(self._recipes) or "none"
            raise ConfigurationError(
                f"there is no {self._kind} {printable(name)}; there are {known}"
            )
        return self._recipes[name]

    def make(self, name: str, *arguments: object) -> Any:
        """What the factory of a name gives for some arguments and its options.

        Raises:
            ConfigurationError: there is none of this name, it cannot be imported, or it fails.
        """
        recipe = self.recipe(name)
        try:
            return recipe.make(*arguments)
        except ConfigurationError as error:
            raise ConfigurationError(f"{self._kind} {name}: {error}") from error
        except Exception as error:
            raise ConfigurationError(
                f"{self._kind} {name} cannot be made: {type(error).__name__}: {error}"
            ) from error

    def register_entry_points(self, group: str) -> None:
        """Register what installed packages offer, by name: the order of installation is chance.

        Raises:
            ConfigurationError: a name is taken.
        """
        for point in sorted(entry_points(group=group), key=lambda point: (point.name, point.value)):
            try:
                self.register(point.name, point.value)
            except ConfigurationError as error:
                package = point.dist.name if point.dist else "an installed package"
                raise ConfigurationError(
                    f"{package} offers {point.name}: {error}; use_entry_points = false leaves out "
                    "what packages offer"
                ) from error
