"""Maps that know nothing of the network, to hold a map against: the centre prior, motion, and their coarse versions."""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from videosoft.errors import InputError
from videosoft.explain.scores.maps import Map, check_map
from videosoft.explain.tube import upsample_map

__all__ = ["CENTRE_SIGMA", "compute_motion_map", "create_centre_prior", "see_at_grid"]

CENTRE_SIGMA = 0.25
"""Standard deviation of the centre prior, in sides of the frame."""


def create_centre_prior(size: tuple[int, int, int], sigma: float = CENTRE_SIGMA) -> Map:
    """Return a Gaussian in the middle of every frame: exp(-((y - 1/2)^2 + (x - 1/2)^2) / (2 sigma^2)), (T, H, W).

    ``size`` is (T, H, W); y and x run from 0 to 1 over the frame's height and width, so ``sigma`` is in sides of the
    frame. Whoever films puts what matters in the middle: a map that does no better than this needs no network.

    Raises InputError for a size or a sigma that is not positive.
    """
    if min(size) < 1 or not sigma > 0:
        raise InputError(f"the centre prior needs a positive size and sigma, got {size} and {sigma}")
    num_frames, height, width = size
    y, x = ((np.arange(side) + 0.5) / side - 0.5 for side in (height, width))
    frame = np.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / (2 * sigma**2))
    return np.tile(frame, (num_frames, 1, 1))


def compute_motion_map(pixels: npt.ArrayLike) -> Map:
    """Return how much each voxel changes: |I(t+1) - I(t-1)| / 2, the mean over channels, (T, H, W), of 0..255.

    ``pixels`` is the clip (C, T, H, W) of 0..255; the first and last frame are compared with their one neighbour. These
    are differences of frames, not optical flow: a moving camera, a drifting background, flicker and noise count too,
    and an even surface that moves counts at its edges only.

    Raises InputError for other axes, or a single frame.
    """
    clip = np.asarray(pixels, dtype=np.float64)
    if clip.ndim != 4 or clip.shape[1] < 2:
        raise InputError(f"pixels must be (C, T, H, W) with at least two frames, got {clip.shape}")
    return np.abs(np.gradient(clip, axis=1)).mean(axis=0)


def see_at_grid(values: npt.ArrayLike, grid: tuple[int, int, int]) -> Map:
    """Return a map as a layer with ``grid`` (t, h, w) cells would show it: averaged over the cells, then resampled.

    What a coarse map cannot express is taken from the reference as well: a centre prior seen at 2 x 2 cells is flat.
    The averages are those of adaptive average pooling, the resampling is :func:`upsample_map`.
    """
    map_ = check_map(values)
    cells = F.adaptive_avg_pool3d(torch.from_numpy(map_)[None], grid)
    return upsample_map(cells, map_.shape)[0].double().numpy()
