"""`lightning card CHECKPOINT`: what a checkpoint was trained with."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import yaml

from videosoft.errors import InputError


def run_card(arguments: Sequence[str]) -> None:
    """Parse the arguments after ``card`` and print the checkpoint's card.

    Raises:
        InputError: there is no such checkpoint, or it has no card.
    """
    parser = argparse.ArgumentParser(prog="lightning card", description="What a checkpoint was trained with.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--json", action="store_true", help="the card as it is, for programs")
    parsed = parser.parse_args(arguments)
    # Here, not at the top: --help and wrong arguments need not wait for torch.
    from videosoft.models import format_card, read_weight_file

    card = read_weight_file(parsed.checkpoint).get("videosoft")
    if not isinstance(card, dict):
        raise InputError(f"{parsed.checkpoint} has no recipe card: it was not written by `lightning fit`.")
    try:
        text = json.dumps(card, indent=2) if parsed.json else format_card(card)
    except (AttributeError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"the recipe card of {parsed.checkpoint} is damaged: {error!r}") from error
    print(text)
