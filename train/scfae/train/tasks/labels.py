"""Labels of a view as values: classes, numbers, flags."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from scfae.store import StoreView
from scfae.store.errors import TaskError


def class_values(view: StoreView, label: str) -> list[int | str]:
    """Return a view's labels as ints or strings.

    Raises:
        TaskError: They are continuous.
    """
    column = view.label(label)
    if column.kind == "float":
        numbers = np.asarray(column.values, dtype=np.float64)[column.present]
        if np.array_equal(numbers, np.round(numbers)):
            raise TaskError(
                f"the classes of '{label}' are stored as decimal numbers, such as {numbers[0]}: "
                "write whole numbers in the manifest or table, and make the store from that."
            )
        raise TaskError(
            f"'{label}' is continuous; classification needs ints or strings (or use --task "
            "regression)."
        )
    codes = [int(code) for code in column.values]
    if column.classes is None:
        return list(codes)
    return [column.classes[code] for code in codes]


def class_codes(view: StoreView, label: str) -> npt.NDArray[np.int64]:
    """Return a view's labels as the numbers that batches have: ints, or codes of strings `[N]`."""
    return np.asarray(view.label(label).values).astype(np.int64)


def sorted_classes(values: Sequence[int | str], label: str) -> tuple[int | str, ...]:
    """Return the distinct values, sorted.

    Raises:
        TaskError: There are fewer than two.
    """
    found = sorted(set(values))
    if len(found) < 2:
        what = f"only the class {found[0]!r}" if found else "no label at all"
        raise TaskError(f"the training split has {what} in '{label}'; two classes are the least.")
    return tuple(found)


def numbers(view: StoreView, label: str) -> npt.NDArray[np.float64]:
    """Return a view's labels as float64 `[N]`, NaN where unknown.

    Raises:
        TaskError: They are text.
    """
    column = view.label(label)
    if column.kind == "str":
        raise TaskError(f"'{label}' is text; a number is due.")
    values = np.asarray(column.values).astype(np.float64)
    values[~column.present] = np.nan
    return values
