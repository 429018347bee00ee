"""A reader of pickles of data: strings, numbers, lists, dicts and arrays of bytes, as CIFAR was published in.

``pickle`` calls what a file names, and a file of a few bytes can make it take gigabytes. Here the few instructions that
such data are made of are followed one by one: **nothing is imported or called**, and memory stays within a small
multiple of the file.
"""

import pickletools
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

MAX_INSTRUCTIONS = 2**20
"""Of a file; the largest one of CIFAR needs a quarter of that."""

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
"""Instructions that hold what they push."""
_CLOSE_A_MARK = {"TUPLE", "APPENDS", "SETITEMS"}


class NotDataError(Exception):
    """What a pickle does that is no data."""


class ByteArray(NamedTuple):
    """An array of ``uint8``, whose parts are as the file gives them."""

    shape: Any
    is_fortran: int
    content: str | bytes

    def values(self) -> UInt8[np.ndarray, "..."]:
        """The array itself.

        Raises:
            TypeError: The shape is not of whole numbers.
            ValueError: The bytes do not fill the shape.
        """
        content = self.content.encode("latin1") if isinstance(self.content, str) else self.content
        return np.frombuffer(content, np.uint8).reshape(self.shape, order="F" if self.is_fortran else "C")


class OtherArray:
    """An array of another type, or whose bytes have not followed yet."""


class _Name(str):
    """Something that a pickle wants imported."""


class _DType(str):
    """A data type by its code, such as ``u1``."""


def load_data(pickled: bytes) -> Any:
    """Read a pickle of data.

    Raises:
        NotDataError: It asks for anything else.
        Exception: It is broken, which can show in nearly any way.
    """
    stack: list[Any] = []
    marked: list[list[Any]] = []
    memo: dict[Any, Any] = {}
    value: Any
    for count, (opcode, value, _) in enumerate(pickletools.genops(pickled)):
        if count == MAX_INSTRUCTIONS:
            raise NotDataError(f"has more than {MAX_INSTRUCTIONS} instructions")
        items: list[Any] = []
        if opcode.name in _CLOSE_A_MARK:
            items, stack = stack, marked.pop()
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case name if name in _VALUES:
                stack.append(value)
            case name if name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "MARK":
                marked.append(stack)
                stack = []
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                memo[value] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[value])
            case "TUPLE":
                stack.append(tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                length = int(name[-1])
                stack[-length:] = [tuple(stack[-length:])]
            case "APPENDS":
                _extend(stack[-1], items)
            case "APPEND":
                _extend(stack[-2], [stack.pop()])
            case "SETITEMS":
                _update(stack[-1], items)
            case "SETITEM":
                _update(stack[-3], [stack.pop(-2), stack.pop()])
            case "GLOBAL":
                stack.append(_Name(value.replace(" ", ".")))
            case "STACK_GLOBAL":
                stack.append(_Name(".".join([stack.pop(-2), stack.pop()])))
            case "REDUCE":
                stack.append(_result_of(stack.pop(-2), stack.pop()))
            case "BUILD":
                stack.append(_filled(stack.pop(-2), stack.pop()))
            case "STOP":
                return stack.pop()
            case name:
                raise ValueError(f"unexpected instruction {name}")
    raise EOFError


def _extend(target: Any, items: list[Any]) -> None:
    if type(target) is not list:
        raise NotDataError("appends to something else than a list")
    target.extend(items)


def _update(target: Any, items: list[Any]) -> None:
    # a tuple of tuples of tuples can take for ever to be hashed
    if type(target) is not dict or not all(type(key) is str for key in items[::2]):
        raise NotDataError("holds a dict whose keys are no strings")
    target.update(zip(items[::2], items[1::2], strict=True))


def _result_of(name: Any, arguments: Any) -> Any:
    """What a call would give, of those that stand in pickles of arrays."""
    match name, arguments:
        case _Name("numpy.dtype"), (str(code), *_):
            return _DType(code)
        case _Name("numpy.core.multiarray._reconstruct" | "numpy._core.multiarray._reconstruct"), _:
            return OtherArray()
        case _Name("_codecs.encode"), (str(text), "latin1"):
            return text  # how Python 3 writes bytes in the protocol of Python 2
        case _Name("__builtin__.bytes"), ():
            return b""
        case _Name("_codecs.encode"), (_, str(encoding)):
            raise NotDataError(f"asks for the encoding {encoding!r:.40}")
        case _Name(), _:
            raise NotDataError(f"asks for {name:.80}, which could run code")
        case _:
            raise NotDataError("calls something that it does not name")


def _filled(target: Any, state: Any) -> Any:
    match target, state:
        case _DType(), _:
            return target  # it says in which order the bytes of a number are, and uint8 has one
        case OtherArray(), (_, tuple(shape), _DType("u1"), int(is_fortran), str(content) | bytes(content)):
            return ByteArray(shape, is_fortran, content)
        case OtherArray(), _:
            return target
        case _:
            raise NotDataError("fills in something else than an array")
