"""Fine-tunes a BERT with PyTorch and transformers by the recipe of `train`: AdamW (no decay of biases and norms), linear
warm-up and decay, clipping at 1, the model's dropout, and the epoch that is best on dev. Prints the test metrics.

    finetune.py classify|multi|regression|tokens --model DIR --data DIR [--epochs 4 --lr 3e-4 --head-lr 2e-3 --seed 0]

The data are train, dev and test as `train` reads them: .csv with `text` and `label` (several labels are joined by `|`),
for `tokens` .conll. `--pooling mean` classifies the mean of a text's tokens, which transformers has no class for, in
place of BERT's pooler. Needs torch, transformers, seqeval, scikit-learn and scipy.
"""
import json

import numpy as np
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer
from transformers.modeling_outputs import SequenceClassifierOutput

import recipe
from common import rows
from recipe import IGNORED


def conll(path):
    """Sentences as lists of (word, tag)."""
    with open(path, encoding="utf-8") as f:
        blocks = f.read().split("\n\n")
    return [[tuple(line.split("\t")) for line in b.splitlines() if line.strip()] for b in blocks if b.strip()]


def examples(a, split):
    """(text or words, label or tags) of a split."""
    if a.task == "tokens":
        return [([w for w, _ in s], [t for _, t in s]) for s in conll(f"{a.data}/{split}.conll")]
    return [(r["text"], r["label"]) for r in rows(f"{a.data}/{split}.csv")]


def names(a, train):
    """The labels in their order."""
    if a.task == "regression":
        return ["value"]
    of = {"classify": lambda y: [y], "multi": lambda y: y.split("|"), "tokens": lambda y: y}[a.task]
    return sorted({name for _, y in train for name in of(y) if name})


class Data:
    """Encoded examples: ids, and a target for each text or token."""

    def __init__(self, a, tokenizer, labels, split):
        self.index = {name: i for i, name in enumerate(labels)}
        self.rows = [self.encode(a, tokenizer, x, y) for x, y in examples(a, split)]

    def encode(self, a, tokenizer, x, y):
        limit = dict(truncation=True, max_length=a.max_length)
        if a.task != "tokens":
            return tokenizer(x, **limit)["input_ids"], self.target(a, y)
        e = tokenizer(x, is_split_into_words=True, **limit)
        first, targets = set(), []
        for word in e.word_ids():
            targets.append(self.index[y[word]] if word is not None and word not in first else IGNORED)
            first.add(word)
        return e["input_ids"], targets

    def target(self, a, y):
        if a.task == "classify":
            return self.index[y]
        if a.task == "regression":
            return [float(y)]
        return [float(name in y.split("|")) for name in self.index]

    def batch(self, a, places):
        n = max(len(self.rows[i][0]) for i in places)
        fill = lambda values, with_: values + [with_] * (n - len(values))
        ids = torch.tensor([fill(self.rows[i][0], 0) for i in places])
        mask = torch.tensor([fill([1] * len(self.rows[i][0]), 0) for i in places])
        ys = [self.rows[i][1] for i in places]
        return ids, mask, torch.tensor([fill(y, IGNORED) for y in ys] if a.task == "tokens" else ys)


def loss_of_task(a, logits, y):
    f = torch.nn.functional
    return {
        "classify": lambda: f.cross_entropy(logits, y, label_smoothing=a.label_smoothing),
        "multi": lambda: f.binary_cross_entropy_with_logits(logits, y),
        "regression": lambda: f.mse_loss(logits, y),
        "tokens": lambda: f.cross_entropy(logits.flatten(0, 1), y.flatten(), ignore_index=IGNORED),
    }[a.task]()


def evaluate(a, net, data, labels):
    """The metrics of a split, the one that decides first."""
    net.eval()
    order = sorted(range(len(data.rows)), key=lambda i: len(data.rows[i][0]))
    found, true = [], []
    with torch.inference_mode():
        for at in range(0, len(order), 64):
            ids, mask, y = data.batch(a, order[at:at + 64])
            found += net(input_ids=ids, attention_mask=mask).logits.tolist()
            true += y.tolist()
    return METRICS[a.task](found, true, labels)


def classify_metrics(found, true, labels):
    chosen = np.argmax(found, axis=1)
    out = {"accuracy": float(np.mean(chosen == np.array(true)))}
    if "oos" in labels:
        oos, y = labels.index("oos"), np.array(true)
        out["in_scope_accuracy"] = float(np.mean(chosen[y != oos] == y[y != oos]))
        out["oos_recall"] = float(np.mean(chosen[y == oos] == oos))
    return out


def multi_metrics(found, true, labels):
    from sklearn.metrics import f1_score
    chosen = (np.array(found) > 0).astype(int)
    return {"micro_f1": f1_score(true, chosen, average="micro"), "macro_f1": f1_score(true, chosen, average="macro")}


def regression_metrics(found, true, labels):
    from scipy.stats import pearsonr, spearmanr
    x, y = np.array(found)[:, 0], np.array(true)[:, 0]
    return {"pearson": pearsonr(x, y)[0], "spearman": spearmanr(x, y)[0], "mse": float(np.mean((x - y) ** 2))}


def tokens_metrics(found, true, labels):
    from seqeval.metrics import f1_score, precision_score, recall_score
    kept = [[(labels[np.argmax(p)], labels[t]) for p, t in zip(ps, ts) if t != IGNORED] for ps, ts in zip(found, true)]
    chosen, wanted = ([[pair[i] for pair in row] for row in kept] for i in (0, 1))
    return {"f1": f1_score(wanted, chosen), "precision": precision_score(wanted, chosen),
            "recall": recall_score(wanted, chosen)}


METRICS = {"classify": classify_metrics, "multi": multi_metrics, "regression": regression_metrics,
           "tokens": tokens_metrics}


class MeanClassifier(torch.nn.Module):
    """Dropout and a linear layer on the mean of a text's tokens."""

    def __init__(self, model, labels):
        super().__init__()
        self.bert = AutoModel.from_pretrained(model, dtype=torch.float32, add_pooling_layer=False)
        config = self.bert.config
        self.dropout = torch.nn.Dropout(config.hidden_dropout_prob)
        self.classifier = torch.nn.Linear(config.hidden_size, labels)
        torch.nn.init.normal_(self.classifier.weight, std=config.initializer_range)
        torch.nn.init.zeros_(self.classifier.bias)

    def forward(self, input_ids, attention_mask):
        states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        there = attention_mask.unsqueeze(-1)
        mean = (states * there).sum(1) / there.sum(1)
        return SequenceClassifierOutput(logits=self.classifier(self.dropout(mean)))


def network(a, labels):
    if a.pooling == "mean":
        return MeanClassifier(a.model, len(labels))
    kind = AutoModelForTokenClassification if a.task == "tokens" else AutoModelForSequenceClassification
    return kind.from_pretrained(a.model, num_labels=len(labels), dtype=torch.float32)


def main():
    p = recipe.flags(__doc__, ["classify", "multi", "regression", "tokens"])
    p.add_argument("--pooling", choices=["cls", "mean"], default="cls")
    p.add_argument("--label-smoothing", type=float, default=0.0, help="of classify")
    a = p.parse_args()
    if a.task == "tokens" and a.pooling == "mean":
        p.error("--pooling is for texts, not for tokens")
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    tokenizer = AutoTokenizer.from_pretrained(a.model)
    labels = names(a, examples(a, "train"))
    splits = {split: Data(a, tokenizer, labels, split) for split in ("train", "dev", "test")}
    net = network(a, labels)

    def loss_of(places):
        ids, mask, y = splits["train"].batch(a, places)
        return loss_of_task(a, net(input_ids=ids, attention_mask=mask).logits, y)

    dev = recipe.train(a, net, len(splits["train"].rows), loss_of,
                       lambda: evaluate(a, net, splits["dev"], labels))
    print(json.dumps({"engine": "torch", "task": a.task, "seed": a.seed, "dev": dev,
                      "test": evaluate(a, net, splits["test"], labels)}), flush=True)


main()
