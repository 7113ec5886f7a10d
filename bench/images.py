#!/usr/bin/env python3
"""Generates the images for the data loader benchmark, unless they exist: 64-pixel PNG, 500-pixel JPEG.

usage: images.py DIR        (needs Pillow and NumPy)

DIR/png64 has the built-in emoji, each five times; DIR/jpeg500 parts of two photographs, upsampled to 500 x 375 pixels with
grain, so that a file is some 100 kB, as ImageNet's are.
"""
import pathlib
import shutil
import sys
import zipfile

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
PNG_COPIES, JPEGS = 5, 2000


def png64(folder):
    with zipfile.ZipFile(ROOT / "data/noto-emoji-64.zip") as z:
        names = [n for n in z.namelist() if n.endswith(".png")]
        for copy in range(PNG_COPIES):
            for name in names:
                (folder / ("%d_%s" % (copy, name.replace("/", "_")))).write_bytes(z.read(name))


def jpeg500(folder):
    random = np.random.default_rng(1)
    photos = [Image.open(ROOT / "testdata/golden/image" / name).convert("RGB")
              for name in ("astronaut_300x211.png", "coffee_tall_150x260.png")]
    for i in range(JPEGS):
        photo = photos[i % 2]
        width = int(min(photo.width, photo.height * 4 / 3) * random.uniform(0.5, 1))
        height = width * 3 // 4
        x, y = random.integers(photo.width - width + 1), random.integers(photo.height - height + 1)
        part = photo.crop((x, y, x + width, y + height)).resize((500, 375), Image.LANCZOS)
        grain = np.array(part, np.float32) + random.normal(0, 10, (375, 500, 1)).astype(np.float32)
        Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(folder / ("%05d.jpg" % i), quality=90)


def main():
    for name, make in (("png64", png64), ("jpeg500", jpeg500)):
        folder = pathlib.Path(sys.argv[1]) / name
        if folder.exists():
            continue
        half = folder.with_name(name + ".part")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        make(half)
        half.rename(folder)


if __name__ == "__main__":
    main()
