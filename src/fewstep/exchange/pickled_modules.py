"""What is kept of a pickled torch.nn.Module."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor

from fewstep.support.errors import InvalidInput

LONGEST = 1000  # characters of a tensor's full name, so that depth costs no more than the file has


class Part:
    """What a pickle says of an object: the name of its class, and its attributes as plain data."""

    kind = "Part"
    attributes: Mapping = MappingProxyType({})

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, Mapping):
            raise InvalidInput(f"a {self.kind} whose attributes are {type(state).__name__}")
        self.__dict__["attributes"] = state

    @property
    def modules(self) -> Mapping[str, "Part"]:
        return self._mapping("_modules")

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers of a torch.nn.Module, by their full names.

        ValueError where something is met twice: a chain of n modules that hold the next one twice has 2^n names.
        """
        found: dict[str, Tensor] = {}
        met: set[int] = set()
        left: list[tuple[str, Part]] = [("", self)]
        while left:
            prefix, part = left.pop()
            for name, value in part._own():
                full = prefix + name
                if id(value) in met or len(full) > LONGEST:
                    raise InvalidInput(f"{full[:80]} occurs twice, or too deep")
                met.add(id(value))
                if isinstance(value, Part):
                    left.append((f"{full}.", value))
                else:
                    found[full] = value
        return found

    def _own(self) -> Iterator[tuple[str, "Tensor | Part"]]:
        """Parameters, buffers and modules by their own names."""
        for group, kind in (("_parameters", Tensor), ("_buffers", Tensor), ("_modules", Part)):
            for name, value in self._mapping(group).items():
                if not isinstance(value, kind | None):
                    raise InvalidInput(f"{name} is not a {kind.__name__.lower()}")
                if value is not None:
                    yield name, value

    def _mapping(self, name: str) -> Mapping[str, Any]:
        found = self.attributes.get(name) or {}
        if not isinstance(found, Mapping):
            raise InvalidInput(f"{name} of a {self.kind} is {type(found).__name__}")
        return found
