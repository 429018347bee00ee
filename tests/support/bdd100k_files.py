"""Small data sets as BDD100K is published."""

import json

import cv2
import numpy as np

SIZE = (36, 64)


def boxed(x1, y1, x2, y2, category="car", **others):
    return {"id": "7", "category": category, "box2d": {"x1": x1, "y1": y1, "x2": x2, "y2": y2}} | others


def frame(name, labels=(), **attributes):
    about = {"timeofday": "daytime", "weather": "clear", "scene": "highway"} | attributes
    return {"name": f"{name}.jpg", "attributes": about, "timestamp": 10000, "labels": list(labels)}


def write(root, frames, split="train", place="labels/det_20/det_{}.json", images=True, size=SIZE):
    """A data set of black images; frames may be the text of a file."""
    path = root / place.format(split)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(frames if isinstance(frames, str) else json.dumps(frames))
    folder = root / "images/100k" / split
    folder.mkdir(parents=True, exist_ok=True)
    for item in frames if images else ():
        cv2.imwrite(str(folder / item["name"]), np.zeros((*size, 3), np.uint8))
    return root
