"""Which class of which model a video is asked about, from one wish for all videos and models."""

from collections.abc import Sequence
from dataclasses import dataclass

from videosoft.errors import InputError
from videosoft.explain.class_names import find_class, parse_class
from videosoft.explain.export.models import ExplainedModel
from videosoft.explain.export.video_list import ListedVideo
from videosoft.explain.targets import Target
from videosoft.explain.tube import SaliencyTube

__all__ = ["RUNNER_UP", "TargetMissingError", "TargetPolicy"]

RUNNER_UP = "runner_up"


class TargetMissingError(Exception):
    """A model does not have the class that a video is asked about; the message says which."""


@dataclass(frozen=True)
class TargetPolicy:
    """What is explained of each video.

    ``target`` is "prediction" (the first model's), "label", or a class name or index of the first model; ``versus`` is
    None, "runner_up" (the first model's next best class), or a class name or index of the first model. The first model
    decides, and the second is asked about the same classes, matched by name.

    Raises InputError for a class that a model does not have, and for a class against itself.
    """

    models: Sequence[ExplainedModel]
    target: str = "prediction"
    versus: str | None = None

    def __post_init__(self) -> None:
        for model in self.models:
            fixed = [self._find(name, model) for name in (self.target_name, self.versus_name) if name is not None]
            if len(fixed) == 2 and fixed[0] == fixed[1]:
                raise InputError(f"class {self.target_name!r} cannot be told apart from itself: name another one")

    @property
    def target_name(self) -> str | None:
        """The class that all videos are asked about; None where it depends on the video."""
        return None if self.target in ("prediction", "label") else self._parse(self.target)

    @property
    def versus_name(self) -> str | None:
        """The class that all videos are compared with; None where there is none or it depends on the video."""
        return None if self.versus in (None, RUNNER_UP) else self._parse(str(self.versus))

    def check_labels(self, videos: Sequence[ListedVideo]) -> None:
        """Raise InputError when labels are asked for and none of them is a class of all models."""
        if self.target != "label":
            return
        problems: dict[str, InputError] = {}
        for video in videos:
            if video.label_name in problems:
                continue
            try:
                for model in self.models:
                    self._find(video.label_name, model)
                return
            except InputError as error:
                problems[video.label_name] = error
        first = videos[0]
        raise InputError(f"no label is a class of all models; the label of {first.path}: {problems[first.label_name]}")

    def choose_first(self, video: ListedVideo) -> Target:
        """Return what the first model is asked about a video.

        Raises TargetMissingError when its label is not among the model's classes, or is the class to compare with.
        """
        first = self.models[0]
        name = video.label_name if self.target == "label" else self.target_name
        index = None if name is None else self._find_or_miss(name, first)
        versus: int | str | None = self.versus
        if self.versus_name is not None:
            versus = self._find(self.versus_name, first)
            if versus == index:
                raise TargetMissingError(f"the label {name!r} is the class that it should be compared with")
        return Target(index, versus)  # type: ignore[arg-type]

    def choose_next(self, model: ExplainedModel, tube: SaliencyTube) -> Target:
        """Return what another model is asked, given the first one's tube.

        Raises TargetMissingError when it does not have one of the classes.
        """
        names = self.models[0].class_names
        index = self._find_or_miss(names[tube.target], model)
        return Target(index, None if tube.versus is None else self._find_or_miss(names[tube.versus], model))

    def _parse(self, text: str) -> str:
        first = self.models[0]
        return parse_class(text, first.class_names, owner=str(first.path))

    def _find(self, name: str, model: ExplainedModel) -> int:
        return find_class(name, model.class_names, owner=str(model.path))

    def _find_or_miss(self, name: str, model: ExplainedModel) -> int:
        try:
            return self._find(name, model)
        except InputError as error:
            raise TargetMissingError(f"{model.path} has no class {name!r}") from error
