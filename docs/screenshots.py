"""Make the pictures in ``docs/images``: an emulator of its own, filled by ``scene.py``, looked at with Chromium.

Run ``python docs/screenshots.py`` after a change of the pages; it takes about a minute.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from airflow_provider_amlbatch.testing import ServedEmulator, run_sdk, serving

DOCS = Path(__file__).resolve().parent
IMAGES = DOCS / "images"

_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --ignore-certificate-errors --hide-scrollbars"
)


def main() -> None:
    """Make all pictures."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("The pictures need Debian's chromium.")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="amlbatch-") as folder, serving(Path(folder) / "state") as emulator:
        script = f"import sys\nsys.path.insert(0, {str(DOCS)!r})\nimport scene, pathlib\nscene.main(pathlib.Path.cwd())"
        done = run_sdk(script, emulator.environment)
        failed, going_on, published = next(
            line.split()[1:] for line in done.stdout.splitlines() if line.startswith("PAGES")
        )
        step = next(run for run in emulator.services.studio.runs.children(going_on) if run.name == "score")
        while emulator.services.history.get(step.run_id).run_status.is_active and _done(emulator, step.run_id) < 60:
            time.sleep(0.5)
        schedule = emulator.services.studio.schedules()[0].schedule.id
        _picture(chromium, emulator, "run", f"runs/{going_on}", 1180, 1120)
        _picture(chromium, emulator, "workspace", "", 1180, 640, dark=True)
        _picture(chromium, emulator, "step", f"runs/{step.run_id}", 1180, 1500)
        _picture(chromium, emulator, "failed", f"runs/{failed}", 1180, 940)
        _picture(chromium, emulator, "schedule", f"schedules/{schedule}", 1180, 700)
        _picture(chromium, emulator, "phone", f"pipelines/{published}", 390, 844, dark=True)


def _done(emulator: ServedEmulator, run_id: str) -> int:
    progress = emulator.services.history.progress(run_id)
    return 0 if progress is None else progress.processed_mini_batches


def _picture(
    chromium: str, emulator: ServedEmulator, name: str, page: str, width: int, height: int, *, dark: bool = False
) -> None:
    with tempfile.TemporaryDirectory() as profile:
        command = [
            chromium,
            *_FLAGS.split(),
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--screenshot={IMAGES / name}.png",
            f"{emulator.url}/studio/{page}".rstrip("/"),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    print(IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
