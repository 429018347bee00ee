"""Safe reader of pickles that only contain data: strings, numbers, lists, dicts and byte arrays, as in CIFAR.

``pickle`` calls any function that a file names, and a file of a few bytes can make it allocate gigabytes. This reader
interprets only the few instructions that such data need. **Nothing is imported or called**, and memory stays within a
small multiple of the file size.
"""

import pickletools
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

MAX_INSTRUCTIONS = 2**20
"""Largest number of instructions in a file. The largest file of CIFAR needs a quarter of that."""

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
"""Instructions that push a value that they contain."""
_CLOSE_A_MARK = {"TUPLE", "APPENDS", "SETITEMS"}


class NotDataError(Exception):
    """A pickle does something else than describe data. The message continues the words "a pickle that"."""


class ByteArray(NamedTuple):
    """An array of ``uint8``, with its parts as they are in the file."""

    shape: Any
    is_fortran: int
    content: str | bytes

    def values(self) -> UInt8[np.ndarray, "..."]:
        """The array itself.

        Raises:
            TypeError: The shape does not consist of whole numbers.
            ValueError: The bytes do not fill the shape.
        """
        content = self.content.encode("latin1") if isinstance(self.content, str) else self.content
        return np.frombuffer(content, np.uint8).reshape(self.shape, order="F" if self.is_fortran else "C")


class OtherArray:
    """An array of another type, or an array whose bytes were not read yet."""


class _Name(str):
    """A name that a pickle wants to import."""


class _DType(str):
    """A data type by its code, such as ``u1``."""


def load_data(pickled: bytes) -> Any:
    """Read a pickle of data.

    Raises:
        NotDataError: The pickle contains something else than data.
        Exception: The pickle is damaged, which can raise nearly any error.
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
        raise NotDataError("appends to something that is not a list")
    target.extend(items)


def _update(target: Any, items: list[Any]) -> None:
    # hashing a deeply nested tuple could take forever
    if type(target) is not dict or not all(type(key) is str for key in items[::2]):
        raise NotDataError("contains a dict whose keys are not strings")
    target.update(zip(items[::2], items[1::2], strict=True))


def _result_of(name: Any, arguments: Any) -> Any:
    """Result of a call, for the calls that occur in pickles of arrays."""
    match name, arguments:
        case _Name("numpy.dtype"), (str(code), *_):
            return _DType(code)
        case _Name("numpy.core.multiarray._reconstruct" | "numpy._core.multiarray._reconstruct"), _:
            return OtherArray()
        case _Name("_codecs.encode"), (str(text), "latin1"):
            return text  # Python 3 writes bytes like this in the protocol of Python 2
        case _Name("__builtin__.bytes"), ():
            return b""
        case _Name("_codecs.encode"), (_, str(encoding)):
            raise NotDataError(f"asks for the encoding {encoding!r:.40}")
        case _Name(), _:
            raise NotDataError(f"asks for {name:.80}, which could run code")
        case _:
            raise NotDataError("calls something without a name")


def _filled(target: Any, state: Any) -> Any:
    match target, state:
        case _DType(), _:
            return target  # the state is the byte order, which does not matter for uint8
        case OtherArray(), (_, tuple(shape), _DType("u1"), int(is_fortran), str(content) | bytes(content)):
            return ByteArray(shape, is_fortran, content)
        case OtherArray(), _:
            return target
        case _:
            raise NotDataError("sets the state of something that is not an array")
