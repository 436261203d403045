"""What formulas of costs are made of, for columns of many pods and for the plain number of one.

numpy takes about as long for one pod as for a hundred, and ten times as long as Python does for one. So few candidates
are asked for their cost one by one, many at once, and both by the same formula. Results are numpy's, NaN included;
only a division by zero raises here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

import numpy as np

if TYPE_CHECKING:
    from routing.columns import BoolColumn, FloatColumn


@overload
def maximum(first: float, second: float) -> float: ...
@overload
def maximum(first: FloatColumn, second: FloatColumn | float) -> FloatColumn: ...
def maximum(first: FloatColumn | float, second: FloatColumn | float) -> FloatColumn | float:
    """The larger one; NaN when either is."""
    if isinstance(first, float) and isinstance(second, float):
        return first if first > second or first != first else second
    return np.maximum(first, second)


@overload
def minimum(first: float, second: float) -> float: ...
@overload
def minimum(first: FloatColumn, second: FloatColumn | float) -> FloatColumn: ...
def minimum(first: FloatColumn | float, second: FloatColumn | float) -> FloatColumn | float:
    """The smaller one; NaN when either is."""
    if isinstance(first, float) and isinstance(second, float):
        return first if first < second or first != first else second
    return np.minimum(first, second)


@overload
def larger_known(first: float, second: float) -> float: ...
@overload
def larger_known(first: FloatColumn, second: FloatColumn) -> FloatColumn: ...
def larger_known(first: FloatColumn | float, second: FloatColumn | float) -> FloatColumn | float:
    """The larger one of those that are known; NaN when none is."""
    if isinstance(first, float) and isinstance(second, float):
        return first if first >= second or second != second else second
    return np.fmax(first, second)


@overload
def is_unknown(values: float) -> bool: ...
@overload
def is_unknown(values: FloatColumn) -> BoolColumn: ...
def is_unknown(values: FloatColumn | float) -> BoolColumn | bool:
    """Where they are NaN."""
    return values != values


@overload
def where_unknown(values: float, other: float) -> float: ...
@overload
def where_unknown(values: FloatColumn, other: FloatColumn | float) -> FloatColumn: ...
def where_unknown(values: FloatColumn | float, other: FloatColumn | float) -> FloatColumn | float:
    """The values, and the other where they are NaN. (numpy's nan_to_num takes four times as long.)"""
    if isinstance(values, float):
        return values if values == values else other
    return np.where(np.isnan(values), other, values)


@overload
def where(condition: bool, values: float, other: float) -> float: ...
@overload
def where(condition: BoolColumn, values: FloatColumn | float, other: FloatColumn | float) -> FloatColumn: ...
def where(condition: BoolColumn | bool, values: FloatColumn | float, other: FloatColumn | float) -> FloatColumn | float:
    """The values where it is true, else the other."""
    if isinstance(condition, np.ndarray):
        return np.where(condition, values, other)
    return values if condition else other
