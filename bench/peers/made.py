"""Makes the data sets of the full runs from CLINC150 and SST-2, with the same rows each time.

    made.py scope|multi|regression --data DIR --out DIR

`scope` is CLINC150 with its out-of-scope queries, which have the label `oos`. `multi` joins one to three queries of
CLINC150; the labels of such a text are the domains of its queries. `regression` joins one to four sentences of SST-2;
the value of such a text is the share of positive sentences. No query or sentence is in two texts.
"""
import argparse
import csv
import json
import os
import random

from common import rows

SPLITS = ("train", "dev", "test")


def joined(examples, most, label, seed):
    """Texts of one to `most` examples each, in a random order; `label` makes one label of theirs."""
    draw = random.Random(seed)
    examples = draw.sample(examples, len(examples))
    while examples:
        n = draw.randint(1, most)
        part, examples = examples[:n], examples[n:]
        yield " . ".join(r["text"] for r in part), label([r["label"] for r in part])


def scope(data, split, seed):
    for name in (split, f"oos_{split}"):
        yield from ((r["text"], r["label"]) for r in rows(f"{data}/{name}.csv"))


def multi(data, split, seed):
    with open(f"{data}/domains.json", encoding="utf-8") as f:
        domain = {intent: name for name, intents in json.load(f).items() for intent in intents}
    label = lambda intents: "|".join(sorted({domain[intent] for intent in intents}))
    return joined(rows(f"{data}/{split}.csv"), 3, label, seed)


def regression(data, split, seed):
    label = lambda signs: f"{signs.count('positive') / len(signs):.4f}"
    return joined(rows(f"{data}/{split}.csv"), 4, label, seed)


KINDS = {"scope": scope, "multi": multi, "regression": regression}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("kind", choices=KINDS)
    p.add_argument("--data", required=True)
    p.add_argument("--out", required=True)
    a = p.parse_args()
    os.makedirs(a.out, exist_ok=True)
    for seed, split in enumerate(SPLITS):
        made = list(KINDS[a.kind](a.data, split, seed))
        with open(f"{a.out}/{split}.csv", "w", newline="", encoding="utf-8") as f:
            csv.writer(f, lineterminator="\n").writerows([("text", "label"), *made])
        print(f"{split}: {len(made)} texts")


main()
