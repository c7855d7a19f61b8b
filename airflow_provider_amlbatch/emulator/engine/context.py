"""What ``run(mini_batch, mini_batch_context)`` learns of its mini-batch. Standard library only: it runs in the worker,
under the scoring interpreter.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any, BinaryIO


class RowIndex:
    """Counts the items before a mini-batch, in the order in which the inputs were cut.

    Nobody knows how many rows a piece of text holds before it is read, so they are counted when a script asks: each
    worker reads what lies before its mini-batch once more, and remembers.

    :param queue: the engine's file of mini-batches, a line each.
    :param count: counts the rows of a payload.
    """

    def __init__(self, queue: str, count: Callable[[dict[str, Any]], int]) -> None:
        self._queue = queue
        self._count = count
        self._lines: BinaryIO | None = None
        self._lower_bounds = [0]

    def lower_bound(self, index: int) -> int:
        """The number of items before the mini-batch of this number."""
        if self._lines is None:
            self._lines = open(self._queue, "rb")  # noqa: SIM115  # as long as the process
        while len(self._lower_bounds) <= index:
            _, total, payload = self._lines.readline().split(b" ", 2)
            items = int(total) if total != b"-1" else self._count(json.loads(payload))
            self._lower_bounds.append(self._lower_bounds[-1] + items)
        return self._lower_bounds[index]


class MiniBatchContext:
    """The second argument of ``run()``.

    :param partition_key_value: the key values that this mini-batch shares; None without ``partition_keys``.
    :param minibatch_index: number of the mini-batch, from 0.
    :param input_name: the input that it was cut from.
    """

    def __init__(
        self, partition_key_value: dict[str, Any] | None, minibatch_index: int, input_name: str | None, rows: RowIndex
    ) -> None:
        self.partition_key_value = partition_key_value
        self.minibatch_index = minibatch_index
        self._input_name = input_name
        self._rows = rows

    @property
    def global_row_index_lower_bound(self) -> int:
        """The number of the first row of this mini-batch among all rows of the step's inputs, from 0.

        Inferred: it counts the rows in the order of the mini-batches, over all inputs; of files, the files.
        """
        return self._rows.lower_bound(self.minibatch_index)

    @property
    def dataset(self) -> Any:
        """The part of the input dataset that has this mini-batch's key values, as the SDK's own object.

        :raises AttributeError: without ``partition_keys``, without the SDK in the scoring environment, and for an
            input that is no dataset.
        """
        if self.partition_key_value is None:
            raise AttributeError("mini_batch_context.dataset is there only for a step with partition_keys.")
        try:
            core, dataprep = importlib.import_module("azureml.core"), importlib.import_module("azureml.dataprep")
        except ImportError as error:
            raise AttributeError(
                "mini_batch_context.dataset needs azureml-core and azureml-dataset-runtime in the scoring environment: "
                f"{error}."
            ) from error
        dataset = core.Run.get_context().input_datasets[self._input_name]
        if not hasattr(dataset, "filter"):
            raise AttributeError(
                f"mini_batch_context.dataset is not there: the input {self._input_name!r} is no dataset, but {dataset}."
            )
        condition: Any = None
        for name, value in self.partition_key_value.items():
            same = dataprep.col(name) == value
            condition = same if condition is None else condition & same
        return dataset.filter(condition)
