"""What the table of scores calls maps that no trained network made, and what maps are held against."""

__all__ = [
    "BOX",
    "CENTRE_PRIOR",
    "EVEN_MAP",
    "MOTION",
    "RANDOM_MAP",
    "is_fresh",
    "name_at_grid",
    "name_fresh_weights",
]

EVEN_MAP = "even map"
CENTRE_PRIOR = "centre prior"
RANDOM_MAP = "random map"
BOX = "true box"
MOTION = "motion"


def name_at_grid(reference: str, subject: str) -> str:
    """Return what a reference is called when it is seen at the grid of a subject's map."""
    return f"{reference} at {subject}'s grid"


def name_fresh_weights(subject: str, layer: str | None = None) -> str:
    """Return what a subject is called with all weights drawn anew, or with those from the output down to ``layer``."""
    return f"{subject}, fresh weights" if layer is None else f"{subject}, fresh down to {layer}"


def is_fresh(name: str, subject: str) -> bool:
    """Return whether ``name`` is one of :func:`name_fresh_weights` of the subject."""
    return name.startswith(f"{subject}, fresh ")
