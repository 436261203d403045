"""What formulas over columns are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from routing.pods.columns import FloatColumn


def where_unknown(values: FloatColumn, other: FloatColumn | float) -> FloatColumn:
    """The values, and the other where they are NaN. (numpy's nan_to_num takes four times as long.)"""
    return np.where(np.isnan(values), other, values)
