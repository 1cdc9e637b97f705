"""Lightning's own words on impossible configurations, as errors of the user's input."""

from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities.exceptions import MisconfigurationException

from videosoft.errors import InputError


@contextmanager
def configuration_errors_as_input_errors() -> Iterator[None]:
    """While a Trainer is made: a device or its package that is not there, a precision that does not exist.

    Raises:
        InputError: with Lightning's message.
    """
    try:
        yield
    except InputError:
        raise
    except (MisconfigurationException, ImportError, ValueError, TypeError) as error:
        raise InputError(str(error)) from error
