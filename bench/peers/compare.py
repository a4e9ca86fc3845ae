#!/usr/bin/env python3
"""Times dreamroad beside OpenBLAS, oneDNN and PyTorch on this processor, in turns.

    bench/peers/setup.sh && make && bench/peers/compare.py            (or: make bench-peers)

For each bench case that a peer can answer, and each thread count, a round times dreamroad once and every peer once, one
after the other, each for --seconds; rounds alternate in direction. A side's figure is the median over the rounds of its
median, so both sides see the same machine in the same minutes. A round in which other processes used the processor is
dropped and repeated, a limited number of times; a case that never had quiet rounds is marked. See README.md beside
this file.

What is compared with what stands in one table, RULES.
"""

import argparse
import json
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
Requests = list[str]  # answered one after the other; their times are added
# Large blocks of malloc lie in huge pages, ours and the peers' alike, as the blocks of dreamroad's arena do: with small
# ones, whatever waits for memory is up to twice as slow from one process to the next, by how its pages happen to lie.
PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


# ---- the table: dreamroad's case -> what to ask of each peer ----


class Case:
    """A case name, `M=1920,N=768,K=768,nt`, as fields (M, N, K) and words (nt)."""

    def __init__(self, name: str):
        parts = re.split(r",(?=[^)\]]*(?:[(\[]|$))", name)  # not at the commas inside (1920,768)
        self.fields = dict(p.split("=", 1) for p in parts if "=" in p)
        self.words = {p for p in parts if "=" not in p}

    def f32(self) -> bool:
        return not any(w in ("adversarial", "strided") or "bf16" in w for w in [*self.words, *self.fields.values()])

    def one(self, *names: str, otherwise: int | None = None) -> int:
        """The field of the first of these names that is there."""
        for name in names:
            if name in self.fields:
                return int(self.fields[name])
        if otherwise is None:
            raise KeyError(names[0])
        return otherwise

    def count(self) -> int:
        """Elements of a case named by its sizes: R=32768,C=768 or N=1000 or (4,5)."""
        sizes = [
            int(v)
            for k, v in self.fields.items()
            if v.isdigit() and k in ("N", "R", "C", "F", "S", "B", "T", "H", "W", "L")
        ]
        for word in self.words:
            sizes += [int(d) for d in re.findall(r"\d+", word)] if word.startswith(("(", "[")) else []
        if not sizes:
            raise KeyError("sizes")
        product = 1
        for size in sizes:
            product *= size
        return product


def gemm(m: int, n: int, k: int, ta: bool, tb: bool) -> str:
    return f"gemm m={m} n={n} k={k} layout={'nt'[ta]}{'nt'[tb]}"


def matmul(c: Case, backward: bool) -> dict[str, Requests]:
    m, n, k = c.one("M"), c.one("N"), c.one("K")
    layout = (c.words & {"nn", "nt", "tn", "tt"} or {"nn"}).pop()
    ta, tb = layout[0] == "t", layout[1] == "t"
    batch = c.one("B", otherwise=1)
    if batch != 1:
        return {}
    requests = [gemm(m, n, k, ta, tb)]
    if backward:  # a gradient has its operand's layout
        da = gemm(k, m, n, tb, True) if ta else gemm(m, k, n, False, not tb)
        db = gemm(n, k, m, True, ta) if tb else gemm(k, n, m, not ta, False)
        requests = [da, db]
    return {"openblas": requests, "onednn": requests, "torch": requests}


def conv2d(c: Case, backward: bool) -> dict[str, Requests]:
    def pair(name: str, otherwise: str) -> list[int]:  # 3 or 3x5
        text = c.fields.get(name, otherwise).split("x")
        return [int(text[0]), int(text[-1])]

    kernel, stride, dilation = pair("K", ""), pair("stride", "1"), pair("dilation", "1")
    if "+" in c.fields.get("pad", ""):  # before and after each axis: 0+1x0+1
        (top, bottom), (left, right) = [[int(p) for p in axis.split("+")] for axis in c.fields["pad"].split("x")]
    else:
        top, left = pair("pad", str(kernel[0] // 2))
        bottom, right = top, left
    request = (
        f"conv n={c.one('N')} h={c.one('H')} w={c.one('W')} c={c.one('C')} o={c.one('O')} "
        f"kh={kernel[0]} kw={kernel[1]} sh={stride[0]} sw={stride[1]} dh={dilation[0]} dw={dilation[1]} "
        f"top={top} left={left} bottom={bottom} right={right} groups={c.one('groups', otherwise=1)} "
        f"bias={int('no_bias' not in c.words)} pass={'bwd' if backward else 'fwd'}"
    )
    return {"onednn-conv": [request]}


def attention(c: Case, backward: bool) -> dict[str, Requests]:
    tokens, heads, width = c.one("S"), c.one("H"), c.one("D")
    frames = c.one("F") if "F" in c.fields else c.one("L") // tokens
    mask = f"anchors={c.one('A', otherwise=0)} window={c.one('W', otherwise=-1)} targets={c.one('T', otherwise=0)}"
    shape = f"b={c.one('B', otherwise=1)} frames={frames} tokens={tokens} heads={heads} width={width} {mask}"
    kind = "bwd" if backward else "fwd"
    return {"torch": [f"sdpa {shape} pass={kind} form=mask"], "torch-frames": [f"sdpa {shape} pass={kind} form=frames"]}


def transformer_block(c: Case, backward: bool) -> dict[str, Requests]:
    heads = c.one("H")
    shape = f"frames={c.one('F')} tokens={c.one('S')} heads={heads} width={c.one('C') // heads} hidden={c.one('M')}"
    request = f"transformer_block {shape} pass=fwdbwd"
    return {"torch": [f"{request} form=mask"], "torch-frames": [f"{request} form=frames"]}


def world(c: Case) -> str:
    heads = c.one("H")
    shape = f"anchors={c.one('A')} layers={c.one('layers')} heads={heads} width={c.one('C') // heads}"
    return f"{shape} hidden={c.one('M')} shared={c.one('shared')}"


def world_step(c: Case, backward: bool) -> dict[str, Requests]:
    """A pass with many targets is compared with the peer's pass with one, of as many frames but for the noised copies."""
    frames = c.one("N") + (c.one("T") if c.one("T") == 1 else 0)
    request = f"world_step {world(c)} clean={frames - 1} targets=1"
    return {"torch": [f"{request} form=mask"], "torch-frames": [f"{request} form=frames"]}


def world_frame(c: Case, backward: bool) -> dict[str, Requests]:
    request = f"world_frame {world(c)} clean={c.one('N')}"
    return {"torch": [f"{request} form=cache"], "torch-prefill": [f"{request} form=prefill"]}


def layernorm(c: Case, backward: bool) -> dict[str, Requests]:
    if c.words & {"no weight", "no bias"}:
        return {}
    return {"torch": [f"layernorm rows={c.one('R')} width={c.one('C')} pass={'bwd' if backward else 'fwd'}"]}


def gelu(c: Case, backward: bool) -> dict[str, Requests]:
    if "erf" in c.words:  # the peer's request is the tanh form
        return {}
    return {"torch": [f"gelu n={c.count()} pass={'bwd' if backward else 'fwd'}"]}


def resize2d(c: Case, backward: bool) -> dict[str, Requests]:
    n, h, w, channels = (int(d) for d in re.findall(r"\d+", next(v for v in c.words if v.startswith("("))))
    mode = (c.words & {"nearest", "bilinear"}).pop()
    shape = f"n={n} h={h} w={w} c={channels} oh={c.one('OH')} ow={c.one('OW')} mode={mode}"
    return {"torch": [f"resize {shape} pass={'bwd' if backward else 'fwd'} form=best"]}


def adamw(c: Case, backward: bool) -> dict[str, Requests]:
    return {"torch": [f"adamw n={c.count()} form=best"]}


def grid_sample(c: Case, backward: bool) -> dict[str, Requests]:
    shape = " ".join(f"{k.lower()}={c.one(k)}" for k in "NHWC")
    return {"torch": [f"grid_sample {shape} pass={'bwd' if backward else 'fwd'} form=best"]}


def deformable_attention(c: Case, backward: bool) -> dict[str, Requests]:
    shape = f"n={c.one('N')} q={c.one('Q')} heads={c.one('heads')} width={c.one('D')} points={c.one('P')}"
    kind = "bwd" if backward else "fwd"
    return {"torch": [f"deformable_attention {shape} levels={c.fields['levels']} pass={kind}"]}


def warp(op: str) -> Callable[[Case, bool], dict[str, Requests]]:
    def rule(c: Case, backward: bool) -> dict[str, Requests]:
        shape = " ".join(f"{k.lower()}={c.one(k)}" for k in "NHWC")
        return {"torch": [f"{op} {shape} pass={'bwd' if backward else 'fwd'}"]}

    return rule


# op -> (case, whether it is the backward pass) -> peer -> requests. An empty answer: no peer for this case.
RULES: dict[str, Callable[[Case, bool], dict[str, Requests]]] = {
    "matmul": matmul,
    "conv2d": conv2d,
    "attention": attention,
    "transformer_block": transformer_block,
    "world_step": world_step,
    "world_frame": world_frame,
    "layernorm": layernorm,
    "gelu": gelu,
    "resize2d": resize2d,
    "adamw": adamw,
    "grid_sample": grid_sample,
    "deformable_attention": deformable_attention,
    "inverse_warp": warp("inverse_warp"),
    "depth_warp": warp("depth_warp"),
}


# Of these memory is compared too: what the pass needs beside its inputs; of the world model all that there is.
HAVE_MEMORY = ("attention", "transformer_block", "world_step", "world_frame")


# ---- peers ----


class Fault(Exception):
    """Stops the comparison; one line for the user."""


class UnknownOp(Fault):
    """dreamroad's bench has no case of that name."""


def build(venv: pathlib.Path) -> None:
    """Compiles the peers in C++ into the environment's folder, where they are older than their sources."""
    out = venv / "peers"
    out.mkdir(exist_ok=True)
    common = ["g++", "-std=c++20", "-O2", "-Wall", "-Wextra", f"-I{ROOT}"]
    onednn = ["-fopenmp", f"-I{venv}/include", f"-L{venv}/lib", f"-Wl,-rpath,{venv}/lib", "-ldnnl"]
    libraries = {
        "openblas_gemm": ["-ldl"],
        "onednn_gemm": onednn,
        "onednn_conv": onednn,
        "memcpy_peak": ["-pthread"],
    }
    for name, flags in libraries.items():
        binary, source = out / name, HERE / f"{name}.cpp"
        sources = [source, HERE / "peer.h", HERE / "gemm.h"]
        if binary.exists() and binary.stat().st_mtime > max(s.stat().st_mtime for s in sources):
            continue
        done = subprocess.run(
            [*common, str(source), "-o", str(binary), *flags], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Fault(f"{name} does not compile:\n{done.stderr}")


class Peer:
    """A peer that keeps running and answers one line with one line."""

    def __init__(self, command: list[str], environment: dict[str, str]):
        self.process = subprocess.Popen(
            [*command, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **PAGES, **environment}
        )

    def ask(self, request: str) -> dict:
        try:
            self.process.stdin.write(request + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer = json.loads(line) if line.strip() else {"error": f"the peer ended with {self.process.wait()}"}
        if "error" in answer:
            raise Fault(f"peer, asked '{request}': {answer['error']}")
        return answer

    def cpu_seconds(self) -> float:
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.stdin.close()
        self.process.wait()


def start_peers(venv: pathlib.Path) -> dict[str, Peer]:
    python = venv / "bin/python"
    libraries = list(venv.glob("lib/python*/site-packages/scipy_openblas32/lib/libscipy_openblas.so"))
    if not python.exists() or not libraries:
        raise Fault(f"no peers in {venv}: run bench/peers/setup.sh")
    build(venv)
    torch = Peer([str(python), str(HERE / "torch_ops.py")], {})
    return {
        "openblas": Peer([str(venv / "peers/openblas_gemm")], {"PEER_OPENBLAS_LIBRARY": str(libraries[0])}),
        "onednn": Peer([str(venv / "peers/onednn_gemm")], {}),
        "onednn-conv": Peer([str(venv / "peers/onednn_conv")], {}),
        "torch": torch,
        "torch-frames": torch,
        "torch-prefill": torch,
        "memcpy": Peer([str(venv / "peers/memcpy_peak")], {}),
    }


# ---- dreamroad's side ----


class Ours:
    def __init__(self, binary: pathlib.Path, seconds: float):
        self.binary, self.seconds = binary, seconds
        self.peaks: dict[int, list[dict]] = {}  # threads -> one per run of bench

    def bench(self, threads: int, op: str, case: str = "", pass_: str = "", seconds: float | None = None) -> list[dict]:
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "bench.json"
            command = [
                str(self.binary),
                "bench",
                "--op",
                op,
                "--threads",
                str(threads),
                "--json",
                str(file),
                "--seconds",
                str(self.seconds if seconds is None else seconds),
            ]
            command += ["--case", case] if case else []
            command += ["--pass", pass_] if pass_ else []
            done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **PAGES})
            if done.returncode == 2:  # bad usage
                raise UnknownOp(f"{' '.join(command)}: {done.stderr.strip()[-300:]}")
            if done.returncode:
                raise Fault(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()[-300:]}")
            answer = json.loads(file.read_text())
        self.peaks.setdefault(threads, []).append(answer["peaks"])
        return answer["results"]


def has_op(binary: pathlib.Path, op: str) -> bool:
    """Whether bench knows the op. A bench that fails otherwise is a fault."""
    try:
        return bool(Ours(binary, 0).bench(1, op))
    except UnknownOp:
        return False


# ---- a quiet machine ----


class Watch:
    """How many processors other processes kept busy since start(), ours and the peers' own time taken off."""

    def __init__(self, peers: dict[str, Peer]):
        self.peers = list({id(p): p for p in peers.values()}.values())

    def own(self) -> float:
        spent = 0.0
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            usage = resource.getrusage(who)
            spent += usage.ru_utime + usage.ru_stime
        return spent + sum(p.cpu_seconds() for p in self.peers)

    @staticmethod
    def busy() -> float:
        first = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()
        user, nice, system, _idle, _iowait, irq, softirq, steal = (int(x) for x in first[1:9])
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")

    def start(self) -> None:
        self.at, self.busy_then, self.own_then = time.monotonic(), self.busy(), self.own()

    def foreign(self) -> float:
        return max(0.0, (self.busy() - self.busy_then) - (self.own() - self.own_then)) / (time.monotonic() - self.at)


# ---- one case ----


class Comparison:
    def __init__(self, options: argparse.Namespace, ours: Ours, peers: dict[str, Peer]):
        self.options, self.ours, self.peers, self.watch = options, ours, peers, Watch(peers)
        self.versions: dict[str, str] = {}

    def ask(self, peer: str, requests: Requests, common: str) -> dict:
        answers = [self.peers[peer].ask(f"{r} {common}") for r in requests]
        self.versions[peer] = answers[0]["version"]
        return {
            **answers[0],
            **{k: sum(a[k] for a in answers) for k in ("median_us", "p10_us", "p90_us", "flops", "bytes")},
        }

    def run(self, first: dict, threads: int, wanted: dict[str, Requests]) -> dict:
        o = self.options
        sets = first.get("sets") or (
            2 if first["gbps"] * first["median_us"] * 1e3 > 32e6 else 1
        )  # the rule of dreamroad's bench
        common = f"threads={threads} seconds={o.seconds} sets={sets}"
        for name, requests in wanted.items():
            self.ask(name, requests, f"threads={threads} seconds=0 sets={sets}")  # buffers, choice of the faster form

        def time_ours() -> dict:
            answers = self.ours.bench(threads, first["op"], first["case"], first.get("pass", ""))
            return next(a for a in answers if a["case"] == first["case"] and a.get("pass") == first.get("pass"))

        quiet: list[dict[str, dict]] = []
        noisy: list[tuple[float, dict[str, dict]]] = []
        while len(quiet) < o.rounds and len(quiet) + len(noisy) < 3 * o.rounds:
            steps = [("dreamroad", time_ours)]
            steps += [(name, lambda name=name, r=r: self.ask(name, r, common)) for name, r in wanted.items()]
            round_, foreign = {}, 0.0
            for name, step in steps if len(quiet) % 2 == 0 else reversed(steps):
                self.watch.start()
                round_[name] = step()
                foreign = max(foreign, self.watch.foreign())
            if foreign <= o.quiet:
                quiet.append(round_)
            else:
                noisy.append((foreign, round_))
        noisy.sort(key=lambda x: x[0])
        rounds = quiet + [r for _, r in noisy[: max(0, o.rounds - len(quiet))]]
        return self.summary(rounds, len(quiet), first, threads, wanted, sets)

    def summary(self, rounds: list[dict], quiet: int, first: dict, threads: int, wanted: dict, sets: int) -> dict:
        def over_rounds(name: str, key: str) -> float:
            return statistics.median(r[name][key] for r in rounds)

        mine = {key: over_rounds("dreamroad", key) for key in ("median_us", "p10_us", "p90_us")}
        result = {**first, "threads": threads, **mine, "sets": sets, "rounds": len(rounds), "quiet_rounds": quiet}
        scale = first["median_us"] / mine["median_us"] if mine["median_us"] else 1.0
        for key in ("tflops", "gbps", "fraction_of_peak"):
            result[key] = first[key] * scale
        result["peers"] = []
        for name in wanted:
            theirs = {key: over_rounds(name, key) for key in ("median_us", "p10_us", "p90_us")}
            ratios = sorted(r[name]["median_us"] / r["dreamroad"]["median_us"] for r in rounds)
            answer = rounds[0][name]
            result["peers"].append(
                {
                    "peer": name,
                    "version": answer["version"],
                    "form": answer["form"],
                    **theirs,
                    "tflops": answer["flops"] / theirs["median_us"] * 1e-6,
                    "gbps": answer["bytes"] / theirs["median_us"] * 1e-3,
                    "ratio": theirs["median_us"] / mine["median_us"],
                    "ratio_per_target": first.get("targets", 1) * theirs["median_us"] / mine["median_us"],
                    "ratio_range": [ratios[0], ratios[-1]],
                }
            )
        best = min(result["peers"], key=lambda p: p["median_us"])
        result["peer"], result["ratio_to_peer"] = best["peer"], best["ratio"]
        self.memory(result, first, threads, wanted)
        return result

    def memory(self, result: dict, first: dict, threads: int, wanted: dict[str, Requests]) -> None:
        """Where memory is part of the comparison: what the pass needs beside its inputs, and the peer's peak."""
        for peer, requests in wanted.items():
            if first["op"] not in HAVE_MEMORY or "memory_bytes" not in first:
                continue
            op, _, rest = requests[0].partition(" ")
            rest = rest.replace("pass=bwd", "pass=fwdbwd")  # saved tensors, gradients and scratch: needs both
            entry = next(p for p in result["peers"] if p["peer"] == peer)
            entry["peak_bytes"] = self.peers[peer].ask(f"memory of={op} {rest} threads={threads}")["peak_bytes"]


# ---- output ----


def processor() -> str:
    text = pathlib.Path("/proc/cpuinfo").read_text()
    found = re.search(r"^model name\s*: (.*)$", text, re.M)
    name = found[1] if found else "unknown"
    if not re.search(r"\d", name):  # hypervisors hide the number: family and model tell generations apart
        name += " family %s model %s" % tuple(
            re.search(rf"^{k}\s*: (\d+)$", text, re.M)[1] for k in ("cpu family", "model")
        )
    return name


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((r|tm)\)|cpu|processor", " ", name.lower())).strip("-")


def commit() -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "none"


def line(r: dict) -> str:
    def us(t: float) -> str:
        return f"{t:11.1f}"

    noisy = (
        ""
        if r["quiet_rounds"] == r["rounds"]
        else f"  ~ {r['rounds'] - r['quiet_rounds']} of {r['rounds']} rounds disturbed"
    )
    peers = ", ".join(f"{p['peer']} {p['median_us']:.1f} us (x {p['ratio']:.2f})" for p in r["peers"])
    return (
        f"{r['op']:<12} {r['case']:<32} {r.get('pass', ''):<8} {r['threads']}t | {us(r['median_us'])} us, "
        f"{r['p10_us']:.1f}-{r['p90_us']:.1f} | {r['tflops']:6.3f} TFLOP/s {r['gbps']:6.1f} GB/s "
        f"{100 * r['fraction_of_peak']:4.0f} % "
        f"| {peers}{noisy}"
    )


def markdown(results: list[dict], versions: dict[str, str], model: str) -> str:
    rows = [
        "| op | case | pass | threads | dreamroad, us | p10-p90 | % of peak | peer, us | peer time / ours |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for r in results:
        for p in r["peers"]:
            mark = "" if r["quiet_rounds"] == r["rounds"] else " ~"
            rows.append(
                f"| {r['op']} | {r['case']} | {r.get('pass', '')} | {r['threads']} "
                f"| {r['median_us']:.0f} | {r['p10_us']:.0f}-{r['p90_us']:.0f} "
                f"| {100 * r['fraction_of_peak']:.0f} | {p['peer']} {p['median_us']:.0f} | {p['ratio']:.2f}{mark} |"
            )
    names = "; ".join(f"{k}: {v}" for k, v in sorted(versions.items()))
    return (
        f"{model}. {names}. Above 1 dreamroad is faster. ~: other processes were running.\n\n" + "\n".join(rows) + "\n"
    )


def parse() -> argparse.Namespace:
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    p = argparse.ArgumentParser(description="dreamroad beside OpenBLAS, oneDNN and PyTorch on this processor, in turns")
    p.add_argument("--binary", type=pathlib.Path, default=ROOT / "build/dreamroad", help="default: build/dreamroad")
    p.add_argument(
        "--venv", type=pathlib.Path, default=cache / "dreamroad-peers", help="what setup.sh made (default: %(default)s)"
    )
    p.add_argument("--op", action="append", choices=sorted(RULES), help="this op only; may be given more than once")
    p.add_argument("--case", default="", help="this case only")
    p.add_argument("--threads", default="", help="thread counts, as 1,2 (default: 1 and the number of processors)")
    p.add_argument("--rounds", type=int, default=5, help="rounds a figure is the median of (default: %(default)s)")
    p.add_argument("--seconds", type=float, default=0.4, help="time of one timing (default: %(default)s)")
    p.add_argument(
        "--quiet",
        type=float,
        default=0.1,
        help="processors that others may keep busy in a round (default: %(default)s)",
    )
    p.add_argument("--json", type=pathlib.Path, help="default: bench/results/cpu-<processor>.json")
    p.add_argument("--markdown", type=pathlib.Path, help="also write the table as Markdown")
    o = p.parse_args()
    if o.rounds < 1 or o.seconds <= 0:
        p.error("--rounds and --seconds must be positive")
    available = len(os.sched_getaffinity(0))
    o.threads = [int(t) for t in o.threads.split(",")] if o.threads else sorted({1, available})
    if min(o.threads) < 1 or max(o.threads) > available:
        p.error(f"--threads: this machine offers 1 to {available}")
    return o


def main() -> int:
    o = parse()
    peers: dict[str, Peer] = {}
    results, unmatched = [], []
    try:
        if not o.binary.exists():
            raise Fault(f"{o.binary} is not there: run make build")
        peers = start_peers(o.venv)
        ours = Ours(o.binary, o.seconds)
        comparison = Comparison(o, ours, peers)
        copies = {t: peers["memcpy"].ask(f"copy mb=256 threads={t} seconds={o.seconds}") for t in o.threads}
        for op in o.op or RULES:
            if not has_op(o.binary, op):
                unmatched.append(op)
                continue
            for threads in o.threads:
                try:
                    cases = ours.bench(threads, op, o.case)
                except UnknownOp:  # it has the op, so it lacks --case
                    unmatched.append(f"{op} {o.case}")
                    continue
                for first in cases:
                    case = Case(first["case"])
                    try:
                        wanted = RULES[op](case, first.get("pass") == "backward") if case.f32() else {}
                    except KeyError as e:
                        raise Fault(f"{op}: the rule in compare.py finds no {e} in case '{first['case']}'") from None
                    if not wanted:
                        unmatched.append(f"{op} {first['case']}")
                        continue
                    results.append(comparison.run(first, threads, wanted))
                    print(line(results[-1]), flush=True)
    except Fault as e:
        print(f"compare.py: {e}", file=sys.stderr)
        return 2
    finally:
        for p in {id(p): p for p in peers.values()}.values():
            p.close()
    if unmatched:
        print("no peer, or not in bench: " + ", ".join(dict.fromkeys(unmatched)))
    if not results:
        print("compare.py: nothing was compared", file=sys.stderr)
        return 1

    top = {
        t: {k: statistics.median(p[k] for p in list_) for k in ("tflops", "gbps")} for t, list_ in ours.peaks.items()
    }
    for r in results:  # against the median peak of all runs, not that of one of them
        peak = top[r["threads"]]
        r["fraction_of_peak"] = max(r["tflops"] / peak["tflops"], r["gbps"] / peak["gbps"])
    model = processor()
    document = {
        "processor": model,
        "processors": os.cpu_count(),
        "commit": commit(),
        "rounds": o.rounds,
        "seconds": o.seconds,
        "quiet": o.quiet,
        "peaks": {**top[max(top)], "how": ours.peaks[max(top)][0].get("how", "")},
        "peaks_by_threads": top,
        "copy_gbps_of_peer": {t: c["bytes"] / c["median_us"] * 1e-3 for t, c in copies.items()},
        "peers": comparison.versions,
        "results": results,
    }
    out = o.json or ROOT / "bench/results" / f"cpu-{slug(model)}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=1) + "\n")
    if o.markdown:
        o.markdown.parent.mkdir(parents=True, exist_ok=True)
        o.markdown.write_text(markdown(results, comparison.versions, model))
    print(f"written to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
