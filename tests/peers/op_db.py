"""Runs PyTorch's samples of its operations on Gradus: values, gradients and second gradients in f64.

    python tests/peers/op_db.py --ops target/debug/ops [FILE]

`op_db_make.py` writes FILE; the default is the committed sample. Every sample must be equal, or its difference must be
on the list with a reason; every operation of the registry must have samples. Anything else fails.
"""

import argparse
import collections
import gzip
import json
import pathlib
import re
import subprocess
import sys

import numpy as np

from compare import difference
from engine import Engine, Panicked, from_json

# Intended differences: the beginning of the samples' names, a pattern for the difference, the reason.
DIFFERENCES = [
    ("sign ", "nan.*, not np.float64", "the sign of NaN is NaN, as in NumPy; PyTorch has 0"),
    ("abs ", "grads 0: .*nan.*, not np.float64", "the gradient is the sign: NaN at NaN"),
    ("pow ", r"second .*, not np.float64\(nan\)", "0·∞ in PyTorch's second derivative at a base of 0; here 0 stays 0"),
]

# Second gradients divide and cancel more than values do.
FACTORS = {"outputs": 1.0, "grads": 10.0, "second": 100.0}


def compare(ours, theirs, strict=False):
    """None, or the first difference; for `strict` see `difference`."""
    if "error" in ours:
        return f"refused: {ours['error']}"
    for part, factor in FACTORS.items():
        if part not in theirs:
            continue
        if len(ours[part]) != len(theirs[part]):
            return f"{len(ours[part])} {part}, not {len(theirs[part])}"
        for at, (a, b) in enumerate(zip(ours[part], theirs[part])):
            a, b = from_json(a), from_json(b)
            if b is None:
                continue
            # A gradient that does not arrive is 0.
            wrong = difference(np.zeros_like(b) if a is None else a, b, factor, strict)
            if wrong:
                return f"{part} {at}: {wrong}"
    return None


def allowed(name, wrong):
    return any(name.startswith(begin) and re.search(how, wrong) for begin, how, _ in DIFFERENCES)


def registered(ops):
    """The operations of the registry."""
    listed = subprocess.run([ops, "--list"], capture_output=True, check=True).stdout.splitlines()
    return [op["name"] for op in map(json.loads, listed) if op["registered"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", default=pathlib.Path(__file__).with_name("op_db.jsonl.gz"))
    parser.add_argument("--ops", required=True, help="the program ops")
    parser.add_argument("--only", default="", help="samples whose names contain this")
    parser.add_argument("--show", action="store_true", help="print the requests that differ")
    arguments = parser.parse_args()
    engine = Engine(arguments.ops)
    seen, equal, right, wrong = collections.Counter(), 0, 0, {}
    with gzip.open(arguments.file, "rt") as lines:
        for line in lines:
            case = json.loads(line)
            if arguments.only not in case["name"]:
                continue
            seen[case["request"]["op"]] += 1
            try:
                why = compare(engine.ask(case["request"]), case["answer"], case.get("strict", False))
            except Panicked as panic:
                why = f"panicked: {panic}"
            if why is None:
                equal += 1
            elif allowed(case["name"], why):
                right += 1
            else:
                wrong[case["name"]] = why
                if arguments.show:
                    print(json.dumps(case["request"]))
    engine.close()
    print(f"op_db: {equal} samples of {len(seen)} operations equal, {right} different with reason, "
          f"{len(wrong)} different")
    for name, why in wrong.items():
        print(f"  {name}: {why}")
    missing = [op for op in registered(arguments.ops) if not seen[op]]
    if missing and not arguments.only:
        sys.exit(f"no samples of {', '.join(missing)}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
