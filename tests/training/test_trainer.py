"""A limit of the trainer is a number of batches or a share of them, as it is written."""

import typing
from typing import Any

import pytest

from videosoft.training.trainer import Trainer
from videosoft.training.unknown_keys import NearestKeysParser

LIMITS = ("limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches")


@pytest.fixture(params=["int first", "float first"])
def kept_union(request: pytest.FixtureRequest) -> Any:
    """Python gives this union from now on, whichever order is asked for."""
    for forget in typing._cleanups:  # type: ignore[attr-defined]
        forget()
    first, second = (int, float) if request.param == "int first" else (float, int)
    return typing.Optional[typing.Union[first, second, None]]  # noqa: UP007, UP045


@pytest.mark.parametrize("given", ["1", "1.0", "0.5", "30", "0", "null"])
def test_a_limit_is_what_is_written(kept_union: Any, given: str) -> None:
    parser = NearestKeysParser()
    parser.add_class_arguments(Trainer, "trainer")
    expected = None if given == "null" else float(given) if "." in given else int(given)
    parsed = parser.parse_args([f"--trainer.{name}={given}" for name in LIMITS])
    written = parser.parse_string(parser.dump(parsed, skip_none=False))
    for trainer in (parsed.trainer, written.trainer):
        for name in LIMITS:
            assert trainer[name] == expected
            assert expected is None or isinstance(trainer[name], type(expected))


@pytest.mark.parametrize("given", ["1.5", "-0.5", "a few"])
def test_other_limits_are_refused(given: str) -> None:
    parser = NearestKeysParser(exit_on_error=False)
    parser.add_class_arguments(Trainer, "trainer")
    with pytest.raises(Exception, match="limit_val_batches"):
        parser.parse_args([f"--trainer.limit_val_batches={given}"])
