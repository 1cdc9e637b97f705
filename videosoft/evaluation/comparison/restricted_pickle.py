"""Pickles of strangers, of which only plain containers, numbers, NumPy arrays and torch tensors come in.

A pickle is a program that may call any function it names.  Here the only names that it may use are those below, each
of which stands for a function of this file that checks what it is given; anything else is refused before it is looked
up, let alone called.  Storages of tensors go through ``torch.load(weights_only=True)``.
"""

import collections
import io
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from videosoft.errors import InputError

_DTYPE_KINDS = "biuf"
_REPORTED_ERRORS = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
)


def load_restricted_pickle(path: str | Path) -> Any:
    """Read a pickle of plain containers, numbers, arrays and tensors; :func:`read_array` gives the arrays in it.

    Raises:
        InputError: the file cannot be read, is damaged, or asks for anything else.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _Unpickler(file).load()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except _REPORTED_ERRORS as error:
        raise InputError(f"{path} is a damaged pickle: {str(error) or type(error).__name__}") from None


def read_array(value: Any) -> npt.NDArray[Any] | None:
    """The array behind a value of a restricted pickle: an array, a tensor, or a number; None if it is something else.

    Raises:
        InputError: the array contradicts itself.
    """
    if isinstance(value, bool | int | float):
        return np.asarray(value)
    if isinstance(value, _Array | _Tensor):
        try:
            return value.read()
        except _REPORTED_ERRORS as error:
            raise InputError(f"a damaged array: {str(error) or type(error).__name__}") from None
    return None


class _Array:
    """Takes the place of numpy.ndarray: keeps what the pickle says, and makes an array of it by checked steps."""

    def __init__(self) -> None:
        self._state: tuple[Any, ...] = ()

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("an array's state is not one of NumPy's")
        self._state = state[1:]

    def read(self) -> npt.NDArray[Any]:
        shape, dtype, is_fortran, content = self._state
        return _create_array(content, dtype, shape, "F" if is_fortran else "C")


class _DType:
    """Takes the place of numpy.dtype: numbers and booleans of a fixed size."""

    def __init__(self, code: Any, *_: Any) -> None:
        dtype = np.dtype(code) if isinstance(code, str) and len(code) < 4 else None
        if dtype is None or dtype.kind not in _DTYPE_KINDS:
            raise pickle.UnpicklingError(f"arrays of {code!r}, not of numbers")
        self.dtype = dtype

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("a number type's state is not one of NumPy's")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Tensor:
    """Takes the place of a tensor: its storage is read when it is asked for, since dumps hold more than is needed."""

    def __init__(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> None:
        if not isinstance(storage, _Storage):
            raise pickle.UnpicklingError("a tensor without a storage")
        self._parts = (storage, offset, size, stride)

    def read(self) -> npt.NDArray[Any]:
        storage, offset, size, stride = self._parts
        values = storage.read()
        numbers = [offset, *size, *stride]
        if len(size) != len(stride) or not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError(f"a tensor of size {size} and stride {stride}")
        last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        if math.prod(size) and (last >= values.numel() or math.prod(size) > values.numel()):
            raise ValueError(f"a tensor of size {size} in a storage of {values.numel()} numbers")
        if not math.prod(size):
            return np.empty(size)
        tensor = torch.as_strided(values, size, stride, offset)
        return tensor.to(torch.float32).numpy() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor.numpy()


class _Storage:
    """Takes the place of a tensor's memory: bytes that torch.save wrote."""

    def __init__(self, content: Any) -> None:
        if not isinstance(content, bytes):
            raise pickle.UnpicklingError("a storage that is no bytes")
        self._content = content

    def read(self) -> torch.Tensor:
        try:
            storage = torch.load(io.BytesIO(self._content), map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            # torch's own words say how to load it all the same
            raise ValueError("a tensor whose storage is damaged, or holds more than numbers") from None
        if not isinstance(storage, torch.storage.TypedStorage):
            raise ValueError("a tensor whose storage is none")
        return torch.empty(0, dtype=storage.dtype).set_(storage._untyped_storage)


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _create_from_buffer(content: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", content))
    return array


def _create_scalar(dtype: Any, content: Any) -> int | float | bool:
    scalar: int | float | bool = _create_array(content, dtype, (), "C").item()
    return scalar


def _create_array(content: Any, dtype: Any, shape: Any, order: str) -> npt.NDArray[Any]:
    if not isinstance(dtype, _DType) or not isinstance(content, bytes | bytearray):
        raise ValueError("an array of no numbers")
    if not isinstance(shape, tuple) or not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError(f"an array of shape {shape!r}")
    if len(content) != math.prod(shape) * dtype.dtype.itemsize:
        raise ValueError(f"an array of shape {shape} in {len(content)} bytes")
    return np.frombuffer(content, dtype.dtype).reshape(shape, order="F" if order == "F" else "C")


def _encode_latin1(text: Any, encoding: Any) -> bytes:
    # How protocol 2 spells bytes, but for none at all.
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError(f"a text encoded as {encoding!r}")
    return text.encode("latin1")


def _create_no_bytes() -> bytes:
    return b""


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("_codecs", "encode"): _encode_latin1,
    ("__builtin__", "bytes"): _create_no_bytes,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    **{
        (f"numpy.{core}.{module}", name): function
        for core in ("core", "_core")  # up to NumPy 1 and from 2 on
        for module, name, function in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("multiarray", "scalar", _create_scalar),
            ("numeric", "_frombuffer", _create_from_buffer),
        )
    },
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch.storage", "_load_from_bytes"): _Storage,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        allowed = _ALLOWED.get((module, name))
        if allowed is None:
            raise InputError(
                f"the pickle asks for {module}.{name}, which predictions do not need: refused. Numbers, texts, lists, "
                "dicts, NumPy arrays and torch tensors are read"
            )
        return allowed
