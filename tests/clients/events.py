"""TensorBoard's own reader against the event files of `train --tensorboard --histograms`.

Every scalar must be the number of `metrics.jsonl`, and every parameter must have a histogram of its weights and of its
gradient. A resumed run must hide the steps that it makes again.
"""

import argparse
import json
import math
import subprocess
import tempfile
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import HISTOGRAMS, SCALARS, EventAccumulator

COLOURS = ["red", "green", "blue", "white"]


def data(folder):
    for name, rows in [("train", 24), ("dev", 8)]:
        lines = [f"the {COLOURS[i % 4]} thing number {i},{COLOURS[i % 4]}\n" for i in range(rows)]
        (folder / f"{name}.csv").write_text("text,label\n" + "".join(lines))


def train(program, *flags):
    subprocess.run([program, "classify", *flags, "-q"], check=True)


def read(out):
    events = EventAccumulator(str(out / "tensorboard"), size_guidance={SCALARS: 0, HISTOGRAMS: 0})
    events.Reload()
    return events


def close(a, b):
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)


def check_scalars(events, out):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    named = {"loss": "loss", "lr": "learning_rate", "grad_norm": "grad_norm", "epoch": "epoch"}
    for name, tag in named.items():
        ours = [(line["step"], line[name]) for line in lines if "split" not in line]
        theirs = [(event.step, event.value) for event in events.Scalars(f"train/{tag}")]
        assert [step for step, _ in ours] == [step for step, _ in theirs], (tag, ours, theirs)
        assert all(close(a, b) for (_, a), (_, b) in zip(ours, theirs)), (tag, ours, theirs)
    for line in (line for line in lines if line.get("split") == "dev"):
        for name in ("accuracy", "loss", "macro_f1"):
            values = {event.step: event.value for event in events.Scalars(f"dev/{name}")}
            assert close(values[line["step"]], line[name]), (name, line, values)
        for part, norm in line["gradient_norms"].items():
            values = {event.step: event.value for event in events.Scalars(f"grad_norm/{part}")}
            assert close(values[line["step"]], norm), (part, norm, values)


def check_histograms(events):
    tags = events.Tags()["histograms"]
    weights = {tag.removeprefix("weights/") for tag in tags if tag.startswith("weights/")}
    gradients = {tag.removeprefix("gradients/") for tag in tags if tag.startswith("gradients/")}
    assert weights == gradients and "classifier.weight" in weights, (weights, gradients)
    for tag in tags:
        for event in events.Histograms(tag):
            value = event.histogram_value
            assert value.num == sum(value.bucket) and value.min <= value.max, (tag, value)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=Path, required=True)
    program = str(parser.parse_args().programs / "train")
    with tempfile.TemporaryDirectory() as scratch:
        folder, out = Path(scratch), Path(scratch, "out")
        data(folder)
        flags = ["--model", "scratch", "--vocab-size", "80", "--batch-size", "4", "--eval-every", "3"]
        board = ["--tensorboard", "--histograms"]
        train(program, "--data", scratch, "--out", str(out), *flags, "--steps", "9", "--save-every", "4", *board)
        events = read(out)
        check_scalars(events, out)
        check_histograms(events)
        train(program, "--resume", str(out / "checkpoint-8"), *board)
        check_scalars(read(out), out)
    print("TensorBoard reads every scalar and histogram, before and after a resume")


main()
