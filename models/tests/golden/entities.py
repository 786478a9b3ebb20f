"""Writes seqeval's scores of random tags to models/tests/golden/entities.json.

    pip install seqeval
    python models/tests/golden/entities.py

Tags are drawn with and without sense: entities that begin with I-, end without E-, change their kind. A case has
the scheme (`conll` is seqeval's default mode), the true and the predicted tags of some sentences, and the
scores: micro averages, those of each kind, and the accuracy of the words.
"""

import json
import pathlib
import random
import warnings

from seqeval.metrics.v1 import precision_recall_fscore_support as strictly
from seqeval.metrics.v1 import unique_labels
from seqeval.metrics.sequence_labeling import accuracy_score, get_entities, precision_recall_fscore_support
from seqeval.scheme import BILOU, IOB2, IOBES, IOE2

warnings.simplefilter("ignore")
SCHEMES = {"conll": None, "iob2": IOB2, "ioe2": IOE2, "iobes": IOBES, "bilou": BILOU}
PREFIXES = {"conll": "BIES", "iob2": "BI", "ioe2": "IE", "iobes": "BIES", "bilou": "BILU"}
KINDS = ["PER", "LOC", "creative-work"]


def sentence(prefixes, random):
    """Tags of which neighbours are often of one kind."""
    tags, kind = [], None
    for _ in range(random.randrange(1, 9)):
        if random.random() < 0.3:
            tags.append("O")
            continue
        if kind is None or random.random() < 0.3:
            kind = random.choice(KINDS)
        # In seqeval a prefix without a kind is of the kind `_`.
        tags.append(random.choice(prefixes) + ("-" + kind if random.random() < 0.97 else ""))
    return tags


def changed(tags, prefixes, random):
    other = sentence(prefixes, random)
    return [other[i % len(other)] if random.random() < 0.25 else tag for i, tag in enumerate(tags)]


def scores(name, truth, predicted):
    scheme = SCHEMES[name]
    if scheme is None:
        found = lambda average: precision_recall_fscore_support(truth, predicted, average=average)
        kinds = sorted({e[0] for tags in truth + predicted for e in get_entities(tags)})
    else:
        found = lambda average: strictly(truth, predicted, average=average, scheme=scheme)
        kinds = unique_labels(truth, predicted, scheme)
    row = lambda p, r, f, n: [float(p), float(r), float(f), int(n)]
    by_kind = {kind: row(*columns) for kind, *columns in zip(kinds, *found(None))} if kinds else {}
    return {"micro": row(*found("micro")) if kinds else [0.0, 0.0, 0.0, 0], "by_kind": by_kind,
            "accuracy": accuracy_score(truth, predicted)}


def main():
    draw, cases = random.Random(0), []
    for name, prefixes in PREFIXES.items():
        for _ in range(40 if name == "conll" else 25):
            truth = [sentence(prefixes, draw) for _ in range(draw.randrange(1, 5))]
            predicted = [changed(tags, prefixes, draw) for tags in truth]
            cases.append({"scheme": name, "truth": [" ".join(t) for t in truth],
                          "predicted": [" ".join(p) for p in predicted], **scores(name, truth, predicted)})
    lines = ",\n".join(json.dumps(case) for case in cases)
    pathlib.Path(__file__).with_suffix(".json").write_text(f"[\n{lines}\n]\n")


main()
