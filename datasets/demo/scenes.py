"""What one video shows, drawn at random: the actions, the object's pose over time, looks and noise.

Every video draws four independent *cycles*: position x, position y, size and angle. Its action says which one of
the four advances and which way; the other three stay where they are. A cycle starts at a uniformly random phase and
begins anew when it is through, so its phase is uniform at *every* frame whatever the action: single frames of all
actions have one and the same distribution, and only the order of frames tells them apart.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NUM_FRAMES = 24
FPS = 24
FRAME_SIZE = 72

# label: (which cycle advances, which way); x grows to the right, y downwards, the angle clockwise on the screen.
ACTIONS: dict[str, tuple[str, int]] = {
    "moving left": ("x", -1),
    "moving right": ("x", +1),
    "moving up": ("y", -1),
    "moving down": ("y", +1),
    "growing": ("size", +1),
    "shrinking": ("size", -1),
    "turning clockwise": ("angle", +1),
    "turning anticlockwise": ("angle", -1),
}

# label: hue of the object in turns, for the control set, which a single frame does give away.
CONTROL_HUES: dict[str, float] = {
    "red object": 0.0,
    "amber object": 0.125,
    "lime object": 0.25,
    "green object": 0.375,
    "cyan object": 0.5,
    "blue object": 0.625,
    "violet object": 0.75,
    "pink object": 0.875,
}

_SPLIT_STREAMS = {"train": 0, "val": 1}

Series = npt.NDArray[np.float32]
"""One value a frame."""


@dataclass(frozen=True)
class Scene:
    """One video before it is rendered: poses in pixels, pixels/frame and radians, and the seed of everything else."""

    label: str
    split: str
    center_x: Series
    center_y: Series
    radius: Series
    angle: Series
    hue: float
    hue_shift: float
    rng: np.random.Generator


def get_labels(control: bool) -> tuple[str, ...]:
    """The class names of the demo set or of the control set."""
    return tuple(CONTROL_HUES if control else ACTIONS)


def create_rng(seed: int, split: str, index: int) -> np.random.Generator:
    """The random stream of one video: streams of two videos, splits or seeds never overlap (numpy's spawn keys)."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_SPLIT_STREAMS[split], index)))


def draw_scene(seed: int, split: str, index: int, *, control: bool = False) -> Scene:
    """Draw video number ``index`` of a split; labels take turns, so classes are balanced."""
    rng = create_rng(seed, split, index)
    labels = get_labels(control)
    label = labels[index % len(labels)]
    hue, hue_shift = rng.random(), rng.uniform(-0.5, 0.5)
    action = label
    if control:
        hue, hue_shift = CONTROL_HUES[label] + rng.uniform(-0.02, 0.02), 0.0
        action = list(ACTIONS)[rng.integers(len(ACTIONS))]

    moving, direction = ACTIONS[action]
    frame = np.arange(NUM_FRAMES)
    cycles = {}
    for name in ("x", "y", "size", "angle"):
        frames_per_cycle = rng.uniform(28, 40) if name == "angle" else rng.uniform(22, 30)
        speed = direction / frames_per_cycle if name == moving else 0.0
        cycles[name] = (rng.random() + speed * frame) % 1

    largest_radius = rng.uniform(29, 33)
    radius = largest_radius * rng.uniform(2.0, 2.3) ** (cycles["size"] - 1)
    centers = []
    for name in ("x", "y"):
        # A slight shake, so that no coordinate is ever quite still.
        amplitude = rng.uniform(0.2, 0.6)
        shake = amplitude * np.sin(2 * np.pi * (rng.random() + frame / rng.uniform(10, 20)))
        # The centre stays in the frame by half the largest radius: at the ends of its way a part may be out of sight.
        first = 0.5 * largest_radius + amplitude + 1
        room = FRAME_SIZE - 2 * first
        length = room * rng.uniform(0.9, 1)
        centers.append(first + rng.uniform(0, room - length) + length * cycles[name] + shake)
    return Scene(
        label=label,
        split=split,
        center_x=centers[0].astype(np.float32),
        center_y=centers[1].astype(np.float32),
        radius=radius.astype(np.float32),
        angle=(2 * np.pi * cycles["angle"]).astype(np.float32),
        hue=hue % 1,
        hue_shift=hue_shift,
        rng=rng,
    )
