#!/bin/sh
# Exchanges files with Python: tests/io_python_test.cpp calls this with a folder of files that we wrote; Python checks them
# and leaves its own beside them. With a second argument, "plain", by its standard library alone and a reading of the two
# formats' definitions; without, by the packages safetensors and numpy. Exit 77: there is no such Python (the variable
# DREAMROAD_PYTHON names one that is not python3).
python=${DREAMROAD_PYTHON:-python3}
if [ "$2" = plain ]; then
  "$python" -c '' 2>/dev/null || exit 77
  exec "$python" - "$1" <<'END'
import ast, json, struct, sys

folder = sys.argv[1] + "/"

def ramp(n):
    return [i * 3 - 4 for i in range(n)]

# safetensors: u64 header length, JSON, data; offsets count from the data's start, and the data has no holes.
codes = {"F64": "d", "F32": "f", "I32": "i", "I64": "q", "U32": "I", "U8": "B", "BF16": "H"}
masks = {"U32": 2**32 - 1, "U8": 255}
raw = open(folder + "ours.safetensors", "rb").read()
length, = struct.unpack_from("<Q", raw)
header = json.loads(raw[8:8 + length])
data = raw[8 + length:]
assert header.pop("__metadata__") == {"step": "12", "n\u00e4me": "line\n\"quoted\""}
expected = {"f32": ("F32", [2, 3]), "f64": ("F64", [5]), "i32": ("I32", [4, 1, 2]), "i64": ("I64", [3]), "u32": ("U32", [3]),
            "u8": ("U8", [7]), "bf16": ("BF16", [6]), "empty": ("F32", [0, 3])}
assert set(header) == set(expected), set(header)
covered = 0
for name, (dtype, shape) in expected.items():
    entry, count = header[name], 1
    for side in shape:
        count *= side
    begin, end = entry["data_offsets"]
    assert entry["dtype"] == dtype and entry["shape"] == shape, (name, entry)
    values = list(struct.unpack("<%d%s" % (count, codes[dtype]), data[begin:end]))
    if dtype == "BF16":
        values = [struct.unpack("<f", struct.pack("<I", v << 16))[0] for v in values]
    assert values == [v & masks[dtype] if dtype in masks else v for v in ramp(count)], (name, values)
    covered += end - begin
assert covered == len(data), (covered, len(data))

# .npy, version 1: magic, u16 header length, a dict literal, data.
codes = {"float32": "<f4 f", "float64": "<f8 d", "int32": "<i4 i", "int64": "<i8 q", "uint32": "<u4 I", "uint8": "|u1 B"}
for name, (descr, code) in ((n, c.split()) for n, c in codes.items()):
    raw = open(folder + "ours_" + name + ".npy", "rb").read()
    assert raw[:8] == b"\x93NUMPY\x01\x00", raw[:8]
    length, = struct.unpack_from("<H", raw, 8)
    fields = ast.literal_eval(raw[10:10 + length].decode("latin1"))
    assert fields == {"descr": descr, "fortran_order": False, "shape": (3, 4)}, fields
    assert (10 + length) % 64 == 0
    mask = {"uint32": 2**32 - 1, "uint8": 255}.get(name, -1)
    assert list(struct.unpack("<12" + code, raw[10 + length:])) == [v & mask if mask > 0 else v for v in ramp(12)], name

# Theirs.
floats, bytes_ = struct.pack("<6f", *ramp(6)), struct.pack("<3q", *ramp(3))
header = json.dumps({"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
                     "\u00e4": {"dtype": "I64", "shape": [3], "data_offsets": [24, 48]},
                     "__metadata__": {"key": "\u20ac"}}).encode()
header += b" " * (-len(header) % 8)
open(folder + "theirs.safetensors", "wb").write(struct.pack("<Q", len(header)) + header + floats + bytes_)
text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
text += b" " * (-(len(text) + 11) % 64) + b"\n"
open(folder + "theirs.npy", "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + floats)
END
fi
"$python" -c 'import numpy, safetensors' 2>/dev/null || exit 77
exec "$python" - "$1" <<'END'
import sys
import numpy as np
import safetensors
from safetensors.numpy import load_file, save_file

folder = sys.argv[1] + "/"

# Ours: the values of every array are a function of the index, so that no file of expected values is needed.
def ramp(dtype, shape):
    return (np.arange(np.prod(shape)) * 3 - 4).astype(dtype).reshape(shape)

with safetensors.safe_open(folder + "ours.safetensors", "numpy") as f:
    assert f.metadata() == {"step": "12", "n\u00e4me": "line\n\"quoted\""}, f.metadata()
entries = dict(safetensors.deserialize(open(folder + "ours.safetensors", "rb").read()))
expected = {
    "f32": ("F32", ramp(np.float32, (2, 3)).tobytes()),
    "f64": ("F64", ramp(np.float64, (5,)).tobytes()),
    "i32": ("I32", ramp(np.int32, (4, 1, 2)).tobytes()),
    "i64": ("I64", ramp(np.int64, (3,)).tobytes()),
    "u32": ("U32", ramp(np.uint32, (3,)).tobytes()),
    "u8": ("U8", ramp(np.uint8, (7,)).tobytes()),
    "bf16": ("BF16", (ramp(np.float32, (6,)).view(np.uint32) >> 16).astype(np.uint16).tobytes()),
    "empty": ("F32", b""),
}
assert set(entries) == set(expected), set(entries)
for name, (dtype, data) in expected.items():
    assert entries[name]["dtype"] == dtype and bytes(entries[name]["data"]) == data, name
assert entries["i32"]["shape"] == [4, 1, 2] and entries["empty"]["shape"] == [0, 3]

for dtype in (np.float32, np.float64, np.int32, np.int64, np.uint32, np.uint8):
    a = np.load(folder + "ours_" + np.dtype(dtype).name + ".npy", allow_pickle=False)
    assert a.dtype == dtype and a.flags.c_contiguous and (a == ramp(dtype, (3, 4))).all(), dtype

# Theirs.
types = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"]
arrays = {t: ramp(t, (2, 5)) for t in types}
arrays["bool"] = np.array([True, False, True])
arrays["scalar"] = np.array(7.5)
arrays["a name with / and \u00e4"] = np.zeros((0, 4), np.float32)
save_file(arrays, folder + "theirs.safetensors", {"key": "value", "\u00e4": "\u20ac\t"})
for t in types + ["bool", "scalar"]:
    np.save(folder + "theirs_" + t + ".npy", arrays[t])
np.save(folder + "theirs_column_major.npy", np.asfortranarray(ramp("float64", (3, 4, 2))))
np.save(folder + "theirs_object.npy", np.array([{}, None], dtype=object), allow_pickle=True)
np.savez(folder + "theirs.npz", a=ramp("float32", (2,)))
for version in ((1, 0), (2, 0), (3, 0)):
    with open(folder + "theirs_version%d.npy" % version[0], "wb") as f:
        np.lib.format.write_array(f, ramp("int32", (5,)), version)
import pickle
with open(folder + "renamed_pickle.npy", "wb") as f:
    pickle.dump([1, 2, 3], f)
END
