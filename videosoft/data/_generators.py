"""Random numbers of others' code, drawn from a generator of ours."""

import contextlib
from collections.abc import Iterator

import torch


def draw_seed(generator: torch.Generator) -> int:
    """A seed for :func:`seed_globals`."""
    return int(torch.randint(2**63 - 1, (), generator=generator))


@contextlib.contextmanager
def seed_globals(seed: int) -> Iterator[None]:
    """Within, torch's global CPU generator continues from a seed; after, from where it was.

    For torchvision's transforms, which take no generator.  The generators of other devices are left alone (they draw
    all their parameters on the CPU), unlike by ``torch.manual_seed``.
    """
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)
