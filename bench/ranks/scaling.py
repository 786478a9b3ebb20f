"""What several ranks cost: the figures of bench/ranks/measure, a model of them, and what it says of more ranks.

usage: scaling.py OUT [--numbers P --late E --compute C] [--faster F] [--micro-batches N]

P, E and C are those of another model for the table of many ranks; what is proportional to the numbers follows.

The model, for a step of n micro-batches on k ranks whose links carry W bytes a second each way:

    T = (n / k) c + (n / k - 1) a + max(0, 2 S (1 - e) / W - b c) + 2 S e / W + x + y + u,    S = 4 P (k - 1) / k

c  seconds of forward and backward of a micro-batch      P  trained numbers
b  share of backward in c                                e  share of the numbers that are ready last (the embeddings)
a  adding the gradients of two micro-batches             u  the step of the optimiser
x  packing, adding and unpacking for the messages        y  sending and receiving, where no core is free for it

A rank sends S bytes of gradients and S bytes of sums. Those of the layers leave while the last backward runs, and cost
what does not fit into its time; those of the embeddings follow it.
"""

import argparse
import json
import pathlib
import statistics

PAYLOAD = 0.94  # of an Ethernet link, without headers


def lines(folder, name):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def step_of_one(folder, tokens):
    """Seconds of a step of one process: the median of the second half, when memory is warm."""
    rates = [line["tokens_per_second"] for line in lines(folder, "metrics.jsonl") if "tokens_per_second" in line]
    return tokens / statistics.median(rates[len(rates) // 2 :])


def means_of_ranks(folder):
    """Bytes and seconds of a step of a rank, over the second half of the steps."""
    last = [line["ranks"] for line in lines(folder, "metrics.jsonl") if "ranks" in line]
    last = last[len(last) // 2 :]
    return {name: statistics.median(statistics.mean(line[name]) for line in last) for name in last[0] if name != "steps"}


def share_of_backward(folder):
    """Of the time of forward and backward, in the recorded step."""
    marks = lines(folder, "timeline.jsonl")
    time = {what: sum(m["end"] - m["begin"] for m in marks if m["what"] == what) for what in ("forward", "backward")}
    return time["backward"] / (time["forward"] + time["backward"])


def numbers(folder):
    """Trained numbers of the model, and of its embeddings."""
    with open(folder / "model.safetensors", "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    count = lambda names: sum((header[n]["data_offsets"][1] - header[n]["data_offsets"][0]) // 4 for n in names)
    return count(header), count([name for name in header if "embeddings" in name])


def step(p, k, n, bandwidth):
    """Seconds of a step by the model."""
    sent = 4 * p["P"] * (k - 1) / k
    late = p["e"]
    waits = max(0, 2 * sent * (1 - late) / bandwidth - p["b"] * p["c"]) + 2 * sent * late / bandwidth
    return n / k * p["c"] + (n / k - 1) * p["a"] + (waits + p["x"] + p["y"] if k > 1 else 0) + p["u"]


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("| " + " | ".join("---" for _ in head) + " |")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("out", type=pathlib.Path)
    arguments.add_argument("--numbers", type=float, help="P for the table of many ranks")
    arguments.add_argument("--late", type=float, help="e for the table of many ranks")
    arguments.add_argument("--compute", type=float, help="c for the table of many ranks")
    arguments.add_argument("--faster", type=float, default=1, help="how many times as fast a host of that table computes")
    arguments.add_argument("--micro-batches", type=int, default=64, help="n for the table of many ranks")
    arguments = arguments.parse_args()
    out = arguments.out
    setting = json.loads((out / "setting.json").read_text())
    tokens = setting["batch"] * setting["length"]
    one, two = (step_of_one(out / f"one-{n}", n * tokens) for n in (1, 2))
    beside = step_of_one(out / "beside", tokens) if (out / "beside").is_dir() else one
    cases = {case: means_of_ranks(out / case) for case in ("shared", "loopback", "network") if (out / case).is_dir()}
    first = next(iter(cases))
    all_numbers, embeddings = numbers(out / "one-1")
    of = cases[first]
    u = of["step_seconds"] - sum(of[f"{part}_seconds"] for part in ("compute", "exchange", "wait"))
    p = {
        "P": all_numbers,
        "e": embeddings / all_numbers,
        "c": beside - u,
        "b": share_of_backward(out / first),
        "a": max(0, two - 2 * one + u),
        "x": of["exchange_seconds"],
        "y": of["compute_seconds"] - beside + u,
        "u": u,
    }
    link = json.loads((out / "link.json").read_text())["bytes_per_second"] if (out / "link.json").exists() else None
    print(f"{setting['processor']} ({setting['instructions'].strip()}), one thread a rank; {setting['batch']} texts of "
          f"{setting['length']} tokens a micro-batch\n")
    rows = [[f"one process, {n} micro-batch{'es' * (n > 1)}", "0", "", "", "", f"{t:.3f}"] for n, t in ((1, one), (2, two))]
    if beside != one:
        rows.append(["one process beside another, 1 micro-batch", "0", "", "", "", f"{beside:.3f}"])
    for case, of in cases.items():
        seconds = [f"{of[name]:.3f}" for name in ("compute_seconds", "exchange_seconds", "wait_seconds", "step_seconds")]
        rows.append([f"two ranks, {case}", f"{of['sent_bytes'] / 1e6:.1f}", *seconds])
    table(["2 micro-batches a step", "MB sent by each", "compute s", "exchange s", "waiting s", "step s"], rows)
    print("parameters: " + ", ".join(f"{name} = {value:.4g}" for name, value in p.items()) + "\n")
    rows = []
    for case, of in cases.items():
        bandwidth = link if case == "network" else float("inf")
        told = step(p, 2, 2, bandwidth)
        rows.append([case, f"{told:.3f}", f"{of['step_seconds']:.3f}", f"{100 * (of['step_seconds'] / told - 1):+.0f} %"])
    table(["two ranks", "predicted s", "measured s", "off by"], rows)
    p["c"], p["y"] = arguments.compute or one - u, 0  # a host each, which has a core for the messages
    if arguments.numbers:
        p.update({name: p[name] * arguments.numbers / p["P"] for name in "axuP"})
    p["e"] = arguments.late or p["e"]
    p.update({name: p[name] / arguments.faster for name in "caxu"})
    n = arguments.micro_batches
    print(f"{n} micro-batches a step, c = {p['c']:.3g} s: seconds of a step, and times faster than one rank\n")
    alone = step(p, 1, n, 1)
    rows = [["1", "", *[f"{alone:.3g}"] * 3]]
    for k in (2, 4, 8, 16, 32, 64):
        told = [step(p, k, n, PAYLOAD * gigabits * 1e9 / 8) for gigabits in (1, 10, 100)]
        sent = 8 * p["P"] * (k - 1) / k / 1e6
        rows.append([str(k), f"{sent:.0f} MB", *(f"{t:.3g} ({alone / t:.1f})" for t in told)])
    table(["ranks", "sent by each", "1 Gbit/s", "10 Gbit/s", "100 Gbit/s"], rows)


main()
