"""A checkpoint's card as a page to read."""

from collections.abc import Mapping
from typing import Any

import yaml


def format_card(card: Mapping[str, Any]) -> str:
    """A card as a page of Markdown; what is not in it (an older checkpoint's) is left out."""
    model, size, data = card.get("model", {}), card.get("size", {}), card.get("data", {})
    lines = [f"# Recipe card: {_clean(model.get('name'))}", ""]
    facts: dict[str, Any] = {"network": model}
    if size:
        facts["parameters"] = f"{size['parameters']:,}"
        facts["multiply-adds"] = f"{size['multiply_adds']:,} for one clip"
        facts["input"] = " x ".join(map(str, size["input"])) + " (channels x frames x height x width)"
    for name, checkout in card.get("git", {}).items():
        state = "with changes" if checkout and checkout["is_dirty"] else "unchanged"
        facts[f"git, {name.replace('_', ' ')}"] = f"{checkout['revision']}, {state}" if checkout else "no checkout"
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in card.get("versions", {}).items() if version)
    for role, content in data.get("coverage", {}).items():
        manifest = data.get("manifest_hash", {}).get(role)
        facts[f"data, {role}"] = f"{content['num_found']} of {content['num_listed']} videos; manifest {manifest}"
    for name, value in card.get("preprocessing", {}).items():
        facts[f"preprocessing, {name}"] = value
    lines += ["| | |", "|---|---|", *(f"| {_clean(name)} | {_clean(value)} |" for name, value in facts.items())]
    class_names = card.get("class_names", [])
    lines += ["", f"## {len(class_names)} classes", "", ", ".join(map(_clean, class_names))]
    if recipe := card.get("recipe"):
        text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=False).rstrip()
        lines += ["", "## Recipe", "", *(f"    {line}" for line in text.splitlines())]
    return "\n".join(lines) + "\n"


def _clean(value: Any) -> str:
    """Text for one cell: a stranger's checkpoint may neither end the table nor steer the terminal."""
    text = "".join(character if character.isprintable() else " " for character in str(value))
    for special in ("\\", "|", "`", "<", "["):
        text = text.replace(special, "\\" + special)
    return text
