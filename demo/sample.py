"""Make the demo's data: a trained model on disk, and one small CSV file of features per patient in the datastore.

The data is scikit-learn's breast cancer set (569 rows, 30 features). One half trains the model, the other half is
scored.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import joblib
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

DATASTORE = "workspaceblobstore"
FOLDER = "breast-cancer"


@dataclass(frozen=True)
class Sample:
    """A trained model and the rows it has not seen, by file name. A row is 30 floats."""

    model: Pipeline
    rows: dict[str, np.ndarray]

    def predictions(self) -> dict[str, int]:
        """What the model says of each row, in this process: the judge of what a batch run returns."""
        return {name: int(self.model.predict(row.reshape(1, -1))[0]) for name, row in self.rows.items()}


def make_sample() -> Sample:
    """Train on one half of the set and keep the other half. Always the same."""
    data, target = load_breast_cancer(return_X_y=True)
    train, score, labels, _ = train_test_split(data, target, test_size=0.5, random_state=7)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train, labels)
    return Sample(model, {f"patient-{number:03d}.csv": row for number, row in enumerate(score)})


def save_model(sample: Sample, folder: Path) -> Path:
    """Write the model as ``model.joblib`` and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.joblib"
    joblib.dump(sample.model, path)
    return path


def as_csv(row: np.ndarray) -> bytes:
    """One line of comma-separated floats, written so that reading them gives the same floats."""
    return (",".join(repr(float(value)) for value in row) + "\n").encode()


def upload_rows(sample: Sample, container: ContainerClient) -> int:
    """Write one blob per row below :data:`FOLDER` of a container and return how many there are.

    :param container: what holds the blobs of a datastore.
    """

    def upload(item: tuple[str, np.ndarray]) -> None:
        name, row = item
        container.upload_blob(f"{FOLDER}/{name}", as_csv(row), overwrite=True)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(upload, sample.rows.items()))
    return len(sample.rows)


def prepare(folder: Path, env: dict[str, str]) -> int:
    """Save the model to a folder and upload the rows, in a process whose environment leads to a workspace.

    :return: how many rows were uploaded.
    :raises RuntimeError: with what the process said, if it failed.
    """
    done = subprocess.run([sys.executable, __file__, str(folder)], env=env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"The data could not be prepared.\n{done.stderr}")
    return int(done.stdout.split()[-1])


if __name__ == "__main__":
    from airflow_provider_amlbatch.hooks.azureml_batch import AzureMLBatchHook

    sample = make_sample()
    save_model(sample, Path(sys.argv[1]))
    print(upload_rows(sample, AzureMLBatchHook().container_client(DATASTORE)))
