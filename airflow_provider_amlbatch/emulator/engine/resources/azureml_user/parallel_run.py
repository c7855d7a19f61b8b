"""``EntryScript`` for entry scripts. Standard library only: it runs under the scoring interpreter."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

_FORMAT = "%(asctime)s|%(name)s|%(levelname)s|%(process)d|%(thread)d|%(funcName)s|%(message)s"


class EntryScript:
    """What a script may know of the worker that it runs in."""

    @property
    def logger(self) -> logging.Logger:
        """The logger that writes to ``logs/user/entry_script_log/<node>/<process>.log.txt``, in UTC."""
        logger = logging.getLogger("EntryScript")
        if not logger.handlers:
            handler = logging.FileHandler(os.environ["AMLBATCH_ENTRY_SCRIPT_LOG"], encoding="utf-8", delay=True)
            formatter = logging.Formatter(_FORMAT)
            formatter.converter = time.gmtime
            handler.setFormatter(formatter)
            logger.addHandler(handler)
            logger.setLevel(os.environ.get("AMLBATCH_LOGGING_LEVEL", "INFO"))
        return logger

    @property
    def log_dir(self) -> str:
        """The folder of the user's logs."""
        return os.environ["AMLBATCH_LOG_DIR"]

    @property
    def agent_name(self) -> str:
        """The name of the worker: ``process`` and its number."""
        return os.environ["AMLBATCH_AGENT_NAME"]

    @property
    def working_dir(self) -> str:
        """The private folder that the worker started in."""
        return os.environ["AMLBATCH_WORKING_DIR"]

    @property
    def output_dir(self) -> str:
        """The folder of the step's output; made if it is missing."""
        folder = os.environ["AZUREML_BI_OUTPUT_PATH"]
        Path(folder).mkdir(parents=True, exist_ok=True)
        return folder
