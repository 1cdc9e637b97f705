"""Predictions made by a seed."""

from typing import Any

import numpy as np
import pytest

CLASS_NAMES = ("archery", "bowling", "curling", "diving", "escalade", "fencing", "golf")


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


@pytest.fixture
def class_names() -> tuple[str, ...]:
    return CLASS_NAMES


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """60 videos of six of the seven classes, ten of them failed, all of "fencing" among those."""
    generator = np.random.default_rng(0)
    result = []
    for number in range(60):
        label = number % 6
        logits = generator.normal(size=7)
        logits[label] += 1
        probabilities = softmax(logits)
        is_ok = label != 5
        result.append(
            {
                "video_id": f"v{number:03d}",
                "group_id": f"g{number // 4}",
                "path": f"/data/val/{CLASS_NAMES[label]}/v{number:03d}.mp4",
                "label_name": CLASS_NAMES[label],
                "label": label,
                "prediction": int(probabilities.argmax()) if is_ok else None,
                "probabilities": probabilities if is_ok else None,
                "logits": logits.tolist() if is_ok else None,
                "num_views": 30 if is_ok else 0,
                "status": "ok" if is_ok else ("missing", "unreadable", "too_short")[number % 3 if number > 20 else 0],
            }
        )
    return result
