"""Shared code of the peers: the workloads' settings and texts, timing, and the reported line."""
import argparse
import csv
import json
import os
import resource
import statistics
import time

LABELS, MAX_LENGTH, BATCH = 77, 128, 32


def parser(doc, precisions):
    """The flags that all peers take."""
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True)
    p.add_argument("--data")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--seconds", type=float, default=8.0)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--precision", choices=precisions, default="f32")
    p.add_argument("--embeddings", metavar="OUT.npy")
    p.add_argument("workload", nargs="*")
    return p


def rows(path):
    with open(path, newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def tokenizer(model):
    from tokenizers import Tokenizer
    t = Tokenizer.from_file(os.path.join(model, "tokenizer.json"))
    t.no_padding()
    t.enable_truncation(MAX_LENGTH)
    return t


def pad(encodings):
    """Ids and mask as lists, padded to the longest text."""
    n = max(len(e.ids) for e in encodings)
    return ([e.ids + [0] * (n - len(e.ids)) for e in encodings],
            [[1] * len(e.ids) + [0] * (n - len(e.ids)) for e in encodings])


def batches_by_length(encodings):
    """Batches of positions, the shortest texts first."""
    order = sorted(range(len(encodings)), key=lambda i: len(encodings[i].ids))
    return [order[i:i + BATCH] for i in range(0, len(order), BATCH)]


def shape(workload, batch):
    """Batch and length of an encode workload on random ids."""
    return (batch, 128) if workload == "encode-b32-s128" else (1, 16)


def repeat(f, seconds):
    """Runs f once to warm up, then until the seconds pass (at least three times); returns the times."""
    f()
    ts, t0 = [], time.perf_counter()
    while len(ts) < 3 or time.perf_counter() - t0 < seconds:
        t = time.perf_counter()
        f()
        ts.append(time.perf_counter() - t)
    return ts


def report(engine, a, workload, amount, ts):
    """Prints a measurement; `amount` is the work of one run, in the workload's unit."""
    unit = {"encode-b1-s16": "ms", "encode-real": "texts/s", "epoch-real": "texts/s"}.get(workload, "sequences/s")
    value = (lambda t: t * 1e3) if unit == "ms" else (lambda t: amount / t)
    print(json.dumps({
        "engine": engine,
        "workload": workload,
        "model": os.path.basename(a.model.rstrip("/")),
        "precision": a.precision,
        "value": round(value(statistics.median(ts)), 3),
        "unit": unit,
        "best": round(value(min(ts)), 3),
        "runs": len(ts),
        "threads": a.threads,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }), flush=True)
