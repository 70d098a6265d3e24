"""An attribute that is computed when it is first asked for, and kept; without a lock.

`functools.cached_property` of Python 3.11 computes under a lock that all objects of the class
share. A process that forks while another thread is inside leaves the child that lock, held by a
thread that does not exist there, so the child waits for ever. Here two threads may both compute;
what the first one to finish computed is what every thread gets, then and later.
"""

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


class lazy_property(Generic[T]):  # noqa: N801 - used as a decorator, like `property`
    """Turns a method into an attribute that is computed once; the object must have a `__dict__`.

    Args:
        compute: The method; it must give an equal value each time, since two threads may call it.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self._name = ""
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> Self | T:
        if instance is None:
            return self
        value: T = instance.__dict__.setdefault(self._name, self._compute(instance))
        return value
