"""Writes a tiny model of random weights of every model type, and what PyTorch computes with it, to the folders
models/tests/golden/family/TYPE.

    pip install torch transformers safetensors
    OMP_NUM_THREADS=1 python models/tests/golden/family.py [TYPE…]

config.json and model.safetensors are a model folder: the encoder, and the heads for texts, words, masked words, answers and next words.
expected.safetensors has a batch of sequences of odd lengths (one of them a padding token in its middle), and for every head
the outputs, a loss, and the loss's gradient of every parameter; the batch is padded, dropout is off. All switches of a type
are on: positions after a padding row, embeddings narrower than the layers, rotary positions, windows, biases.
"""
import json
import pathlib
import shutil
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig, CamembertConfig, DistilBertConfig, ElectraConfig, GPT2Config, GteConfig, ModernBertConfig, MPNetConfig,
    NomicBertConfig, RobertaConfig, XLMRobertaConfig,
    AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForQuestionAnswering, AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

HERE = pathlib.Path(__file__).parent / "family"
VOCABULARY, LABELS, LENGTHS = 40, 3, [7, 1, 12, 4]
USUAL = dict(
    vocab_size=VOCABULARY, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
    initializer_range=0.3, num_labels=LABELS, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
TYPES = {
    "bert": BertConfig(**USUAL, max_position_embeddings=12),
    "roberta": RobertaConfig(**USUAL, max_position_embeddings=16, type_vocab_size=1, pad_token_id=3, layer_norm_eps=1e-5),
    "xlm-roberta": XLMRobertaConfig(**USUAL, max_position_embeddings=14, type_vocab_size=1, layer_norm_eps=1e-5),
    "camembert": CamembertConfig(**USUAL, max_position_embeddings=14, type_vocab_size=2, hidden_act="relu"),
    "distilbert": DistilBertConfig(
        vocab_size=VOCABULARY, dim=12, n_layers=2, n_heads=3, hidden_dim=20, max_position_embeddings=12,
        initializer_range=0.3, num_labels=LABELS, dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0,
        qa_dropout=0.0, activation="relu"),
    "electra": ElectraConfig(**USUAL, max_position_embeddings=12, embedding_size=8, hidden_act="gelu_new"),
    "mpnet": MPNetConfig(**USUAL, max_position_embeddings=14),
    "nomic_bert": NomicBertConfig(**USUAL, max_position_embeddings=12),
    "gte": GteConfig(**USUAL, max_position_embeddings=12, rope_parameters={"rope_type": "default", "rope_theta": 500.0}),
    "modernbert": ModernBertConfig(
        vocab_size=VOCABULARY, hidden_size=12, intermediate_size=20, num_hidden_layers=4, num_attention_heads=3,
        num_labels=2, max_position_embeddings=12, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1,
        sep_token_id=2, local_attention=6, global_attn_every_n_layers=2, classifier_pooling="mean", norm_bias=False,
        initializer_range=0.3),
}
TYPES["gpt2"] = GPT2Config(
    vocab_size=VOCABULARY, n_embd=12, n_layer=2, n_head=3, n_positions=12, num_labels=LABELS, pad_token_id=0, bos_token_id=1,
    eos_token_id=1, initializer_range=0.3, embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0, classifier_dropout=0.0)
TYPES["gpt2-scores"] = GPT2Config(**{
    **TYPES["gpt2"].to_dict(), "n_inner": 20, "scale_attn_weights": False, "scale_attn_by_inverse_layer_idx": True,
    "activation_function": "relu"})
# ModernBERT's layer before an answer's ends has the name of that before the labels, so there are as many labels as ends.
# All its biases, and its other pooling:
TYPES["modernbert-biases"] = ModernBertConfig(**{
    **TYPES["modernbert"].to_dict(), "norm_bias": True, "attention_bias": True, "mlp_bias": True, "classifier_bias": True,
    "decoder_bias": False, "classifier_pooling": "cls", "classifier_activation": "silu", "hidden_activation": "silu",
    "layer_types": ["sliding_attention", "full_attention", "full_attention", "sliding_attention"]})
HEADS = {
    "classify": AutoModelForSequenceClassification,
    "tag": AutoModelForTokenClassification,
    "fill_mask": AutoModelForMaskedLM,
    "answer": AutoModelForQuestionAnswering,
    "generate": AutoModelForCausalLM,
}


def batch(config, labels, generator):
    """Ids, mask, and targets for every head."""
    draw = lambda low, high, size: torch.randint(low, high, size, generator=generator)
    shape = (len(LENGTHS), max(LENGTHS))
    mask = torch.arange(shape[1])[None] < torch.tensor(LENGTHS)[:, None]
    pad = config.pad_token_id
    ids = draw(pad + 1, VOCABULARY, shape).masked_fill(~mask, pad)
    ids[2, 5] = pad
    types = draw(0, max(getattr(config, "type_vocab_size", 1), 1), shape).masked_fill(~mask, 0)
    return {
        "ids": ids, "types": types, "mask": mask, "labels": draw(0, labels, shape[:1]),
        "words": draw(0, VOCABULARY, shape).masked_fill(~mask, -100),
        "tags": draw(0, labels, shape).masked_fill(~mask, -100),
        "starts": torch.tensor([2, 0, 11, 3]), "ends": torch.tensor([5, 0, 11, 3]),
    }


def inputs(kind, data):
    without = kind in ("distilbert", "mpnet") or kind.startswith(("modernbert", "gpt2"))
    types = {} if without else {"token_type_ids": data["types"]}
    return dict(input_ids=data["ids"], attention_mask=data["mask"].long(), **types)


def logits(output):
    if "start_logits" in output:
        return torch.stack([output.start_logits, output.end_logits], -1)
    return output.logits


def loss(head, scores, data):
    """The usual loss; an answer begins and ends at a token of its own sequence, not at padding."""
    cross_entropy = torch.nn.functional.cross_entropy
    if head == "answer":
        ends = torch.stack([data["starts"], data["ends"]], 1)
        rows = [cross_entropy(row[:n].T, end) for row, n, end in zip(scores, LENGTHS, ends)]
        return torch.stack(rows).mean()
    labels = data[{"classify": "labels", "tag": "tags", "fill_mask": "words", "generate": "words"}[head]]
    return cross_entropy(scores.flatten(0, -2), labels.flatten())


def parameters(model):
    """The parameters by name. A decoder that shares the word embeddings has their name."""
    words = model.get_input_embeddings().weight
    names = [name for name, parameter in model.named_parameters(remove_duplicate=False) if parameter is words]
    shared = next(name for name in names if name.startswith(model.base_model_prefix))
    return [(shared if parameter is words else name, parameter) for name, parameter in model.named_parameters()]


def run(kind, config):
    """The model folder of a type, and what PyTorch computes."""
    config._attn_implementation = "eager"
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(0)
    labels = config.num_labels
    data = batch(config, labels, generator)
    weights, files, expected = {}, {}, {}
    for head, kind_of_model in HEADS.items():
        # transformers has no such head, or only as a decoder of another kind
        if type(config) not in kind_of_model._model_mapping or (head == "generate") > kind.startswith("gpt2"):
            continue
        # The answer's head has two outputs, however many labels there are.
        config.num_labels = 2 if head == "answer" else labels
        model = kind_of_model.from_config(config).train()
        with torch.no_grad():
            for name, parameter in parameters(model):
                # Every head on the same encoder; norms and biases that are not those of a new model.
                value = torch.randn(parameter.shape, generator=generator) * 0.3 + (1.0 if "orm.weight" in name or ".ln_" in name else 0.0)
                weights.setdefault(name, value)
                parameter.copy_(weights[name])
        # As transformers writes it: it may rename tensors, and join them.
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            files.update(load_file(f"{folder}/model.safetensors"))
        output = model(**inputs(kind, data), output_hidden_states=True)
        scores = logits(output)
        value = loss(head, scores, data)
        value.backward()
        expected[f"{head}.logits"], expected[f"{head}.loss"] = scores, value
        if head == "classify":
            states = [*output.hidden_states[:-1], model.base_model(**inputs(kind, data)).last_hidden_state]
            expected.update({f"hidden.{i}": state for i, state in enumerate(states)})
        for name, parameter in parameters(model):
            if parameter.grad is not None:
                expected[f"{head}.grad.{name}"] = parameter.grad
        if head == "generate":
            prompt = data["ids"][:1, :3]
            for name, penalty in [("greedy", 1.0), ("penalised", 1.4)]:
                expected[name] = model.eval().generate(
                    prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=8, do_sample=False, eos_token_id=None,
                    repetition_penalty=penalty)[0]
    config.num_labels = labels
    folder = HERE / kind
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config.save_pretrained(folder)
    save_file(files, folder / "model.safetensors")
    values = {name: value.detach().contiguous() for name, value in {**data, **expected}.items()}
    whole = lambda value: value.clamp(min=0).int() if value.dtype in (torch.int64, torch.bool) else value
    values = {name: whole(value) for name, value in values.items()}
    save_file(values, folder / "expected.safetensors")
    print(kind, {head: round(expected[f"{head}.loss"].item(), 4) for head in HEADS if f"{head}.loss" in expected})


for kind in sys.argv[1:] or TYPES:
    run(kind, TYPES[kind])
