"""Names of splits: train, training; val, validate, validation; test, testing."""

from collections.abc import Sequence

from videosoft.errors import InputError

_SYNONYMS = (
    ("train", "training"),
    ("val", "validate", "validation"),
    ("test", "testing"),
)


def list_synonyms(split: str) -> tuple[str, ...]:
    """All names of a split, its own first."""
    names = next((names for names in _SYNONYMS if split in names), ())
    return (split, *(name for name in names if name != split))


class SplitFilter:
    """Which rows of a list are wanted, and what else was in it."""

    def __init__(self, split: str) -> None:
        self.split = split
        self.accepted = frozenset(list_synonyms(split))
        self.seen: set[str] = set()

    def accepts(self, split: str) -> bool:
        """Whether rows of this split are wanted."""
        self.seen.add(split)
        return split in self.accepted

    def accepts_any(self, splits: Sequence[str]) -> bool:
        """Whether rows are wanted that serve as each of these splits."""
        self.seen.update(splits)
        return not self.accepted.isdisjoint(splits)

    def describe_nothing(self, path: object) -> InputError:
        """The error of a list that has no row of the split."""
        found = f"only of {sorted(self.seen)[:5]}" if self.seen else "no row at all"
        return InputError(f"{path} has no row of the split {self.split!r} (accepted: {sorted(self.accepted)}), {found}")
