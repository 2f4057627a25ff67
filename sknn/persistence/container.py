"""The bytes of a file: arrays and a JSON document in one safetensors container, with a digest of both.

The document is `sknn`, the only entry of the container's metadata. The tensor `sha256` holds the digest of everything
else, which detects damage, not forgery. Every size in a file is compared with its number of bytes before it is used.
"""

import hashlib
import json
from typing import Any

import numpy as np

# Limits of the header, in bytes and brackets: parsed JSON takes up to fifty times its length, most of it for brackets.
MAX_DOCUMENT, MAX_BRACKETS = 64 << 20, 1 << 20
METADATA, DIGEST = "sknn", "sha256"
START = b'{"__metadata__":{"sknn":'  # of the header
DTYPES = {
    "BOOL": "bool",
    **{f"I{8 * n}": f"int{8 * n}" for n in (1, 2, 4, 8)},
    **{f"U{8 * n}": f"uint{8 * n}" for n in (1, 2, 4, 8)},
    **{f"F{8 * n}": f"float{8 * n}" for n in (2, 4, 8)},
}  # safetensors' names of the types that sknn writes, and numpy's

# The first bytes of other formats.
OTHER_FORMATS = {
    b"\x80": "a pickle (of pickle, joblib or cloudpickle), which can run any code; load it with the library that wrote "
    "it, if you trust its origin",
    b"PK\x03\x04": "a zip archive (of skops, torch.save or numpy.savez); load it with the library that wrote it",
    b"\x08": "a protocol buffer (such as an ONNX model, which onnxruntime can run)",
    b"\x89HDF": "an HDF5 file (such as a Keras model)",
    b"\x93NUMPY": "an array of numpy.save",
    b"\x1f\x8b": "a gzip archive",
    **{b"x" + level: "a compressed pickle (of joblib), which can run any code" for level in (b"\x01", b"^", b"\x9c")},
    b"{": "a JSON text",
}


class InvalidFileError(ValueError):
    """A file that can't be loaded: not from sknn, damaged, forged, of a newer version, or with a missing parameter."""


def pack(document: str, arrays: dict[str, np.ndarray]) -> bytes:
    """Return the bytes of a file.

    Raises
    ------
    ValueError
        If the document is longer than `unpack` accepts.
    """
    digest = np.frombuffer(_digest(document, arrays), dtype=np.uint8)
    data = import_safetensors().save(arrays | {DIGEST: digest}, {METADATA: document})
    if _is_too_large(data):
        raise ValueError(
            f"the model holds {len(document)} bytes of text besides its arrays (perhaps a vocabulary), but a file may "
            f"hold {MAX_DOCUMENT} bytes and {MAX_BRACKETS} brackets; make it smaller, for example with max_features"
        )
    return data


def _is_too_large(data: bytes) -> bool:
    size = int.from_bytes(data[:8], "little")
    return size > MAX_DOCUMENT or data.count(b"[", 8, 8 + size) + data.count(b"{", 8, 8 + size) > MAX_BRACKETS


def unpack(data: bytes) -> tuple[str, dict[str, np.ndarray]]:
    """Return the document and the arrays in the bytes of a file.

    Raises
    ------
    InvalidFileError
        If sknn did not write the file, or it was changed since.
    """
    if not data:
        raise InvalidFileError("is empty")
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > len(data) - 8:
        is_from_sknn = data[8:].startswith(START) or (len(data) > 8 and START.startswith(data[8:]))
        raise InvalidFileError("is cut off" if is_from_sknn else f"was not saved by sknn; {guess_format(data)}")
    if _is_too_large(data):
        raise InvalidFileError(
            f"has a header of {size} bytes; at most {MAX_DOCUMENT} bytes and {MAX_BRACKETS} brackets are allowed"
        )
    header = parse_json(data[8 : 8 + size].decode())
    if not isinstance(header, dict) or METADATA not in header.get("__metadata__", {}):
        raise InvalidFileError("is a safetensors file, but was not saved by sknn: its metadata has no entry 'sknn'")
    foreign = {entry.get("dtype") for name, entry in header.items() if name != "__metadata__"} - DTYPES.keys()
    if foreign:
        raise InvalidFileError(f"holds arrays of the types {sorted(map(str, foreign))}, which sknn does not write")
    document, library = header["__metadata__"][METADATA], import_safetensors()
    try:
        arrays = library.load(data)
    except Exception as error:  # SafetensorError, which is not a ValueError
        raise InvalidFileError(f"is cut off or damaged: {error}") from error
    digest = arrays.pop(DIGEST, np.zeros(0, dtype=np.uint8))
    if digest.tobytes() != _digest(document, arrays):
        raise InvalidFileError("is damaged: its content does not match its digest; copy or save it again")
    return document, {name: np.array(array) for name, array in arrays.items()}  # aligned, and independent of `data`


def guess_format(data: bytes) -> str:
    """Return a guess at the format of another file, from its first bytes."""
    formats = [description for start, description in OTHER_FORMATS.items() if data.startswith(start)]
    return f"it looks like {formats[0]}" if formats else "its format is unknown"


def parse_json(text: str) -> Any:
    """Parse standard JSON, without duplicate keys and NaN."""
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    except RecursionError:
        raise InvalidFileError("holds JSON that is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise InvalidFileError(f"is damaged: its JSON is invalid ({error})") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    items = dict(pairs)
    if len(items) < len(pairs):
        raise InvalidFileError("holds JSON with a duplicate key")
    return items


def _refuse_constant(name: str) -> None:
    raise InvalidFileError(f"holds {name}, which is not JSON")


def _digest(document: str, arrays: dict[str, np.ndarray]) -> bytes:
    digest = hashlib.sha256(document.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.digest()


def import_safetensors() -> Any:
    """Return the module `safetensors.numpy`, or raise an error that names the extra."""
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            "sknn.save and sknn.load need safetensors; install it with: pip install 'sknn[persistence]'"
        ) from error
    return safetensors.numpy
