"""Pickles and binary files in the place of CIFAR that would run code, take memory or time, or are of another kind."""

import pickle
import pickletools
import struct
import time

import numpy as np
import pytest
from hostile import peak_bytes

from lightning_edge.data.formats.cifar import read_cifar
from lightning_edge.data.formats.data_pickle import MAX_INSTRUCTIONS, load_data

ROWS = np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072)


def attempt(tmp_path, content, message):
    """Read some bytes as a file of CIFAR-10, which must be refused at once and in little memory."""
    (tmp_path / "test_batch").write_bytes(content)

    def read():
        with pytest.raises(ValueError, match=rf"^{tmp_path}/test_batch: {message}") as error:
            read_cifar(tmp_path, 10, "test")
        assert len(str(error.value)) < 600

    begin = time.process_time()
    peak = peak_bytes(read)
    assert time.process_time() - begin < 5
    return peak


def long(kind, text):
    return kind + struct.pack("<I", len(text)) + text


def nested_tuples(depth):
    """A tuple of tuples of tuples, each of which is twice in the next one: small, but endless to show or to hash."""
    return b")" + b"".join(b"\x94h" + bytes([number]) + b"\x86" for number in range(depth))


BOMBS = {
    "a memo index": b"\x80\x02Nr" + struct.pack("<I", 2**26) + b".",
    "the largest memo index": b"\x80\x02Nr" + b"\xff" * 4 + b".",
    "a memo index in digits": b"Np999999999\n.",
    "a long text": b"\x80\x02X" + b"\xff" * 4 + b"a.",
    "a text without an end": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"a.",
    "bytes without an end": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"a.",
    "an array of bytes without an end": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"a.",
    "a string without an end": b"\x80\x02T" + struct.pack("<i", 2**31 - 1) + b"a.",
    "a string of negative length": b"\x80\x02T" + struct.pack("<i", -5) + b"a.",
    "a number without an end": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"1.",
    "a frame without an end": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",
    "marks": b"\x80\x02" + b"(" * 10**4 + b".",
    "nested lists": b"\x80\x02" + b"]" * 10**4 + b"a" * (10**4 - 1) + b".",
    "sets": b"\x80\x04" + b"\x8f" * 10**4 + b".",
    "copies": b"\x80\x02]" + b"2" * 10**4 + b".",
    "endless tuples": b"\x80\x04" + nested_tuples(200) + b".",
    "endless tuples as a key": b"\x80\x04}" + nested_tuples(200) + b"Ns.",
    "endless tuples as a name": b"\x80\x04" + nested_tuples(200) + b"\x8c\x01a\x93.",
    "endless tuples that are called": b"\x80\x04" + nested_tuples(200) + b")R.",
    "endless tuples that are filled in": b"\x80\x04" + nested_tuples(200) + b"}b.",
    "endless tuples as an encoding": b"\x80\x04c_codecs\nencode\n\x8c\x01a" + nested_tuples(200) + b"\x86R.",
    "endless tuples as classes": b"\x80\x04}(\x8c\x04data)\x8c\x06labels](" + nested_tuples(200) + b"eu.",
    "copies of a text": b"\x80\x02c_codecs\nencode\nq\x00" + long(b"X", b"a" * 10**6) + b"q\x01" + long(b"X", b"latin1")
    + b"q\x02" + b"h\x00h\x01h\x02\x86R" * 1000 + b".",
    "an attribute of a function": b"\x80\x02c_codecs\nencode\nN}X\x04\x00\x00\x00codeNs\x86b.",
    "a name with dots": b"\x80\x04\x8c\x05numpy\x8c\x10dtype.__class__.x\x93.",
    "a persistent object": b"Pos.system\n.",
    "an extension": b"\x80\x02\x82\x01.",
    "an instance": b"(iposix\nsystem\n.",
    "an object": b"\x80\x02(cposix\nsystem\no.",
    "a new object": b"\x80\x02cposix\nsystem\n)\x81.",
    "nothing before the end": b"\x80\x02.",
    "too little to fill in": b"\x80\x02b.",
    "no end": b"\x80\x02N",
    "a protocol to come": b"\x80\x63N.",
    "zeros": bytes(1000),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_pickle_takes_no_more_than_it_has(bomb, tmp_path):
    content = BOMBS[bomb]
    assert attempt(tmp_path, content, "(cannot be read|expected)") < 60 * len(content) + 2**21


def test_more_instructions_than_any_data_set_needs_are_refused(tmp_path, monkeypatch):
    """A file of some megabytes could else take a hundred times of that."""
    assert MAX_INSTRUCTIONS == 2**20
    monkeypatch.setattr("lightning_edge.data.formats.data_pickle.MAX_INSTRUCTIONS", 1000)
    attempt(
        tmp_path, b"\x80\x02]" + b"N" * 1000 + b".", "expected .* got a pickle that has more than 1000 instructions"
    )


WHOLE = "expected whole numbers as 'labels'"
RANGE = r"expected classes within \[0, 10\)"
LABELS = {
    "10^30": ([0, 10**30], RANGE),
    "10^600": ([0, 10**600], RANGE),
    "10^5000": ([0, 10**5000], "cannot be read"),
    "-1": ([-1, 0], f"{RANGE}, got -1 to 0"),
    "10": ([0, 10], f"{RANGE}, got 0 to 10"),
    "truth": ([True, False], WHOLE),
    "fractions": ([0.0, 1.0], WHOLE),
    "texts": (["0", "1"], WHOLE),
    "long texts": (["0" * 10**6] * 2, WHOLE),
    "none": ([None, 0], WHOLE),
    "lists": ([[0], [1]], WHOLE),
    "a tuple": ((0, 1), "expected 'data' of uint8 .* got {'data': .*, 'labels': 'tuple'}"),
    "an array": (np.array([0, 1], np.uint8), "expected 'data' of uint8"),
    "too many": ([0, 1, 2], "expected 'data' of uint8 .* and as many 'labels'"),
}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("kind", LABELS)
def test_classes_that_are_none_are_named(kind, protocol, tmp_path):
    labels, message = LABELS[kind]
    attempt(tmp_path, pickle.dumps({"data": ROWS, "labels": labels}, protocol), message)


ARRAY = "expected 'data' of uint8"
PIXELS = {
    "1-d": (ROWS.ravel(), ARRAY),
    "3-d": (ROWS.reshape(2, 3, 1024), ARRAY),
    "of images": (ROWS.reshape(2, 3, 32, 32), ARRAY),
    "floats": (ROWS.astype(np.float32), ARRAY),
    "signed": (ROWS.astype(np.int8), ARRAY),
    "two bytes": (ROWS.astype(np.uint16), ARRAY),
    "objects": (ROWS.astype(object), ARRAY),
    "fields": (ROWS.view([("red", "u1")]), "expected|cannot be read"),
    "a list": (ROWS.tolist(), ARRAY),
    "bytes": (ROWS.tobytes(), ARRAY),
    "nothing": (None, ARRAY),
}


@pytest.mark.parametrize("kind", PIXELS)
def test_pixels_that_are_none_are_named(kind, tmp_path):
    pixels, message = PIXELS[kind]
    attempt(tmp_path, pickle.dumps({"data": pixels, "labels": [0, 1]}, 2), message)


def test_no_image_is_named(tmp_path):
    empty = {"data": ROWS[:0], "labels": []}
    attempt(tmp_path, pickle.dumps(empty, 2), "expected one image or more, got none")
    (tmp_path / "test_batch").unlink()
    (tmp_path / "test_batch.bin").touch()
    with pytest.raises(ValueError, match=r"test_batch\.bin: expected one image or more, got none"):
        read_cifar(tmp_path, 10, "test")


def test_another_shape_than_the_bytes_fill_is_named(tmp_path):
    content = pickle.dumps({"data": ROWS, "labels": [0, 1]}, 2)
    fewer = content.replace(struct.pack("<H", 3072), struct.pack("<H", 3071), 1)
    assert fewer != content
    attempt(tmp_path, fewer, ARRAY)
    three = content.replace(b"K\x02M\x00\x0c", b"K\x03M\x00\x0c", 1).replace(b"K\x00K\x01e", b"K\x00K\x01K\x01e", 1)
    attempt(tmp_path, three, "cannot be read .*reshape")


@pytest.mark.parametrize("protocol", range(1, 5))
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("optimized", [True, False])
def test_pickles_of_every_protocol_are_read_as_by_python(protocol, order, optimized, tmp_path):
    """Whole archives, as someone may have written them anew."""
    content = {
        "batch_label": "testing batch 1 of 1", "labels": [3, 9], "data": np.asarray(ROWS, order=order),
        "filenames": ["é.png", "b.png"],
        "nested": {"a": [], "b": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), 2**40, -1.5, True, None)},
    }  # fmt: skip
    pickled = pickle.dumps(content, protocol)
    pickled = pickletools.optimize(pickled) if optimized else pickled
    actual = load_data(pickled)
    assert np.array_equal(actual.pop("data").values(), content.pop("data"))
    assert actual == content
    (tmp_path / "test_batch").write_bytes(pickled)
    images, labels = read_cifar(tmp_path, 10, "test")
    assert np.array_equal(images, ROWS.reshape(2, 3, 32, 32).transpose(0, 2, 3, 1))
    assert labels.tolist() == [3, 9]
