"""Draws docs/pictures/overlay.png: a drawn picture, a tiny random ViT, and one row of its map.

Run from the repository: .venv/bin/python docs/scripts/overlay.py
"""

from pathlib import Path

import numpy as np
import torch
from transformers import ViTConfig, ViTModel

from ligflow import Explainer

SIZE, PATCH = 112, 8
TARGET = 1 + 14 * 8 + 4  # after the class token: row 8, column 4
DOCS = Path(__file__).parents[1]


def picture() -> np.ndarray:
    """A sky, a sun, a hill and a house."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    image = np.stack([0.4 + 0.3 * y, 0.6 + 0.2 * y, 0.95 - 0.3 * y], -1)
    image[(x - 0.72) ** 2 + (y - 0.28) ** 2 < 0.015] = (1, 0.85, 0.2)
    image[y > 0.72 + 0.06 * np.sin(9 * x)] = (0.2, 0.5, 0.25)
    image[(x > 0.22) & (x < 0.48) & (y > 0.5) & (y < 0.8)] = (0.75, 0.35, 0.25)
    return image


def model() -> ViTModel:
    torch.manual_seed(3)
    config = ViTConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, image_size=SIZE,
        patch_size=PATCH,
    )  # fmt: skip
    made = ViTModel(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return made


def main() -> None:
    image = picture()
    pixels = torch.tensor(2 * image - 1).permute(2, 0, 1)[None].float()
    flow = Explainer(model()).explain({"pixel_values": pixels}, targets=[TARGET])
    flow.overlay(image, target=TARGET, path=DOCS / "pictures" / "overlay.png")
    print(flow)


if __name__ == "__main__":
    main()
