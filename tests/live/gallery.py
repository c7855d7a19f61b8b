"""DAGs of ``dags/`` for a browser to look at, of which one can be held while it scores."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from airflow_provider_amlbatch.aml.blobs import container_client
from airflow_provider_amlbatch.aml.session import Session
from sample import DATASTORE, Sample, make_sample, save_model, upload_rows

EXAMPLES = Path(__file__).resolve().parents[2] / "dags"
SHOWN = ("scoring_on_demand.py", "notify_on_failure.py")

#: What the script of ``scoring_on_demand.py`` gets at its end.
_BRAKE = """

score = run


def run(mini_batch):
    import time

    while not os.path.exists({gate!r}):
        time.sleep(0.1)
    return score(mini_batch)
"""


class Gallery:
    """A copy of some examples.

    :param folder: empty, or not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._gate = folder / "gate"
        self.dags = folder / "dags"
        self.sample_folder = folder / "sample"
        shutil.copytree(EXAMPLES / "scoring", self.dags / "scoring")
        for name in SHOWN:
            shutil.copy(EXAMPLES / name, self.dags)
        script = self.dags / "scoring" / "score_with_threshold.py"
        script.write_text(script.read_text() + _BRAKE.format(gate=str(self._gate)))

    def environment(self, *others: Path) -> dict[str, str]:
        """The variables by which Airflow finds these DAGs beside those of other folders."""
        bundles = [
            {
                "name": f"folder-{number}",
                "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                "kwargs": {"path": str(path)},
            }
            for number, path in enumerate((self.dags, *others))
        ]
        return {
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
            "AMLBATCH_DEMO": str(self.sample_folder),
        }

    def prepare(self, session: Session) -> Sample:
        """Put the model and the data where the DAGs look for them."""
        made = make_sample()
        save_model(made, self.sample_folder)
        upload_rows(made, container_client(session, DATASTORE))
        return made

    def release(self) -> None:
        """Let the scoring go on."""
        self._gate.touch()
