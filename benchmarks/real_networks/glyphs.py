"""Letters in the typefaces that Matplotlib brings: images to learn from where no other data set may be used.

    python -m benchmarks.real_networks.glyphs FOLDER

Writes `FOLDER/glyphs`, a folder of images for each letter, in a part to train on and one to test on. Drawn
are typeface, size, place, angle, both colours and the noise, so that a small network has something to learn,
by the number of the image alone.
"""

from __future__ import annotations

import argparse
import string
import sys
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hypernudge.random import stream

NAME = "glyphs"
SIDE, LARGE = 16, 64  # pixels of an image, and of what it is reduced from
FACES = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSansMono-Bold"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "STIXGeneral", "STIXGeneralBol"),
    *("STIXGeneralItalic", "cmb10", "cmr10", "cmss10", "cmti10", "cmtt10"),
)
COUNTS = {"train": 160, "test": 10}  # images of a letter
NOISE = 25.0  # standard deviation, of 255


def glyph(letter: str, part: str, number: int) -> np.ndarray:
    """Return an image of a letter, uint8 `(SIDE, SIDE, 3)`."""
    rng = stream(0, NAME, part, letter, number)
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    face = FACES[int(rng.integers(len(FACES)))]
    font = ImageFont.truetype(str(fonts / f"{face}.ttf"), int(rng.integers(36, 56)))
    behind, before = (tuple(int(value) for value in rng.integers(0, 256, 3)) for _ in range(2))
    canvas = Image.new("RGB", (LARGE, LARGE), behind)
    place = LARGE / 2 + rng.uniform(-6, 6, 2)
    ImageDraw.Draw(canvas).text(tuple(place.tolist()), letter, fill=before, font=font, anchor="mm")
    turned = canvas.rotate(float(rng.uniform(-20, 20)), Image.Resampling.BILINEAR, fillcolor=behind)
    small = np.asarray(turned.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=float)
    noisy = small + rng.normal(0.0, NOISE, small.shape)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def write(folder: Path) -> None:
    """Write all images below `folder / NAME`."""
    for part, count in COUNTS.items():
        for letter in string.ascii_uppercase:
            place = folder / NAME / part / letter
            place.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                Image.fromarray(glyph(letter, part, number)).save(place / f"{number:04d}.png")


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    write(parser.parse_args().folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
