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
    p.add_argument("--texts", type=int, help="of a run on real texts, spread evenly over the file")
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--precision", choices=precisions, default="f32")
    p.add_argument("--embeddings", metavar="OUT.npy")
    p.add_argument("workload", nargs="*")
    return p


def rows(path):
    with open(path, newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def share(all, count):
    """`count` of them at even distances, all if there are fewer: those that `bench` takes too."""
    count = min(count or len(all), len(all))
    return [all[i * len(all) // count] for i in range(count)]


def texts(a):
    """The texts of encode-real."""
    return [r["text"] for r in share(rows(a.data), a.texts)]


def first_texts(a):
    """Those whose embeddings the engines compare."""
    return [r["text"] for r in rows(a.data)][:64]


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


def export(a, path):
    """Writes a.model's encoder as ONNX, if the file is missing; returns the model's configuration. Needs torch."""
    import torch
    from transformers import AutoConfig, BertConfig, BertModel
    if os.path.exists(path):
        return BertConfig() if a.model == "base" else AutoConfig.from_pretrained(a.model)
    if a.model == "base":
        bert = BertModel(BertConfig(attn_implementation="eager"), add_pooling_layer=False)
    else:
        bert = BertModel.from_pretrained(a.model, add_pooling_layer=False, attn_implementation="eager")

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bert = bert.eval()

        def forward(self, input_ids, attention_mask):
            return self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    ids = torch.ones(2, 16, dtype=torch.long)
    axes = {0: "batch", 1: "sequence"}
    torch.onnx.export(Encoder(), (ids, ids), path, input_names=["input_ids", "attention_mask"],
                      output_names=["hidden"], opset_version=17, dynamo=False,
                      dynamic_axes={"input_ids": axes, "attention_mask": axes})
    return bert.config


def measure_onnx(engine, run, a):
    """Measures the encode workloads, or writes embeddings, with run(ids, mask), which returns hidden states."""
    import numpy as np

    def embed(tok, xs):
        encodings = tok.encode_batch(xs)
        out = [None] * len(xs)
        for batch in batches_by_length(encodings):
            ids, mask = (np.array(x, np.int64) for x in pad([encodings[j] for j in batch]))
            v = (run(ids, mask) * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
            v /= np.linalg.norm(v, axis=1, keepdims=True)
            for j, row in zip(batch, v):
                out[j] = row
        return np.array(out, np.float32)

    if a.embeddings:
        np.save(a.embeddings, embed(tokenizer(a.model), first_texts(a)))
    for w in a.workload:
        if w == "encode-real":
            xs, tok = texts(a), tokenizer(a.model)
            amount, f = len(xs), lambda: embed(tok, xs)
        else:
            amount, s = shape(w, a.batch)
            ids, mask = np.random.randint(1000, 30000, (amount, s)), np.ones((amount, s), np.int64)
            f = lambda: run(ids, mask)
        report(engine, a, w, amount, repeat(f, a.seconds))


def shape(workload, batch):
    """Batch and length of an encode workload on random ids."""
    return (batch, 128) if workload == "encode-b32-s128" else (1, 16)


def repeat(f, seconds):
    """Runs f once to warm up, then until the seconds pass: three times at least, unless that takes four times as long.
    Returns the times."""
    f()
    ts, t0 = [], time.perf_counter()
    while not ts or time.perf_counter() - t0 < (seconds if len(ts) >= 3 else 4 * seconds):
        t = time.perf_counter()
        f()
        ts.append(time.perf_counter() - t)
    return ts


def report(engine, a, workload, amount, ts):
    """Prints a measurement; `amount` is the work of one run, in the workload's unit."""
    units = {"encode-b1-s16": "ms", "encode-real": "texts/s", "epoch-real": "texts/s", "gemm": "GFLOP/s"}
    unit = units.get(workload, "sequences/s")
    value = {"ms": lambda t: t * 1e3, "GFLOP/s": lambda t: amount / t / 1e9}.get(unit, lambda t: amount / t)
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
        "device": getattr(a, "device", "cpu"),
        "texts": amount if workload.endswith("-real") else None,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }), flush=True)
