"""For how long a task stays deferred at least.

Airflow 3.2 to 3.3.2 fails a task with a "state mismatch" if it runs again before the scheduler has read that the
process that deferred has ended. The supervisor of that process may linger as long as ``[workers]
min_heartbeat_interval``, and a busy scheduler reads late: up to 3 s late on two cores under a load of 8.
"""

from __future__ import annotations

import asyncio
import time

from airflow.providers.common.compat.sdk import conf
from airflow.triggers.base import BaseTrigger

#: Seconds for which a deferral lasts at least, unless told otherwise.
SETTLE_TIME = conf.getfloat("workers", "min_heartbeat_interval", fallback=5.0) + 10.0


async def settle(trigger: BaseTrigger, not_before: float) -> None:
    """Wait until the process that deferred is out of the way; ``dag.test()`` has none, and tells triggers no task.

    :param not_before: epoch second.
    """
    if trigger.task_instance is not None:
        await asyncio.sleep(not_before - time.time())
