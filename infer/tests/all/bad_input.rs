//! For every wrong input the program explains the problem in one paragraph.

use std::fs;

use crate::common::{Head, Model, TEXTS, fails, infer, infer_with, reshaped};
use gradus_models::Pooling;
use gradus_tensor::Tensor;

const CLASSIFIER: Head = Head::Sequence(Pooling::Mean);

fn classify(model: &Model, more: &[&str]) -> std::process::Output {
    infer(&[&["classify", "--model", model.path()], more].concat())
}

#[test]
fn a_missing_folder() {
    let run = infer(&["classify", "--model", "/no/such/folder", "hi"]);
    fails(&run, 1, &["/no/such/folder", "no such folder"]);
    // A path whose parent exists is not a hub id; the error names the models there.
    let model = Model::new(CLASSIFIER);
    let (parent, name) = (model.0.path().parent().unwrap(), model.0.path().file_name().unwrap());
    let run = infer(&["classify", "--model", &format!("{}x", model.path()), "hi"]);
    fails(&run, 1, &["no such folder", &parent.display().to_string(), &name.to_string_lossy()]);
    let run = infer(&["classify", "--model", "no-such-model", "hi"]);
    fails(&run, 1, &["no-such-model", "HF_HUB_OFFLINE"]);
}

#[test]
fn a_folder_that_lacks_a_file() {
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        let model = Model::new(CLASSIFIER);
        fs::remove_file(model.file(name)).unwrap();
        fails(&classify(&model, &["hi"]), 1, &[name]);
    }
}

#[test]
fn truncated_or_corrupt_weights() {
    let model = Model::new(CLASSIFIER);
    let path = model.file("model.safetensors");
    let whole = fs::read(&path).unwrap();
    for length in [0, 4, 9, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        fails(&classify(&model, &["hi"]), 1, &["model.safetensors"]);
    }
    let mut corrupt = whole.clone();
    corrupt[8..16].fill(b'x');
    fs::write(&path, &corrupt).unwrap();
    fails(&classify(&model, &["hi"]), 1, &["model.safetensors", "corrupt"]);
}

#[test]
fn a_wrong_config() {
    for (from, to, part) in [
        ("\"model_type\": \"bert\"", "\"model_type\": \"gpt2\"", "gpt2"),
        ("\"hidden_size\": 32", "\"hidden_size\": 33", "num_attention_heads"),
        ("\"hidden_size\": 32", "\"hidden_size\": \"wide\"", "wide"),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "encoder.layer.2"),
        ("\"vocab_size\"", "\"vocabulary\"", "vocab_size"),
        ("{", "", "config.json"),
    ] {
        let model = Model::new(CLASSIFIER);
        let path = model.file("config.json");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        fails(&classify(&model, &["hi"]), 1, &[part]);
    }
}

#[test]
fn a_shape_that_does_not_fit() {
    let model = Model::new(Head::Sequence(Pooling::Cls));
    reshaped(model.0.path(), "classifier.weight", &[4, 32]);
    fails(&classify(&model, &["hi"]), 1, &["classifier.weight", "[4, 32]", "[3, 32]"]);
    let name = "bert.encoder.layer.1.attention.self.query.weight";
    let model = Model::new(CLASSIFIER);
    reshaped(model.0.path(), name, &[32, 16]);
    fails(&classify(&model, &["hi"]), 1, &[name, "[32, 16]", "[32, 32]"]);
}

#[test]
fn a_vocabulary_of_another_model() {
    let model = Model::new(CLASSIFIER);
    let path = model.file("config.json");
    let text = fs::read_to_string(&path).unwrap();
    let size = text.split("\"vocab_size\": ").nth(1).unwrap().split(',').next().unwrap();
    fs::write(&path, text.replace(&format!("\"vocab_size\": {size}"), "\"vocab_size\": 20"))
        .unwrap();
    fails(&classify(&model, &["hi"]), 1, &["vocab_size is 20"]);
}

#[test]
fn a_head_that_is_not_there() {
    let encoder = Model::new(Head::None);
    for (args, parts) in [
        (["classify", "hi"], ["classifier.weight", "train classify"]),
        // `train` has no command for these, so the error names none.
        (["tokens", "hi"], ["classifier.weight", "BertForTokenClassification"]),
        (["fill-mask", "hi [MASK]"], ["cls.predictions", "BertForMaskedLM"]),
    ] {
        let run = infer(&[args[0], "--model", encoder.path(), args[1]]);
        fails(&run, 1, &parts);
    }
    // A head that was trained on the mean has no BERT pooler.
    let model = Model::new(CLASSIFIER);
    let path = model.file("config.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"pooling\": \"mean\"", "\"pooling\": \"cls\"")).unwrap();
    fails(&classify(&model, &["hi"]), 1, &["bert.pooler.dense.weight"]);
}

#[test]
fn a_head_of_another_kind() {
    let model = Model::new(Head::Tokens);
    fails(&classify(&model, &["hi"]), 1, &["BertForTokenClassification", "infer tokens"]);
    let model = Model::new(CLASSIFIER);
    let run = infer(&["tokens", "--model", model.path(), "hi"]);
    fails(&run, 1, &["BertForSequenceClassification", "infer classify"]);
}

#[test]
fn weights_that_are_not_numbers() {
    let name = "bert.encoder.layer.0.output.dense.weight";
    for head in [CLASSIFIER, Head::None, Head::Masked, Head::Tokens] {
        for bad in [f32::NAN, f32::INFINITY] {
            let model = Model::change(head, |store| {
                let parameter = store.get(name).unwrap();
                let mut values = parameter.tensor().to_vec::<f32>().unwrap();
                values[77] = bad;
                let shape = parameter.shape().to_vec();
                parameter.set(Tensor::from_slice(&values, &shape).unwrap()).unwrap();
            });
            let command = match head {
                Head::None => "embed",
                Head::Sequence(_) | Head::Rank => "classify",
                Head::Masked => "fill-mask",
                Head::Tokens => "tokens",
                Head::Answers => "answer",
                Head::Causal => "generate",
            };
            let run = infer(&[command, "--model", model.path(), "my [MASK] card"]);
            fails(&run, 1, &[name, "NaN"]);
        }
    }
}

#[test]
fn a_text_without_a_mask() {
    let model = Model::new(Head::Masked);
    let fill = |text: &str| infer(&["fill-mask", "--model", model.path(), "hi [MASK]", text]);
    fails(&fill("no mask"), 1, &["no [MASK]", "no mask"]);
    fails(&fill(&format!("{}[MASK]", "card ".repeat(100))), 1, &["after the first 64 tokens"]);
}

#[test]
fn files_that_hold_no_texts() {
    let model = Model::new(CLASSIFIER);
    for (name, bytes, parts) in [
        ("empty.txt", &b""[..], ["empty.txt", "no examples"]),
        ("empty.csv", b"", ["empty.csv", "empty"]),
        ("head.csv", b"text\n", ["head.csv", "no examples"]),
        ("column.csv", b"id,body\n1,hi\n", ["no column `text`", "id, body"]),
        ("wide.csv", b"text\nhi,there\n", ["wide.csv:2", "2 fields"]),
        ("bytes.txt", b"hi\n\xff\xfe\n", ["bytes.txt:2", "invalid UTF-8"]),
        ("bytes.csv", b"text\nhi\n\xc3(\n", ["bytes.csv:3", "invalid UTF-8"]),
        ("key.jsonl", b"{\"body\": \"hi\"}\n", ["no key `text`", "body"]),
        ("line.jsonl", b"{\"text\": \"hi\"}\n{\n", ["line.jsonl:2", "JSON"]),
        ("texts.parquet", b"PAR1", ["texts.parquet", "damaged"]),
        ("texts.csv.gz", b"text\nhi\n", ["texts.csv.gz", "cannot unpack"]),
        ("texts.arrow", b"ARROW1", ["texts.arrow", ".jsonl"]),
    ] {
        let path = model.file(name);
        fs::write(&path, bytes).unwrap();
        fails(&classify(&model, &["--input", path.to_str().unwrap()]), 1, &parts);
    }
    fails(&classify(&model, &["--input", "/no/such.csv"]), 1, &["/no/such.csv", "no such file"]);
    let run = infer_with(&["classify", "--model", model.path()], b"caf\xe9\n");
    fails(&run, 1, &["standard input", "invalid UTF-8"]);
    let run = infer_with(&["classify", "--model", model.path()], b"");
    fails(&run, 1, &["standard input", "no texts"]);
}

#[test]
fn outputs_that_cannot_be_written() {
    let model = Model::new(Head::None);
    let embed = |path: &str| infer(&["embed", "--model", model.path(), "--output", path, "hi"]);
    fails(&embed("/no/such/folder/out.npy"), 1, &["/no/such/folder"]);
    fails(&embed("out.txt"), 2, &["out.txt", ".npy"]);
}

#[test]
fn flags_that_make_no_sense() {
    let model = Model::new(CLASSIFIER);
    for (flags, parts) in [
        (vec!["--threads", "0"], ["--threads", "1 to"]),
        (vec!["--threads", "many"], ["--threads", "many"]),
        (vec!["--top-k", "0"], ["--top-k", "1 or more"]),
        (vec!["--batch-size", "0"], ["--batch-size", "0"]),
        (vec!["--max-length", "65"], ["--max-length", "64"]),
        (vec!["--max-length", "1"], ["--max-length", "special tokens"]),
        (vec!["--device", "tpu"], ["--device", "gpu:N"]),
        (vec!["--input", "a.txt"], ["--input", "cannot be used"]),
        (vec!["--output", "a.csv"], ["a.csv", ".jsonl"]),
        (vec!["--no-such-flag"], ["--no-such-flag", "Usage"]),
    ] {
        let run = classify(&model, &[&[TEXTS[0]], &flags[..]].concat());
        fails(&run, 2, &parts);
    }
    fails(&classify(&model, &["hi", "--device", "gpu:999"]), 1, &["`gpu:999`", "not available"]);
    fails(&infer(&["classify", "hi"]), 2, &["--model", "infer classify --model"]);
    fails(&infer(&["similarity", "--model", model.path()]), 2, &["two texts"]);
    fails(&infer(&["similarity", "--model", model.path(), "one"]), 2, &["2 values"]);
}

/// A column flag for input without columns: ignoring it would answer pairs as single texts.
#[test]
fn columns_of_texts_that_have_none() {
    let model = Model::new(CLASSIFIER);
    let path = model.file("a.txt");
    fs::write(&path, "one\ntwo\n").unwrap();
    let txt = path.to_str().unwrap();
    for flag in ["--text-column", "--pair-column"] {
        fails(&classify(&model, &["hi", flag, "a"]), 2, &[flag, "on the command line"]);
        fails(&classify(&model, &["--input", txt, flag, "a"]), 2, &[flag, "no columns"]);
        let run = infer_with(&["classify", "--model", model.path(), flag, "a"], b"one\n");
        fails(&run, 2, &[flag, "no columns"]);
    }
    let run = infer(&["similarity", "--model", model.path(), "--input", txt]);
    fails(&run, 2, &["no columns or pairs"]);
}

#[test]
fn a_configuration_file_with_mistakes() {
    let model = Model::new(CLASSIFIER);
    for (text, parts) in [
        ("top_k = 2", ["infer.toml", "did you mean `top-k`?"]),
        ("learning-rate = 2", ["unknown key `learning-rate`", "the keys are"]),
        ("top-k = 'two'", ["top-k", "two"]),
        ("top-k = ", ["infer.toml", "not TOML"]),
    ] {
        let path = model.file("infer.toml");
        fs::write(&path, text).unwrap();
        fails(&classify(&model, &["--config", path.to_str().unwrap(), "hi"]), 2, &parts);
    }
}
