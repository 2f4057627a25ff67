"""The container: whole and unchanged, or refused, by the number of bytes there are."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import safe_open

from sknn.persistence import container
from sknn.persistence.container import DTYPES, pack, parse_json, unpack, what_it_looks_like

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
def test_what_is_packed_is_unpacked(document, content):
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
    with pytest.raises(ValueError, match=r"has a header of 2000 bytes; 1000 and \d+ brackets are read"):
        unpack(with_header(b"{" * 2000, b""))


def test_so_are_more_brackets_than_memory_is_kept_for():
    """An empty list takes three bytes of a file, and fifty times as many in memory."""
    with pytest.raises(ValueError, match="besides its arrays"):
        pack("[" + ",".join(["[]"] * container.MAX_BRACKETS) + "]", {})
    with pytest.raises(ValueError, match=r"has a header of \d+ bytes; \d+ and 1048576 brackets are read"):
        unpack(with_header(b"[" * (container.MAX_BRACKETS + 1), b""))


@pytest.mark.parametrize("at", range(0, 600, 7))
def test_no_flipped_bit_goes_unseen(at):
    data = bytearray(pack(DOCUMENT, ARRAYS))
    data[at % len(data)] ^= 1
    with pytest.raises(Exception):
        unpack(bytes(data))


@pytest.mark.parametrize("length", range(0, 300, 13))
def test_a_file_that_is_cut_off_is_refused(length):
    with pytest.raises(Exception):
        unpack(pack(DOCUMENT, ARRAYS)[:length])


@pytest.mark.parametrize(
    ("size", "message"),
    [(1 << 62, "is cut off"), ((1 << 64) - 1, "is cut off"), (0, "its JSON breaks off"), (3, "its JSON breaks off")],
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
def test_declared_sizes_and_types_are_not_believed(entry):
    header, rest = header_of(pack(DOCUMENT, ARRAYS))
    header["b/weight"] |= entry
    with pytest.raises(Exception):
        unpack(with_header(header, rest))


def test_a_key_that_occurs_twice_is_refused():
    header, rest = header_of(pack(DOCUMENT, ARRAYS))
    text = json.dumps(header)[:-1] + ', "a": ' + json.dumps(header["a"]) + "}"
    with pytest.raises(ValueError, match="JSON with a key twice"):
        unpack(with_header(text.encode(), rest))


def test_another_safetensors_file_is_told_apart():
    header, rest = header_of(pack(DOCUMENT, ARRAYS))
    for metadata in ({}, {"format": "pt"}):
        with pytest.raises(ValueError, match="is a safetensors file, but no model saved by sknn"):
            unpack(with_header(header | {"__metadata__": metadata}, rest))


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 1}', "NaN", "[Infinity]", "[" * 100_000, '{"a":' * 100_000, "9" * 5000]
)
def test_json_is_standard_and_shallow(text):
    with pytest.raises(ValueError):
        parse_json(text)


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\x80\x05", "a pickle"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\x08\x0a", "ONNX"),
        (b"\x89HDF", "HDF5"),
        (b"hello", "nothing"),
    ],
)
def test_other_files_are_recognised(start, kind):
    assert kind in what_it_looks_like(start + b"rest")
