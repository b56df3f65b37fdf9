"""Detect objects with an exported detector; needs onnxruntime, numpy and Pillow, nothing else.

    python run_onnx.py detector.onnx PICTURE [PICTURE ...] [--score 0.5] [--output DIR]

Prints a line of CSV for each object, its box in pixels of the picture, and writes each picture with
its boxes to DIR.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageDraw, ImageFont, ImageOps

COLOURS = ("#e6194b", "#3cb44b", "#ffbe0b", "#0082c8", "#f58230", "#911eb4", "#46dce6", "#f032e6")


def read(path: Path) -> Image.Image:
    """As a person sees it: turned as EXIF says, on white where it is transparent."""
    picture = ImageOps.exif_transpose(Image.open(path))
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray(((np.asarray(picture, np.uint32) + 128) // 257).astype(np.uint8))
    if picture.has_transparency_data:
        page = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(page, picture.convert("RGBA"))
    return picture.convert("RGB")


class Detector:
    def __init__(self, path: Path) -> None:
        """path: the ONNX file; its JSON file lies beside it."""
        about = json.loads(path.with_suffix(".json").read_text())
        self.classes, (self.height, self.width) = about["classes"], about["image_size"]
        batch = about["input"]["shape"][0]
        self.batch = batch if isinstance(batch, int) else 1
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.input = about["input"]["name"]
        if [output.name for output in self.session.get_outputs()][0] != "boxes":
            raise ValueError(f"{path} gives the raw head; export it with nms=true")

    def __call__(self, picture: Image.Image) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes (N, 4) x1, y1, x2, y2 in pixels of the picture, scores (N,), labels (N,) from 1."""
        size = (self.width, self.height)
        pixels = np.asarray(picture.resize(size, Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        images = np.repeat(pixels[None], self.batch, axis=0)
        found = self.session.run(["boxes", "scores", "labels"], {self.input: images})
        boxes, scores, labels = (column[0] for column in found)
        real = labels > 0
        return boxes[real] * (picture.size * 2), scores[real], labels[real]


def draw(picture: Image.Image, boxes: np.ndarray, texts: list[str], labels: np.ndarray) -> None:
    side = max(picture.size)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(max(10, side // 45))
    for box, text, label in reversed([*zip(boxes.tolist(), texts, labels.tolist(), strict=True)]):
        colour = COLOURS[(label - 1) % len(COLOURS)]
        pen.rectangle(box, outline=colour, width=max(1, side // 300))
        place = (box[0], max(0, box[1] - font.size - 2))
        pen.rectangle(pen.textbbox(place, text, font), fill=colour)
        pen.text(place, text, "white", font)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition(";")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--score", type=float, default=0.5, help="least score (0.5)")
    parser.add_argument("--output", type=Path, default=Path("detected"), help="folder (detected)")
    given = parser.parse_args()
    try:
        detector = Detector(given.model)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    given.output.mkdir(parents=True, exist_ok=True)
    rows, failed = csv.writer(sys.stdout), 0
    rows.writerow(["picture", "class", "score", "x1", "y1", "x2", "y2"])
    for path in given.pictures:
        try:
            picture = read(path)
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            print(f"error: {path}: {error}", file=sys.stderr)
            failed += 1
            continue
        boxes, scores, labels = (column for column in detector(picture))
        keep = scores >= given.score
        boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
        names = [detector.classes[label - 1] for label in labels]
        for name, score, box in zip(names, scores, boxes, strict=True):
            rows.writerow([path, name, f"{score:.4f}", *(f"{side:.1f}" for side in box)])
        texts = [f"{name} {score:.2f}" for name, score in zip(names, scores, strict=True)]
        draw(picture, boxes, texts, labels)
        picture.save(given.output / f"{path.stem}.png")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
