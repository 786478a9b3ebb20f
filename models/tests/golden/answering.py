#!/usr/bin/env python3
"""PyTorch's and transformers' results of question answering, for `models/tests/all/answering.rs`:

    pip install torch "transformers<5" safetensors
    OMP_NUM_THREADS=1 python3 models/tests/golden/answering.py

It writes answering.safetensors and answering.json beside itself. They hold

- fifty steps of BertForQuestionAnswering on twelve windows of unequal lengths, dropout off. Each window runs alone and
  the loss is their mean: transformers' loss of a padded batch has the padding in its softmax;
- the windows and labels that run_qa.py's preprocessing gives for questions with emoji, accents and long texts. One thing
  differs: where an answer begins in the last word of a window, run_qa.py labels its start with [SEP];
- the best answers of run_qa.py's decoding, and the answers of the question-answering pipeline, from the first weights;
- the numbers of SQuAD's script for some predictions (transformers.data.metrics.squad_metrics).
"""
import json
import os
import tempfile

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForQuestionAnswering, BertTokenizerFast, QuestionAnsweringPipeline
from transformers.data.metrics import squad_metrics

from steps import trained

HERE = os.path.dirname(os.path.abspath(__file__))
WINDOWS = 12
WORDS = """[PAD] [UNK] [CLS] [SEP] [MASK] . , ? ' - 1 8 4 3 a b c d e f g h i l m n o p r s t u w y z ##a ##b ##c ##d ##e ##f
##g ##h ##i ##l ##m ##n ##o ##p ##r ##s ##t ##u ##w ##y ##z ##1 ##8 ##4 ##3 the in of who when where wrote program first ada
lovelace london was born she it paris sao zoe""".split()
QUESTIONS = [  # The answers are parts of the texts, by their first occurrence.
    ("a", "Who wrote the first program?", "Ada Lovelace wrote it in 1843.", ["Ada Lovelace"]),
    ("b", "  Where was she born?", "Zoë 😀 was born in São Paulo. Ada was born in London, the city of the first program, in 1814.",
     ["London"]),
    ("c", "When was it?", "It was in 1843. " * 9 + "😀😀 It was in 1814, in the city of Zoë.", ["1814", "in 1814"]),
    ("d", "Who was it?", "It was Zoë. It was in Paris. It was in London. It was in 1843.", []),
    ("e", "Where?", "Paris", ["Paris"]),
    ("f", "Who?", "the program of Lovelace", ["Love"]),
    ("g", "When?", "U.S.\u200b in 1843\tin\n1848 ", ["1848"]),
]
SETTINGS = [(24, 4), (16, 2), (14, 0)]
PIPELINE = [(1, 15, False), (5, 15, False), (3, 2, True), (40, 30, True)]


QUESTIONS = [(name, question, context, [(text, context.index(text)) for text in answers])
             for name, question, context, answers in QUESTIONS]
config = dict(vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
              max_position_embeddings=24, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
torch.manual_seed(0)
model = BertForQuestionAnswering(BertConfig(**config, attn_implementation="eager"))
for parameter in model.parameters():  # larger than usual, so that the texts differ
    if parameter.dim() > 1:
        torch.nn.init.normal_(parameter, std=0.2)
tensors = {f"answer.{name}": value.clone() for name, value in model.state_dict().items()}

with tempfile.TemporaryDirectory() as folder:
    with open(os.path.join(folder, "vocab.txt"), "w") as file:
        file.write("\n".join(WORDS) + "\n")
    tokenizer = BertTokenizerFast(os.path.join(folder, "vocab.txt"), model_max_length=24)


def windows(question, context, length, stride):
    return tokenizer(question.lstrip(), context, truncation="only_second", max_length=length, stride=stride,
                     return_overflowing_tokens=True, return_offsets_mapping=True)


def label(encoded, i, answers):
    """The first and last token of the answer in window i; 0 and 0 if it is not there."""
    offsets = encoded["offset_mapping"][i]
    context = [at for at, sequence in enumerate(encoded.sequence_ids(i)) if sequence == 1]
    if not answers:
        return 0, 0
    text, start = answers[0]
    end = start + len(text)
    if offsets[context[0]][0] > start or offsets[context[-1]][1] < end:
        return 0, 0
    return (max(at for at in context if offsets[at][0] <= start), min(at for at in context if offsets[at][1] >= end))


def logits(encoded, i):
    with torch.no_grad():
        part = {key: torch.tensor([encoded[key][i]]) for key in ("input_ids", "token_type_ids", "attention_mask")}
        output = model(**part)
    return output.start_logits[0].numpy(), output.end_logits[0].numpy()


def best(encoded, context, longest, n_best=20):
    """The best answer over all windows, and how much higher the score of none is: run_qa.py's decoding."""
    none, found = None, []
    for i in range(len(encoded["input_ids"])):
        start, end = logits(encoded, i)
        none = start[0] + end[0] if none is None else min(none, start[0] + end[0])
        allowed = {at for at, sequence in enumerate(encoded.sequence_ids(i)) if sequence == 1}
        for s in np.argsort(start)[-1:-n_best - 1:-1].tolist():
            for e in np.argsort(end)[-1:-n_best - 1:-1].tolist():
                if s in allowed and e in allowed and s <= e < s + longest:
                    offsets = encoded["offset_mapping"][i]
                    found.append((float(start[s] + end[e]), offsets[s][0], offsets[e][1]))
    score, s, e = max((part for part in found if part[1] < part[2]), key=lambda part: part[0])
    return {"text": context[s:e], "start": s, "end": e, "difference": float(none) - score}


model.eval()
results = {"words": WORDS, "questions": [], "settings": []}
for name, question, context, answers in QUESTIONS:
    results["questions"].append({"id": name, "question": question, "context": context,
                                 "answers": [{"text": text, "answer_start": start} for text, start in answers]})
for length, stride in SETTINGS:
    of_setting = {"max_length": length, "stride": stride, "questions": []}
    for _, question, context, answers in QUESTIONS:
        encoded = windows(question, context, length, stride)
        parts = [{"ids": encoded["input_ids"][i], "types": encoded["token_type_ids"][i],
                  "offsets": [list(offset) for offset in encoded["offset_mapping"][i]],
                  "label": list(label(encoded, i, answers))} for i in range(len(encoded["input_ids"]))]
        of_setting["questions"].append({"windows": parts, "best": [best(encoded, context, n) for n in (30, 3)]})
    results["settings"].append(of_setting)

pipeline = QuestionAnsweringPipeline(model=model, tokenizer=tokenizer, framework="pt", device="cpu")
results["pipeline"] = []
for top_k, longest, none in PIPELINE:
    for length, stride in SETTINGS[:2]:
        answered = []
        for _, question, context, _ in QUESTIONS:
            answers = pipeline(question=question, context=context, top_k=top_k, max_answer_len=longest, max_seq_len=length,
                               doc_stride=stride, handle_impossible_answer=none)
            answered.append(answers if isinstance(answers, list) else [answers])
        results["pipeline"].append({"top_k": top_k, "max_answer_length": longest, "no_answer": none, "max_length": length,
                                    "stride": stride, "answers": answered})

# SQuAD's numbers.
PREDICTIONS = [
    (["Ada Lovelace", "Lovelace"], "ada  lovelace!", -3.0),
    (["the first program"], "A program, the first", -0.5),
    (["in 1843"], "1843", 0.25),
    (["São Paulo"], "Sao Paulo", 1.5),
    ([], "Paris", -1.0),
    ([], "London", 2.0),
    ([], "the", 0.5),
    (["The"], "a", 0.0),
    (["the’s cat"], "’s cat", -2.0),
    (["well-known an U.S.A."], "wellknown usa", -0.25),
    (["a_b  the_c"], "ab", 0.75),
    (["x\x1cy É"], "x y é", -4.0),
    (["a a b"], "b a b c", 0.1),
    ([], "", 0.3),
    (["theory of a"], "theory", 3.0),
    (["١٢ the١"], "١٢", -0.1),
]


class Example:
    def __init__(self, number, answers):
        self.qas_id, self.answers = number, [{"text": text} for text in answers]


examples = [Example(i, answers) for i, (answers, _, _) in enumerate(PREDICTIONS)]
predictions = {i: text for i, (_, text, _) in enumerate(PREDICTIONS)}
differences = {i: difference for i, (_, _, difference) in enumerate(PREDICTIONS)}
squad = {"predictions": [list(row) for row in PREDICTIONS],
         "normalized": [[text, squad_metrics.normalize_answer(text)]
                        for answers, predicted, _ in PREDICTIONS for text in answers + [predicted]], "thresholds": []}
exact, f1 = squad_metrics.get_raw_scores(examples, predictions)
squad["exact"], squad["f1"] = [list(scores.values()) for scores in (exact, f1)]
for threshold in (-1.0, 0.0, 0.5, 10.0):
    numbers = squad_metrics.squad_evaluate(examples, predictions, differences, threshold)
    squad["thresholds"].append({"threshold": threshold, **numbers})
results["squad"] = squad

# Fifty steps.
random = np.random.RandomState(0)
lengths = random.randint(5, 15, WINDOWS)
ids, types, targets = [], [], []
for n in lengths:
    question = random.randint(1, n - 3)
    ids.append([2, *random.randint(5, len(WORDS), question - 1), 3, *random.randint(5, len(WORDS), n - question - 2), 3])
    types.append([0] * (question + 1) + [1] * (n - question - 1))
    start = random.randint(question + 1, n - 1)
    targets.append((0, 0) if random.rand() < 0.25 else (start, random.randint(start, n - 1)))
model.train()


def loss_of(model, _):
    parts = [model(input_ids=torch.tensor([row]), token_type_ids=torch.tensor([kind]), start_positions=torch.tensor([start]),
                   end_positions=torch.tensor([end])).loss for row, kind, (start, end) in zip(ids, types, targets)]
    return torch.stack(parts).mean()


losses, norms = trained(model, loss_of)
flat = lambda rows: torch.tensor([value for row in rows for value in row], dtype=torch.int32)
tensors |= {"ids": flat(ids), "types": flat(types), "lengths": torch.tensor(lengths.astype(np.int32)), "targets": flat(targets),
            "answer.losses": torch.tensor(losses, dtype=torch.float64), "answer.norms": torch.tensor(norms, dtype=torch.float64)}
save_file({key: value.contiguous() for key, value in tensors.items()}, os.path.join(HERE, "answering.safetensors"))
with open(os.path.join(HERE, "answering.json"), "w") as file:
    json.dump(results, file, ensure_ascii=False, separators=(",", ":"))
    file.write("\n")
print(losses[0], losses[-1], norms[0])
