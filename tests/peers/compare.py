"""Compares two arrays up to rounding."""

import numpy as np

# The tolerance, relative to each element and to the largest: some units in the last place of the dtype.
RELATIVE = {"float64": 1e-12, "float32": 2e-6, "float16": 2e-3, "bfloat16": 1.6e-2}


def difference(ours, theirs, factor=1.0, strict=False):
    """None, or the difference: dtype, shape, or the worst element. Infinities of one sign are equal, and NaN equals
    NaN. With `strict` the tolerance of an element is relative to its own size, not to that of the largest."""
    if ours.dtype != theirs.dtype:
        return f"dtype {ours.dtype}, not {theirs.dtype}"
    if ours.shape != theirs.shape:
        return f"shape {list(ours.shape)}, not {list(theirs.shape)}"
    if theirs.size == 0:
        return None
    relative = RELATIVE.get(theirs.dtype.name, 0.0) * factor
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    largest = 0.0 if strict else max(1e-3, np.abs(b, where=finite, out=np.zeros(b.shape)).max())
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.where(finite, np.abs(a - b), np.inf))
    excess = error - relative * (np.abs(np.where(finite, b, 0.0)) + largest)
    if (excess <= 0).all():
        return None
    at = np.unravel_index(np.argmax(np.where(error == np.inf, np.inf, excess)), error.shape)
    return f"{a[at]!r} at {[int(i) for i in at]}, not {b[at]!r}; {int((excess > 0).sum())} of {error.size} differ"
