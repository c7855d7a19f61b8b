"""Names for the kinds of numpy arrays that go with columns."""

from __future__ import annotations

from typing import Any

import numpy as np

#: One truth value a row.
Mask = np.ndarray[Any, np.dtype[np.bool_]]
#: Row numbers.
Ordinals = np.ndarray[Any, np.dtype[np.int64]]
