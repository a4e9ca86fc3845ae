#!/bin/sh
# Exchanges files with Python's safetensors and NumPy: tests/io_python_test.cpp calls this with a folder of files that
# we wrote; Python checks them and leaves its own beside them. Exit 77: there is no Python with both packages (the
# variable PYTHON names one that is not python3).
python=${PYTHON:-python3}
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
