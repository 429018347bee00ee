"""A batch for detectors, made of images and boxes."""

import torch


def make_batch(image, boxes, labels):
    nothing = [torch.zeros(0, 4)] * len(image), [torch.zeros(0).long()] * len(image)
    return {
        "image": image,
        "boxes_xyxy": boxes,
        "label": labels,
        "ignored_xyxy": nothing[0],
        "ignored_label": nothing[1],
        "scale": torch.ones(len(image)),
        "original_size": torch.tensor([image.shape[-2:]] * len(image)),
        "image_id": torch.arange(len(image)),
    }
