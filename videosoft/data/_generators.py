"""Random numbers of others' code, drawn from a generator of ours."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def draw_globals_from(generator: torch.Generator) -> Iterator[None]:
    """Within, torch's global CPU generator continues from a seed that ``generator`` gives; after, from where it was.

    For torchvision's transforms, which take no generator.  The generators of other devices are left alone (they draw
    all their parameters on the CPU), unlike by ``torch.manual_seed``.
    """
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)
