"""Measures throughput, latency and memory of `serve` under load; with --torchserve TorchServe under the same load.

    python3 bench/serve/load.py --model MODEL_DIR --data data/banking77/test.csv [--torchserve PYTHON]

The requests are real texts, one per request, in random order; `oha` sends them over loopback. Servers run one at a
time. Prints a table in Markdown and writes the figures of each run to --out as JSON.
"""

import argparse
import csv
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import client


def memory(pid, field="VmRSS"):
    """Memory of a process and its descendants, MiB."""
    found, parents = {}, {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        one = int(status.parent.name)
        parents[one] = int(re.search(r"^PPid:\t(\d+)$", text, re.M)[1])
        kib = re.search(rf"^{field}:\s+(\d+)", text, re.M)
        found[one] = int(kib[1]) if kib else 0

    def ours(one):
        while one not in (pid, 0, None):
            one = parents.get(one)
        return one == pid

    return sum(kib for one, kib in found.items() if ours(one)) / 1024


def post(url, text):
    request = urllib.request.Request(url, text.encode(), {"Content-Type": "text/plain"})
    return json.load(urllib.request.urlopen(request, timeout=60))


def until(ready, seconds=120):
    for _ in range(seconds * 10):
        try:
            if ready():
                return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit("the server did not start")


class Serve:
    """Gradus."""

    name = "gradus"

    def __init__(self, args, _work):
        flags = ["--model", f"m={args.model}", "--port", "0", "--json", "-q", *args.flags]
        self.process = subprocess.Popen([args.serve, *flags], stdout=subprocess.PIPE, text=True)
        self.root = json.loads(self.process.stdout.readline())["url"]
        self.url = f"{self.root}/predictions/m"

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


class TorchServe:
    """TorchServe with `handler.py`; batches as large as the load, and a short delay."""

    name = "torchserve"

    def __init__(self, args, work):
        tools = Path(args.torchserve).parent
        archive = ["--model-name", "m", "--version", "1.0", "--handler", Path(__file__).parent / "handler.py"]
        store = work / "store"
        store.mkdir()
        subprocess.run([tools / "torch-model-archiver", *archive, "--export-path", store], check=True)
        models = {"m": {"1.0": {
            "marName": "m.mar", "minWorkers": args.workers, "maxWorkers": args.workers, "defaultVersion": True,
            "batchSize": args.batch_size, "maxBatchDelay": args.batch_delay, "responseTimeout": 120,
        }}}
        (work / "config.properties").write_text(
            "inference_address=http://127.0.0.1:18080\nmanagement_address=http://127.0.0.1:18081\n"
            "metrics_address=http://127.0.0.1:18082\ndisable_token_authorization=true\nload_models=m.mar\n"
            f"job_queue_size=1000\nmodels={json.dumps(models)}\n"
        )
        environment = os.environ | {
            "EMBEDDER_MODEL": str(Path(args.model).resolve()), "LOG_LOCATION": str(work),
            "EMBEDDER_THREADS": str(max(1, os.cpu_count() // args.workers)),
            "METRICS_LOCATION": str(work), "PATH": f"{tools}:{os.environ['PATH']}",
        }
        command = [tools / "torchserve", "--start", "--foreground", "--model-store", store, "--ts-config",
                   work / "config.properties"]
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, start_new_session=True
        )
        self.url = "http://127.0.0.1:18080/predictions/m"
        until(lambda: post(self.url, "ready?"))

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait()


def oha(args, url, bodies, seconds, concurrency, rate):
    """The load by oha: the median and p99 latency in seconds, the counts of codes and errors, the seconds it took."""
    command = [args.oha, "--no-tui", "--output-format", "json", "-z", f"{seconds}s", "-c", str(concurrency),
               "-m", "POST", "-T", "text/plain", "-Z", bodies, "-t", "60s", "--wait-ongoing-requests-after-deadline"]
    if rate:
        # Requests are sent when they are due, answered or not; latency counts from then.
        command += ["-q", str(round(rate)), "--latency-correction"]
    done = subprocess.run([*command, url], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    said = json.loads(done.stdout)
    codes, percentiles = said["statusCodeDistribution"], said["latencyPercentiles"]
    return percentiles["p50"], percentiles["p99"], codes | said["errorDistribution"], said["summary"]["total"]


def loaded(args, server, bodies, seconds, concurrency, rate=None):
    """Runs one load and prints its row of the table; the figures."""
    if args.oha:
        p50, p99, codes, took = oha(args, server.url, bodies, seconds, concurrency, rate)
    else:
        lines = bodies.read_text().splitlines()
        latencies, codes, took = client.load(server.url, lines, seconds, concurrency, rate)
        p50, p99 = statistics.median(latencies), latencies[int(len(latencies) * 0.99)]
    bad = {code: n for code, n in codes.items() if code != "200"}
    found = {
        "server": server.name, "concurrency": concurrency, "rate": rate, "codes": codes,
        "per_second": codes.get("200", 0) / took, "p50_ms": p50 * 1e3, "p99_ms": p99 * 1e3,
        "rss_mib": memory(server.process.pid), "by": "oha" if args.oha else "client.py",
    }
    load = f"{rate:.0f}/s open" if rate else f"{concurrency} at a time"
    print(
        f"| {server.name} | {load} | {found['per_second']:.1f} | {found['p50_ms']:.1f} | {found['p99_ms']:.1f} | "
        f"{found['rss_mib']:.0f} | {bad or 'none'} |", flush=True,
    )
    return found


def bare(args, texts):
    """Milliseconds that `infer` computes for each single text: from its first operation to its last in the trace."""
    with tempfile.TemporaryDirectory() as work:
        source, trace = Path(work) / "texts.txt", Path(work) / "trace.json"
        source.write_text("\n".join(texts) + "\n")
        command = [args.infer, "embed", "--model", args.model, "--input", source, "--batch-size", "1", "--json", "-q"]
        subprocess.run([*command, "--profile", trace], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        events = json.loads(trace.read_text())
    events = events["traceEvents"] if isinstance(events, dict) else events
    passes, before = [], None
    for event in sorted((e for e in events if e.get("ph") == "X"), key=lambda e: e["ts"]):
        end = event["ts"] + event["dur"]
        # A pass begins with the embeddings of words, types and positions.
        if event["name"] == "embedding" and before != "embedding":
            passes.append([event["ts"], end])
        elif passes:
            passes[-1][1] = max(passes[-1][1], end)
        before = event["name"]
    times = sorted((end - start) / 1e3 for start, end in passes)
    p50, p99 = statistics.median(times), times[int(len(times) * 0.99)]
    print(f"| infer | 1 at a time | {1e3 / statistics.mean(times):.1f} | {p50:.1f} | {p99:.1f} | | |", flush=True)
    return {"server": "infer", "p50_ms": p50, "p99_ms": p99, "requests": len(times)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True, help="a .csv with a column `text`")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--concurrency", type=int, nargs="*", default=[1, 16, 64])
    parser.add_argument("--no-open", action="store_true", help="leave out the open-loop run at 80 %% of capacity")
    parser.add_argument("--no-bare", action="store_true", help="leave out the latency of infer")
    parser.add_argument("--overload", action="store_true", help="a run with three times the queue at a time")
    parser.add_argument("--serve", default="target/release/serve")
    parser.add_argument("--infer", default="target/release/infer")
    parser.add_argument("--oha", default=shutil.which("oha"), help="without it, Python makes the load")
    parser.add_argument("--torchserve", metavar="PYTHON", help="the Python of an environment with torchserve in it")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--batch-delay", type=int, default=5, help="milliseconds")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="flags for serve; must come last")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with open(args.data, newline="", encoding="utf-8") as file:
        texts = [row["text"].replace("\n", " ") for row in csv.DictReader(file)]
    random.Random(0).shuffle(texts)
    found = []
    print("| server | load | requests/s | p50 ms | p99 ms | RSS MiB | other than 200 |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as work:
        bodies = Path(work) / "bodies.txt"
        bodies.write_text("\n".join(texts) + "\n")
        if not args.no_bare:
            found.append(bare(args, texts[:1000]))
        for kind in [Serve] + [TorchServe] * bool(args.torchserve):
            folder = Path(work) / kind.name
            folder.mkdir()
            server = kind(args, folder)
            try:
                assert abs(sum(x * x for x in post(server.url, texts[0])) - 1) < 1e-4
                # This warms connections, caches and compiled code.
                client.load(server.url, texts, 3, 16)
                runs = [loaded(args, server, bodies, args.seconds, c) for c in args.concurrency]
                found += runs
                if not args.no_open:
                    capacity = max(run["per_second"] for run in runs)
                    found.append(loaded(args, server, bodies, args.seconds, 64, rate=0.8 * capacity))
                if args.overload and kind is Serve:
                    found.append(loaded(args, server, bodies, args.seconds, 1536))
            finally:
                server.stop()
    if args.out:
        args.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
