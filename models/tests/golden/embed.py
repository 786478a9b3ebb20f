#!/usr/bin/env python3
"""Fifty steps of every loss of `embed` in PyTorch, for `models/tests/all/embed.rs`: a tiny BERT, the mean of
the tokens, dropout off, AdamW with warm-up, decay and clipping. Batches of twelve pairs (pairs, triplets, scored,
matryoshka), or of all 24 (cached), whose order the file has.

    python3 models/tests/golden/embed.py     # writes embed.safetensors beside itself

Needs torch, transformers, sentence-transformers, safetensors, numpy. The losses and the metrics are those of sentence-transformers
where it has them: no text of a batch occurs twice, except in `duplicates`, whose loss is written out here.
"""
import os

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers import BertConfig, BertModel

from steps import STEPS, trained

HERE = os.path.dirname(os.path.abspath(__file__))
PAIRS, BATCH, VOCABULARY = 24, 12, 50
DIMENSIONS = [16, 8, 4]

random = np.random.RandomState(0)
drawn = set()


def text():
    """A text that was not drawn before."""
    while True:
        row = (1, *random.randint(3, VOCABULARY, random.randint(1, 8)).tolist(), 2)
        if row not in drawn:
            drawn.add(row)
            return list(row)


# Columns of texts: anchors, positives, two of negatives.
columns = [[text() for _ in range(PAIRS)] for _ in range(4)]
scores = torch.tensor(random.rand(PAIRS), dtype=torch.float32)
order = torch.tensor(np.stack([random.permutation(PAIRS) for _ in range(STEPS)]))
# In `duplicates` pair i has the anchor FIRST[i] and the positive SECOND[i]; the second of pair 5 is the anchor of pair 4.
FIRST = [0, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11] * 2
SECOND = [0, 1, 1, 3, 4, -4, 6, 7, 7, 9, 10, 11] * 2

config = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, vocab_size=VOCABULARY,
              max_position_embeddings=24, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


class Embedder(torch.nn.Module):
    """What the losses of sentence-transformers ask of a model."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.bert = BertModel(BertConfig(**config, attn_implementation="eager"), add_pooling_layer=False)
        for parameter in self.parameters():  # larger than usual, so that the texts differ
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.2)

    def forward(self, texts):
        rows = [torch.tensor(row) for row in texts]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(row)) for row in rows], batch_first=True)
        hidden = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def add(name, loss_of):
    """Trains, and keeps the first weights and the numbers of every step."""
    model = Embedder()
    first = {key: value.clone() for key, value in model.named_parameters()}
    losses, norms = trained(model, loss_of)
    out.update({f"weights.{key}": value for key, value in first.items()})  # the same for all
    out[f"{name}.losses"] = torch.tensor(losses, dtype=torch.float64)
    out[f"{name}.norms"] = torch.tensor(norms, dtype=torch.float64)
    print(name, losses[0], losses[-1], norms[0])


def embed(model, step, count, pairs):
    rows = order[step, :pairs].tolist()
    return [model([column[row] for row in rows]) for column in columns[:count]]


def ranking(vectors):
    return MultipleNegativesRankingLoss(None, scale=20.0).compute_loss_from_embeddings(vectors, None)


def scored(model, step):
    first, second = (F.normalize(vectors) for vectors in embed(model, step, 2, BATCH))
    return F.mse_loss((first * second).sum(1), scores[order[step, :BATCH]])


def matryoshka(model, step):
    vectors = embed(model, step, 3, BATCH)
    weights = [1.0, 0.5, 2.0]
    return sum(w * ranking([v[:, :d] for v in vectors]) for d, w in zip(DIMENSIONS, weights))


def duplicates(model, step):
    """A text that belongs to an anchor, or is the anchor, is not its negative; a text twice counts once."""
    rows = order[step, :BATCH].tolist()
    name = lambda i: ("anchor", -i) if i < 0 else ("positive", i)
    anchors = [("anchor", FIRST[row]) for row in rows]
    positives = [name(SECOND[row]) for row in rows]
    of = lambda text: columns[0 if text[0] == "anchor" else 1][text[1]]
    first, second = (F.normalize(model([of(text) for text in texts])) for texts in (anchors, positives))
    losses = []
    for i, anchor in enumerate(anchors):
        related = {positives[j] for j in range(BATCH) if anchors[j] == anchor} | {anchor}
        candidates = [positives[i]]
        places = [i]
        for j, text in enumerate(positives):
            if text not in related and text not in candidates:
                candidates.append(text)
                places.append(j)
        logits = 20.0 * first[i] @ second[places].T
        losses.append(F.cross_entropy(logits, torch.tensor(0)))
    return torch.stack(losses).mean()


out = {"order": order.int(), "scores": scores, "first": torch.tensor(FIRST, dtype=torch.int32),
       "second": torch.tensor(SECOND, dtype=torch.float64)}
for i, column in enumerate(columns):
    out[f"ids.{i}"] = torch.tensor([token for row in column for token in row], dtype=torch.int32)
    out[f"lengths.{i}"] = torch.tensor([len(row) for row in column], dtype=torch.int32)
def metrics():
    """What sentence-transformers' evaluators say of random vectors."""
    queries, documents = (torch.tensor(random.randn(n, 4), dtype=torch.float32) for n in (20, 30))
    # Every document is the second text of a pair; queries have one to three.
    triplets = [(random.randint(20), document, random.randint(30)) for document in [*range(30), *range(0, 30, 3)]]
    triplets = [row for row in triplets if row[1] != row[2]]
    for query, document, _ in triplets:  # what belongs together is more similar
        documents[document] += queries[query]
    used = sorted({row[0] for row in triplets})
    relevant = {str(query): {str(row[1]) for row in triplets if row[0] == query} for query in used}
    corpus = sorted({row[1] for row in triplets})
    evaluator = InformationRetrievalEvaluator(
        {str(i): str(i) for i in used}, {str(i): str(i) for i in corpus}, relevant,
        accuracy_at_k=[1, 5, 10], mrr_at_k=[len(corpus)], precision_recall_at_k=[1], ndcg_at_k=[1], map_at_k=[1])
    similar = F.normalize(queries) @ F.normalize(documents).T
    results = [[{"corpus_id": str(i), "score": similar[query, i].item()} for i in corpus] for query in used]
    found = evaluator.compute_metrics(results)
    nearer = [float(similar[q, d] > similar[q, n]) for q, d, n in triplets]
    accuracy = found["accuracy@k"]
    values = [accuracy[1], accuracy[5], accuracy[10], found["mrr@k"][len(corpus)], np.mean(nearer)]
    out.update({"metrics.queries": queries, "metrics.documents": documents,
                "metrics.triplets": torch.tensor(triplets, dtype=torch.int32),
                "metrics.values": torch.tensor(values, dtype=torch.float64)})
    print("metrics", values)


metrics()
add("pairs", lambda model, step: ranking(embed(model, step, 2, BATCH)))
add("triplets", lambda model, step: ranking(embed(model, step, 4, BATCH)))
add("scored", scored)
add("matryoshka", matryoshka)
add("cached", lambda model, step: ranking(embed(model, step, 3, PAIRS)))
add("duplicates", duplicates)
save_file({key: value.contiguous() for key, value in out.items()}, os.path.join(HERE, "embed.safetensors"))
