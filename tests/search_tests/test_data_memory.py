"""Data larger than memory: a job's ways through it, in a process that may not hold a copy."""

import subprocess
import sys
import zipfile
from io import BytesIO

import pytest
from PIL import Image

IMAGES, SIDE = 1700, 224  # 256 MB once decoded
LIMIT = 150  # MB, most of it taken by torch itself; a copy of train is 164 MB more

# What a job does with its images, from the archive on. Pages of the file do not count: the system
# takes them back when it needs the memory.
CHILD = """
import sys, threading, time
from pathlib import Path
import torch
from pareconv.search.data.batches import Split, eval_batches, statistics
from pareconv.search.data.imbalance import thinned
from pareconv.search.data.sources import Source, load
from pareconv.search.data.views import Views
from pareconv.search.profiling import _fingerprint

def private():
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1000

def watch():
    while True:
        seen.append(private())
        time.sleep(0.002)

class Bench:
    pass

seen = [before := private()]
threading.Thread(target=watch, daemon=True).start()
path, cache, side = sys.argv[1:]
images = load(Source("file", Path(path)), image_size=int(side), cache=Path(cache))
images = thinned(images, 1.0, 0).held_out(0.2, 0)
normalize = statistics(images.train_images)
bench = Bench()
bench.train = Split(images.train_images, images.train_labels, *normalize).to("cpu")
bench.validation = Split(images.validation_images, images.validation_labels, *normalize).to("cpu")
_fingerprint(bench)
views = Views(bench.train, "crop-flip", 0)
for start in range(0, 512, 16):
    views[torch.arange(start, start + 16)]
for batch, _ in eval_batches(bench.validation, 16):
    assert bool(batch.isfinite().all())
print(len(bench.train), len(bench.validation), len(images.test_labels))
print(max(seen) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_step_holds_a_copy_of_the_images(tmp_path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(IMAGES):
            file = BytesIO()
            Image.new("RGB", (8, 8), (number % 256, number // 8, 0)).save(file, "PNG")
            archive.writestr(f"{'cat' if number % 2 else 'dog'}/{number}.png", file.getvalue())
    arguments = [path, tmp_path / "cache", SIDE]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *counts, private = done.stdout.split()
    assert counts == ["1088", "272", "340"]
    assert float(private) < LIMIT
    assert sum(file.stat().st_size for file in (tmp_path / "cache").iterdir()) > 250e6
