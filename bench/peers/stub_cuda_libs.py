#!/usr/bin/env python3
"""Lets PyPI's CUDA build of PyTorch be imported on a CPU without 2 GB of CUDA libraries.

libtorch_cuda.so names cuBLAS, cuDNN, NCCL and others as needed, so that the dynamic linker refuses to load PyTorch
without them, although no CPU operation calls into them. This script reads which they are and compiles, for each name,
a small shared object that defines every symbol PyTorch would look up there, under the symbol version it asks for. All
of them do the same: return 0. The CUDA runtime (libcudart) is a real one: PyTorch's static initialisers call it.

Run with the python of the environment that holds PyTorch. Does nothing when the stubs are already there.
"""

import pathlib
import subprocess
import sys
import sysconfig
import tempfile

VENDOR = ("libcu", "libnv", "libnccl")  # what NVIDIA's libraries are called
REAL = ("libcudart.so",)
LAZY = ("libcaffe2_nvrtc.so", "libtorch_cuda_linalg.so")  # opened when CUDA is first used: never, here


def output(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


def needed(library: pathlib.Path) -> set[str]:
    lines = output("objdump", "-p", str(library))
    return {line.split()[1] for line in lines if line.strip().startswith("NEEDED")}


def undefined(library: pathlib.Path) -> dict[str, str]:
    """Symbol name -> version asked for, or ''."""
    rows = (line.split() for line in output("nm", "-D", "--undefined-only", str(library)))
    names = (row[-1].partition("@") for row in rows if row[-2] == "U")
    return {name: version.lstrip("@") for name, _, version in names}


def defined(library: pathlib.Path) -> set[str]:
    return {line.split()[-1].split("@")[0] for line in output("nm", "-D", "--defined-only", str(library))}


def resolved(library: pathlib.Path) -> set[pathlib.Path]:
    rows = (line.split() for line in output("ldd", str(library)))
    return {pathlib.Path(row[2]) for row in rows if len(row) > 2 and row[1] == "=>" and row[2].startswith("/")}


def main() -> int:
    site = pathlib.Path(sysconfig.get_paths()["purelib"])
    torch = [p for p in (site / "torch/lib").glob("*.so*") if p.name not in LAZY]
    if not torch:
        print(f"stub_cuda_libs: no PyTorch under {site}", file=sys.stderr)
        return 2
    # PyTorch's run path lists this folder before any system folder, so the stubs are found without LD_LIBRARY_PATH.
    runtime = sorted(site.glob("nvidia/cu*/lib/libcudart.so.*"))
    if not runtime:
        print("stub_cuda_libs: the package nvidia-cuda-runtime is not installed", file=sys.stderr)
        return 2
    folder = runtime[0].parent

    wanted = {name for p in torch for name in needed(p) if name.startswith(VENDOR) and not name.startswith(REAL)}
    missing = sorted(name for name in wanted if not (folder / name).exists())
    if not missing:
        return 0

    # What nobody else defines must come from the missing libraries. Names of CPython's own are the interpreter's.
    others = {q for p in torch for q in resolved(p) if not q.name.startswith(VENDOR) or q.name.startswith(REAL)}
    have = set().union(*(defined(p) for p in set(torch) | others | set(runtime)))
    asked = {n: v for p in torch for n, v in undefined(p).items() if n not in have and not n.startswith(("Py", "_Py"))}
    with tempfile.TemporaryDirectory() as scratch:
        source, versions = pathlib.Path(scratch) / "stubs.s", pathlib.Path(scratch) / "stubs.map"
        labels = "".join(f".globl {n}\n.type {n}, @function\n{n}:\n" for n in sorted(asked))
        # One body for all names, followed by readable zeros: a name that is a variable reads as code bytes, never
        # faults.
        source.write_text(f'.text\n{labels}xorl %eax, %eax\nret\n.zero 4096\n.section .note.GNU-stack,"",@progbits\n')
        nodes = {v: [n for n in asked if asked[n] == v] for v in set(asked.values()) if v}
        versions.write_text("".join(f"{v} {{ global: {'; '.join(n)}; }};\n" for v, n in sorted(nodes.items())))
        for name in missing:
            command = [
                "gcc",
                "-shared",
                "-nostdlib",
                f"-Wl,-soname,{name}",
                f"-Wl,--version-script={versions}",
                "-o",
                str(folder / name),
                str(source),
            ]
            subprocess.run(command, check=True)
    print(f"stubbed {len(missing)} CUDA libraries ({len(asked)} names) in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
