"""Detect objects with an exported detector; needs onnxruntime, numpy and Pillow, nothing else.

    python run_onnx.py detector.onnx PICTURE [PICTURE ...] [--score 0.5] [--output DIR]

Prints a line of CSV for each object, its box in pixels, and draws each picture to DIR/PICTURE.png.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageDraw, ImageFont, ImageOps

COLOURS = ("#e6194b", "#2a8f3c", "#b07d00", "#0082c8", "#d95f0e", "#911eb4", "#00818a", "#c71fc0")


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
        about = json.loads(path.with_name(f"{path.name}.json").read_text())
        if about["outputs"][0]["name"] != "boxes":
            raise ValueError(f"{path} gives the raw head; export with nms=true")
        self.classes, self.size = about["classes"], tuple(reversed(about["image_size"]))
        self.input, batch = about["input"]["name"], about["input"]["shape"][0]
        self.batch = batch if isinstance(batch, int) else 1
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def __call__(self, picture: Image.Image, score: float) -> tuple[np.ndarray, ...]:
        """Boxes (N, 4) x1, y1, x2, y2 in pixels of the picture, scores (N,), labels (N,) from 1."""
        pixels = np.asarray(picture.resize(self.size, Image.Resampling.BILINEAR))
        images = np.repeat(pixels.transpose(2, 0, 1)[None], self.batch, axis=0)
        boxes, scores, labels = (one[0] for one in self.session.run(None, {self.input: images}))
        keep = (labels > 0) & (scores >= score)
        return boxes[keep] * (picture.size * 2), scores[keep], labels[keep]


def draw(picture: Image.Image, boxes: np.ndarray, texts: list[str], labels: np.ndarray) -> None:
    side = max(picture.size)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(max(12, side // 40))
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
    parser.add_argument("--output", type=Path, default="detected", help="folder (detected)")
    given = parser.parse_args()
    try:
        detector = Detector(given.model)
    except Exception as error:  # onnxruntime's own have no class in common
        sys.exit(f"error: {error}")
    given.output.mkdir(parents=True, exist_ok=True)
    rows, failed, drawn = csv.writer(sys.stdout), 0, set()
    rows.writerow(["picture", "class", "score", "x1", "y1", "x2", "y2"])
    for path in given.pictures:
        try:
            picture = read(path)
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            print(f"error: {path}: {error}", file=sys.stderr)
            failed = 1
            continue
        boxes, scores, labels = detector(picture, given.score)
        names = [detector.classes[label - 1] for label in labels]
        for name, score, box in zip(names, scores, boxes, strict=True):
            rows.writerow([path, name, f"{score:.4f}", *(f"{side:.1f}" for side in box)])
        texts = [f"{name} {score:.2f}" for name, score in zip(names, scores, strict=True)]
        draw(picture, boxes, texts, labels)
        file = path.name
        while file in drawn:  # of another folder
            file = f"{file}.{len(drawn) + 1}"
        drawn.add(file)
        picture.save(given.output / f"{file}.png")
    return failed


if __name__ == "__main__":
    sys.exit(main())
