"""The container: an unchanged file is unpacked, any other is refused."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import safe_open

from sknn.persistence import container
from sknn.persistence.container import DTYPES, guess_format, pack, parse_json, unpack

ARRAYS = {"b/weight": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array(7, dtype=np.int8)}
DOCUMENT = '{"x": "\\u00e4 \\" \\\\"}'


def header_of(data):
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def with_header(header, rest):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


names = st.text(min_size=1, max_size=20).filter(lambda name: name not in ("__metadata__", "sha256"))
arrays = hnp.arrays(
    st.sampled_from([np.dtype(name) for name in DTYPES.values()]), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)
)


@given(document=st.text(), content=st.dictionaries(names, arrays, max_size=4))
def test_unpack_inverts_pack(document, content):
    text, restored = unpack(pack(document, content))
    assert text == document
    assert restored.keys() == content.keys()
    for name, array in content.items():
        assert restored[name].dtype == array.dtype
        np.testing.assert_array_equal(restored[name], array)


def test_the_same_content_gives_the_same_bytes():
    assert pack(DOCUMENT, ARRAYS) == pack(DOCUMENT, dict(reversed(ARRAYS.items())))


def test_any_reader_of_safetensors_can_open_it(tmp_path):
    (tmp_path / "model.sknn").write_bytes(pack(DOCUMENT, ARRAYS))
    with safe_open(tmp_path / "model.sknn", framework="numpy") as file:
        assert file.metadata() == {"sknn": DOCUMENT}
        np.testing.assert_array_equal(file.get_tensor("b/weight"), ARRAYS["b/weight"])


def test_a_document_beyond_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(container, "MAX_DOCUMENT", 1000)
    with pytest.raises(ValueError, match="besides its arrays"):
        pack("x" * 1000, {})
    with pytest.raises(
        ValueError, match=r"has a header of 2000 bytes; at most 1000 bytes and \d+ brackets are allowed"
    ):
        unpack(with_header(b"{" * 2000, b""))


def test_a_document_with_too_many_brackets_is_refused():
    """An empty list takes three bytes in a file, and fifty times as many in memory."""
    with pytest.raises(ValueError, match="besides its arrays"):
        pack("[" + ",".join(["[]"] * container.MAX_BRACKETS) + "]", {})
    with pytest.raises(
        ValueError, match=r"has a header of \d+ bytes; at most \d+ bytes and 1048576 brackets are allowed"
    ):
        unpack(with_header(b"[" * (container.MAX_BRACKETS + 1), b""))


@pytest.mark.parametrize("index", range(0, 600, 7))
def test_every_flipped_bit_is_detected(index):
    data = bytearray(pack(DOCUMENT, ARRAYS))
    data[index % len(data)] ^= 1
    with pytest.raises(Exception):
        unpack(bytes(data))


@pytest.mark.parametrize("length", range(0, 300, 13))
def test_a_truncated_file_is_refused(length):
    with pytest.raises(Exception):
        unpack(pack(DOCUMENT, ARRAYS)[:length])


@pytest.mark.parametrize(
    ("size", "message"),
    [(1 << 62, "is cut off"), ((1 << 64) - 1, "is cut off"), (0, "its JSON is invalid"), (3, "its JSON is invalid")],
)
def test_the_declared_length_of_the_header_is_compared_with_the_file(size, message):
    data = size.to_bytes(8, "little") + pack(DOCUMENT, ARRAYS)[8:]
    with pytest.raises(ValueError, match=message):
        unpack(data)


@pytest.mark.parametrize(
    "entry",
    [
        {"shape": [1 << 40, 1 << 40]},
        {"shape": [-1]},
        {"data_offsets": [0, 1 << 60]},
        {"data_offsets": [40, 0]},
        {"dtype": "F4"},
        {"dtype": "BF16"},
        {"dtype": ["F32"]},
    ],
)
def test_wrong_sizes_and_types_in_the_header_are_refused(entry):
    header, rest = header_of(pack(DOCUMENT, ARRAYS))
    header["b/weight"] |= entry
    with pytest.raises(Exception):
        unpack(with_header(header, rest))


def test_a_duplicate_key_is_refused():
    header, rest = header_of(pack(DOCUMENT, ARRAYS))
    text = json.dumps(header)[:-1] + ', "a": ' + json.dumps(header["a"]) + "}"
    with pytest.raises(ValueError, match="JSON with a duplicate key"):
        unpack(with_header(text.encode(), rest))


def test_a_safetensors_file_of_another_library_is_refused():
    header, rest = header_of(pack(DOCUMENT, ARRAYS))
    for metadata in ({}, {"format": "pt"}):
        with pytest.raises(ValueError, match="is a safetensors file, but was not saved by sknn"):
            unpack(with_header(header | {"__metadata__": metadata}, rest))


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 1}', "NaN", "[Infinity]", "[" * 100_000, '{"a":' * 100_000, "9" * 5000]
)
def test_invalid_or_deeply_nested_json_is_refused(text):
    with pytest.raises(ValueError):
        parse_json(text)


@pytest.mark.parametrize(
    ("start", "description"),
    [
        (b"\x80\x05", "a pickle"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\x08\x0a", "ONNX"),
        (b"\x89HDF", "HDF5"),
        (b"hello", "unknown"),
    ],
)
def test_other_formats_are_recognised(start, description):
    assert description in guess_format(start + b"rest")
