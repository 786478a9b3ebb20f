#!/usr/bin/env python3
"""Trains small tokenizers of every kind, writes them as the folders of `tokenizing/`, and writes what `transformers`
answers for each: `tokenizing/expected.json`. Run by hand:

    pip install transformers sentencepiece protobuf
    python models/tests/golden/tokenizing.py            # train, and write the folders and the answers
    python models/tests/golden/tokenizing.py --answers  # the answers again, for the folders as they are

The slow tokenizers, which are Python code, exist up to transformers 4. With that version in another environment

    python models/tests/golden/tokenizing.py --slow

compares their ids with those of `expected.json`, and prints where they differ.
"""
import json, os, shutil, sys, tempfile, warnings

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", TOKENIZERS_PARALLELISM="false")
warnings.filterwarnings("ignore")

HERE = os.path.dirname(os.path.abspath(__file__))
DIR = f"{HERE}/tokenizing"
WORDS = ("the a card bank transfer money lost stolen where when how is was it my your find track arrived late fee rate "
         "exchange Paris London capital of France England naïve café résumé über straße account balance don't can't 20 "
         "2024 3.5 https://example.org hello world walking walked walker").split()
TEXTS = [
    "Where is my card?", "Paris is the <mask> of France.", "Paris is the [MASK] of France.", "<mask>", " two  spaces   three",
    "line one\nline two\r\n\tthree", "", " ", "naïve café, résumé!", "über die Straße", "I 😀 you 👩‍👩‍👧 🇫🇷", "東京に行く 中文 字",
    "</s> inside <s> a text <pad> <unk>", "don't can't it's 20% of $3.50", "ｆｕｌｌ　ｗｉｄｔｈ ﬁne", "ALL CAPS Lower", "e\u0301 combining",
    "x" * 120, "tab\tand\u00a0nbsp\u200bzero", "https://example.org/a?b=c#d", "a<mask>b <mask>  <mask>!", "▁ already marked",
    "[CLS] text [SEP] more",
]
PAIRS = [("Where is my card?", "It is lost."), ("naïve 😀 café", "東京 is  late"), ("", "only the second"),
         ("the card was lost when the bank", "money")]
LENGTHS = [10**6, 12, 7]
SPLIT = [["Where", "is", "U.S.", "card"], ["naïve", "😀", "中文", "don't", " ", "end"]]


def corpus():
    import random
    rng = random.Random(5)
    lines = [" ".join(rng.choice(WORDS) for _ in range(rng.randint(3, 9))) + rng.choice(".?!") for _ in range(400)]
    return lines + ["Paris is the capital of France.", "London is the capital of England."] * 5


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False) + "\n")


def byte_level(folder, special=("<s>", "<pad>", "</s>", "<unk>", "<mask>")):
    from tokenizers import ByteLevelBPETokenizer
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(corpus(), 420, min_frequency=2, special_tokens=list(special))
    os.makedirs(folder, exist_ok=True)
    bpe.save_model(folder)


def pieces(path, size):
    """A SentencePiece model with a few rules of its own, because the usual ones take 240 kB."""
    import sentencepiece
    rules = [("FF46", "66"), ("FF55", "75"), ("FF4C", "6C"), ("FF57", "77"), ("FF49", "69"), ("FF44", "64"), ("FF54", "74"),
             ("FF48", "68"), ("3000", "20"), ("FB01", "66 69"), ("65 301", "E9"), ("A0", "20"), ("9", "20"), ("A", "20"),
             ("D", "20"), ("200B", "20")]
    with tempfile.TemporaryDirectory() as dir:
        write(f"{dir}/rules.tsv", "".join(f"{a}\t{b}\n" for a, b in rules))
        write(f"{dir}/corpus.txt", "\n".join(corpus()))
        sentencepiece.SentencePieceTrainer.train(
            input=f"{dir}/corpus.txt", model_prefix=f"{dir}/m", vocab_size=size, model_type="unigram", minloglevel=2,
            normalization_rule_tsv=f"{dir}/rules.tsv", character_coverage=1.0, num_threads=1)
        shutil.copy(f"{dir}/m.model", path)


def word_piece(path, special):
    from tokenizers import BertWordPieceTokenizer
    words = BertWordPieceTokenizer(lowercase=True)
    words.train_from_iterator(corpus(), 300, min_frequency=2, special_tokens=special)
    vocab = words.get_vocab()
    write(path, "\n".join(sorted(vocab, key=vocab.get)) + "\n")


MASK = {"content": "<mask>", "lstrip": True, "rstrip": False, "single_word": False, "normalized": False}


def folders():
    """Trains the tokenizers and writes the folders."""
    shutil.rmtree(DIR, ignore_errors=True)
    berts, roberta = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]
    byte_level(f"{DIR}/roberta")
    write(f"{DIR}/roberta/config.json", {"model_type": "roberta"})
    for name, config in {
        "roberta_prefix": {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": True, "mask_token": {"__type": "AddedToken", **MASK}},
        "roberta_offsets": {"tokenizer_class": "RobertaTokenizerFast", "trim_offsets": False, "truncation_side": "left"},
    }.items():
        shutil.copytree(f"{DIR}/roberta", f"{DIR}/{name}")
        write(f"{DIR}/{name}/tokenizer_config.json", config)
    write(f"{DIR}/roberta_prefix/special_tokens_map.json", {"mask_token": MASK, "cls_token": "<s>"})
    byte_level(f"{DIR}/gpt2", ["<|endoftext|>"])
    write(f"{DIR}/gpt2/config.json", {"model_type": "gpt2"})
    for name, kind in [("xlm_roberta", "xlm-roberta"), ("camembert", "camembert")]:
        os.makedirs(f"{DIR}/{name}")
        pieces(f"{DIR}/{name}/sentencepiece.bpe.model", 95)
        write(f"{DIR}/{name}/config.json", {"model_type": kind})
    for name, kind, special in [("electra", "electra", berts), ("mpnet", "mpnet", roberta), ("distilbert", "distilbert", berts)]:
        word_piece(f"{DIR}/{name}/vocab.txt", special)
        write(f"{DIR}/{name}/config.json", {"model_type": kind})
    saved()


def opened(name):
    """A tokenizer of a folder. Where no file says it, the mask (GPT-2 has none) is written with the space before it, as in `transformers` 4."""
    from transformers import AddedToken, AutoTokenizer
    described = any(os.path.isfile(f"{DIR}/{name}/{file}") for file in ("tokenizer.json", "special_tokens_map.json", "vocab.txt"))
    more = {} if described or name.startswith("gpt2") else {"mask_token": AddedToken("<mask>", lstrip=True, special=True, normalized=False)}
    return AutoTokenizer.from_pretrained(f"{DIR}/{name}", **more)


def saved():
    """The same with tokenizer.json, as `save_pretrained` writes it."""
    for name in ["roberta_prefix", "gpt2", "xlm_roberta", "camembert", "mpnet"]:
        to = f"{DIR}/{name}_json"
        tokenizer = opened(name)
        tokenizer.save_pretrained(to)
        for file in os.listdir(to):
            if file not in ("tokenizer.json", "tokenizer_config.json"):
                os.remove(f"{to}/{file}")
    # A tokenizer of no class: everything is in tokenizer.json.
    to = f"{DIR}/bare_json"
    os.makedirs(to)
    shutil.copy(f"{DIR}/roberta_prefix_json/tokenizer.json", to)
    names = {f"{k}_token": v for k, v in dict(cls="<s>", sep="</s>", pad="<pad>", mask="<mask>", unk="<unk>").items()}
    write(f"{to}/tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **names, "model_max_length": 9})


def answer(tokenizer, first, second=None, length=10**6):
    out = tokenizer(first, second, truncation=True, max_length=length, return_offsets_mapping=True,
                    return_token_type_ids=True)
    return {"ids": out["input_ids"], "types": out["token_type_ids"], "offsets": out["offset_mapping"]}


def answers():
    from transformers import __version__
    expected = {"transformers": __version__, "texts": TEXTS, "pairs": PAIRS, "lengths": LENGTHS, "split": SPLIT, "folders": {}}
    for name in sorted(os.listdir(DIR)):
        if not os.path.isdir(f"{DIR}/{name}"):
            continue
        t = opened(name)
        texts = [answer(t, text) for text in TEXTS]
        given = []
        if not (t.backend_tokenizer.pre_tokenizer.__class__.__name__ == "ByteLevel" and not t.add_prefix_space):
            given = [(out := t(words, is_split_into_words=True))["input_ids"] and {"ids": out["input_ids"], "words": out.word_ids()}
                     for words in SPLIT]
        expected["folders"][name] = {
            "class": type(t).__name__, "vocab_size": max(t.get_vocab().values()) + 1,
            "special": [t.pad_token_id, t.unk_token_id, t.cls_token_id, t.sep_token_id, t.mask_token_id],
            "max_length": t.model_max_length if t.model_max_length < 10**9 else None,
            "texts": texts,
            "decoded": [t.decode(text["ids"], skip_special_tokens=True) for text in texts],
            "pairs": [[answer(t, *pair, length) for length in LENGTHS] for pair in PAIRS],
            "split": given,
        }
    write(f"{DIR}/expected.json", expected)


def slow():
    import transformers
    with open(f"{DIR}/expected.json", encoding="utf-8") as f:
        expected = json.load(f)
    classes = {"roberta": "RobertaTokenizer", "roberta_prefix": "RobertaTokenizer", "xlm_roberta": "XLMRobertaTokenizer",
               "camembert": "CamembertTokenizer", "electra": "ElectraTokenizer", "mpnet": "MPNetTokenizer",
               "distilbert": "DistilBertTokenizer"}
    for name, kind in classes.items():
        t = getattr(transformers, kind).from_pretrained(f"{DIR}/{name}")
        want = expected["folders"][name]
        for text, answer in zip(TEXTS, want["texts"]):
            ids = t(text)["input_ids"]
            if ids != answer["ids"]:
                print(f"{name}: {text!r}\n  slow {t.convert_ids_to_tokens(ids)}\n  fast {t.convert_ids_to_tokens(answer['ids'])}")
        for pair, rows in zip(PAIRS, want["pairs"]):
            for length, answer in zip(LENGTHS, rows):
                ids = t(*pair, truncation=True, max_length=length)["input_ids"]
                if ids != answer["ids"]:
                    print(f"{name}: {pair!r} {length}\n  slow {t.convert_ids_to_tokens(ids)}\n  fast {t.convert_ids_to_tokens(answer['ids'])}")


if __name__ == "__main__":
    if "--slow" in sys.argv:
        slow()
    else:
        if "--answers" not in sys.argv:
            folders()
        answers()
