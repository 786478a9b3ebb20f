//! `infer evaluate`: the numbers are those of the answers.

use crate::common::{Head, Model, TEXTS, command, fails, infer, lines, stderr, stdout};
use gradus_models::Pooling;
use serde_json::Value;

const CLASSIFIER: Head = Head::Sequence(Pooling::Mean);
const LABELS: [&str; 3] = ["card", "fee", "rate"];

/// The best label of each text, with its score.
fn answers(model: &Model) -> Vec<(String, f64)> {
    let run = infer(
        &[&["classify", "--model", model.path(), "--top-k", "1", "--json"], &TEXTS[..]].concat(),
    );
    let best = |line: Value| {
        (
            line["labels"][0]["label"].as_str().unwrap().to_string(),
            line["labels"][0]["score"].as_f64().unwrap(),
        )
    };
    lines(&run).into_iter().map(best).collect()
}

/// A file of the texts; each label is `shift` after the predicted one.
fn labelled(model: &Model, shift: impl Fn(usize) -> usize) -> (String, Vec<usize>) {
    let mut truth = Vec::new();
    let mut text = String::from("id,text,label\n");
    for (i, (answer, _)) in answers(model).iter().enumerate() {
        let label = (LABELS.iter().position(|l| l == answer).unwrap() + shift(i)) % 3;
        text += &format!("{i},\"{}\",{}\n", TEXTS[i], LABELS[label]);
        truth.push(label);
    }
    let path = model.file("data.csv");
    std::fs::write(&path, text).unwrap();
    (path.to_str().unwrap().to_string(), truth)
}

fn evaluate(model: &Model, data: &str, more: &[&str]) -> Value {
    let run =
        infer(&[&["evaluate", "--model", model.path(), "--data", data, "--json"], more].concat());
    let mut all = lines(&run);
    assert_eq!(all.len(), 1, "one object");
    all.remove(0)
}

#[test]
fn everything_right() {
    let model = Model::new(CLASSIFIER);
    let (data, truth) = labelled(&model, |_| 0);
    let result = evaluate(&model, &data, &[]);
    assert_eq!((&result["accuracy"], &result["macro_f1"]), (&1.0.into(), &1.0.into()));
    assert_eq!(result["examples"], TEXTS.len());
    assert!(result["mistakes"].as_array().unwrap().is_empty());
    for (id, label) in LABELS.iter().enumerate() {
        let support = truth.iter().filter(|&&t| t == id).count();
        assert_eq!(result["per_class"][label]["support"], support);
        let f1 = if support == 0 { 0.0 } else { 1.0 };
        assert_eq!(result["per_class"][label]["f1"], f1);
    }
    let mean =
        answers(&model).iter().map(|(_, score)| -score.ln()).sum::<f64>() / TEXTS.len() as f64;
    assert!((result["loss"].as_f64().unwrap() - mean).abs() < 1e-6, "{result}");
}

#[test]
fn mistakes_are_counted_and_the_most_confident_shown_first() {
    let model = Model::new(CLASSIFIER);
    // The second and the fifth text are wrong.
    let (data, truth) = labelled(&model, |i| usize::from(i == 1 || i == 4));
    let result = evaluate(&model, &data, &[]);
    assert_eq!(result["accuracy"], 0.6);
    let answers = answers(&model);
    let mistakes = result["mistakes"].as_array().unwrap();
    assert_eq!(mistakes.len(), 2);
    let order = if answers[1].1 >= answers[4].1 { [1, 4] } else { [4, 1] };
    for (mistake, i) in mistakes.iter().zip(order) {
        assert_eq!(mistake["text"], TEXTS[i]);
        assert_eq!(mistake["label"], LABELS[truth[i]]);
        assert_eq!(mistake["predicted"], answers[i].0);
        assert_eq!(mistake["line"], i + 2);
        assert!((mistake["score"].as_f64().unwrap() - answers[i].1).abs() < 1e-6);
    }
    let count: u64 =
        result["confusions"].as_array().unwrap().iter().map(|c| c["count"].as_u64().unwrap()).sum();
    assert_eq!(count, 2);
    assert_eq!(
        evaluate(&model, &data, &["--mistakes", "1"])["mistakes"].as_array().unwrap().len(),
        1
    );

    let shown = stdout(&infer(&["evaluate", "--model", model.path(), "--data", &data]));
    for part in [
        "accuracy 60.00%",
        "precision",
        "most frequent mistakes",
        "most confident mistakes",
        TEXTS[4],
    ] {
        assert!(shown.contains(part), "no `{part}` in: {shown}");
    }
}

/// Of equal scores the first label wins, like `argmax` and in training.
#[test]
fn a_tie_is_the_first_label() {
    let model = Model::change(CLASSIFIER, |store| {
        for name in ["classifier.weight", "classifier.bias"] {
            let parameter = store.get(name).unwrap();
            parameter.set(parameter.tensor().zeros_like().unwrap()).unwrap();
        }
    });
    let data = model.file("data.csv");
    std::fs::write(&data, "text,label\nmy card,card\nthe fee,fee\n").unwrap();
    let result = evaluate(&model, data.to_str().unwrap(), &[]);
    assert_eq!(result["accuracy"], 0.5);
    assert_eq!(result["mistakes"][0]["predicted"], "card");
    assert!((result["loss"].as_f64().unwrap() - 3f64.ln()).abs() < 1e-6, "{result}");
}

#[test]
fn labels_of_a_model_without_names_are_numbers() {
    let model = Model::new(CLASSIFIER);
    let (_, truth) = labelled(&model, |_| 0);
    let path = model.file("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["id2label"] = serde_json::json!({"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"});
    config.as_object_mut().unwrap().remove("label2id");
    std::fs::write(&path, config.to_string()).unwrap();
    let rows: String = TEXTS.iter().zip(&truth).map(|(t, l)| format!("\"{t}\",{l}\n")).collect();
    let data = model.file("numbers.csv");
    std::fs::write(&data, format!("text,label\n{rows}")).unwrap();
    assert_eq!(evaluate(&model, data.to_str().unwrap(), &[])["accuracy"], 1.0);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let model = Model::new(CLASSIFIER);
    let (data, _) = labelled(&model, |_| 0);
    let run = |model: &Model, args: &[&str]| {
        infer(&[&["evaluate", "--model", model.path()], args].concat())
    };
    fails(&run(&model, &[]), 2, &["--data"]);
    fails(&run(&model, &["--data", "no/such.csv"]), 1, &["no/such.csv"]);
    fails(&run(&model, &["--data", model.path()]), 2, &["one file"]);
    fails(
        &run(&model, &["--data", &data, "--label-column", "id"]),
        1,
        &["data.csv:2", "label `0`", "card, fee, rate"],
    );
    fails(&run(&model, &["--data", &data, "--label-column", "kind"]), 1, &["no column `kind`"]);
    fails(&run(&Model::new(Head::Rank), &["--data", &data]), 1, &["no number"]);
    fails(&run(&Model::new(Head::Tokens), &["--data", &data]), 1, &["data.csv", ".conll"]);
    fails(&infer(&["evaluate", "--data", &data]), 2, &["--model"]);
}

#[test]
fn flags_may_stand_before_the_subcommand() {
    let model = Model::new(CLASSIFIER);
    let (data, _) = labelled(&model, |_| 0);
    let run = infer(&["-q", "--json", "evaluate", "--model", model.path(), "--data", &data]);
    assert_eq!(lines(&run).len(), 1);
    assert!(run.stderr.is_empty());
}

/// Words as a CoNLL file, with the tags that the model gives them, changed by `change`.
fn tagged(model: &Model, change: impl Fn(usize, &str) -> String) -> String {
    let bare = model.file("bare.conll");
    let words = "my\ncard\n\nU.S.\nfee\n\nthe\nexchange\nrate\nis\nhigh\n";
    std::fs::write(&bare, words).unwrap();
    let run =
        infer(&["tokens", "--model", model.path(), "--json", "--input", bare.to_str().unwrap()]);
    let mut text = String::new();
    let mut count = 0;
    for line in lines(&run) {
        for word in line["words"].as_array().unwrap() {
            let label = change(count, word["label"].as_str().unwrap());
            text += &format!("{}\t{label}\n", word["text"].as_str().unwrap());
            count += 1;
        }
        text += "\n";
    }
    assert_eq!(count, 9);
    let path = model.file("tagged.conll");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_string()
}

#[test]
fn a_tagger_is_measured_by_its_entities() {
    let model = Model::new(Head::Tokens);
    let right = evaluate(&model, &tagged(&model, |_, label| label.into()), &[]);
    assert_eq!((&right["f1"], &right["accuracy"]), (&1.0.into(), &1.0.into()), "{right}");
    assert!(right["per_class"]["THING"]["support"].as_u64().unwrap() > 0, "no entity: {right}");
    assert_eq!((&right["examples"], &right["words"]), (&3.into(), &9.into()));
    assert!(right["mistakes"].as_array().unwrap().is_empty());

    // Every word from the third on is an entity in the data; the first sentence is as the model
    // says, one entity.
    let data = tagged(&model, |i, label| if i < 2 { label.into() } else { "B-THING".into() });
    let result = evaluate(&model, &data, &[]);
    assert_eq!(result["per_class"]["THING"]["support"], 8);
    let (f1, recall) = (result["f1"].as_f64().unwrap(), result["recall"].as_f64().unwrap());
    assert!(recall < 1.0 && f1 < 1.0 && f1 > 0.0, "{result}");
    let mistakes = result["mistakes"].as_array().unwrap();
    let scores: Vec<f64> = mistakes.iter().map(|m| m["score"].as_f64().unwrap()).collect();
    assert!(!scores.is_empty() && scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    let missed = &mistakes[0]["missed"][0];
    let start = missed["start"].as_u64().unwrap() as usize;
    assert_eq!(missed["text"], mistakes[0]["words"][start]);
    assert_eq!(missed["label"], "THING");
    let strict = evaluate(&model, &data, &["--scheme", "iob2"]);
    assert!(strict["f1"].as_f64().unwrap() <= 1.0);
    let shown = stdout(&infer(&["evaluate", "--model", model.path(), "--data", &data]));
    for part in ["F1 ", "precision", "THING", "most confident mistakes", "missed: THING"] {
        assert!(shown.contains(part), "no `{part}` in: {shown}");
    }
    let with = |flags: &[&str]| {
        infer(&[&["evaluate", "--model", model.path(), "--data", &data], flags].concat())
    };
    fails(&with(&["--label-column", "x"]), 2, &["--label-column", "--tags-column"]);
    fails(&with(&["--scheme", "ioe2"]), 2, &["--scheme", "`B-THING`"]);
    let unknown = tagged(&model, |i, label| if i == 3 { "B-X".into() } else { label.into() });
    fails(
        &infer(&["evaluate", "--model", model.path(), "--data", &unknown]),
        1,
        &["tagged.conll:5", "`B-X`", "`fee`"],
    );
    let classifier = Model::new(CLASSIFIER);
    let (texts, _) = labelled(&classifier, |_| 0);
    let flags = ["--data", &texts, "--scheme", "iob2"];
    let run = infer(&[&["evaluate", "--model", classifier.path()], &flags[..]].concat());
    fails(&run, 2, &["--scheme", "classifies texts"]);
}

/// The similarity of two texts as `infer similarity` computes it.
fn similarity(model: &Model, a: &str, b: &str) -> f64 {
    let run = infer(&["similarity", "--model", model.path(), "--json", a, b]);
    lines(&run)[0]["similarity"].as_f64().unwrap()
}

#[test]
fn an_embedder_is_evaluated_on_pairs() {
    let model = Model::new(Head::None);
    let data = model.file("pairs.csv");
    let rows: Vec<(&str, &str)> =
        (0..TEXTS.len()).map(|i| (TEXTS[i], TEXTS[(i + 1) % TEXTS.len()])).collect();
    let text: String = rows.iter().map(|(a, b)| format!("\"{a}\",\"{b}\"\n")).collect();
    std::fs::write(&data, format!("question,answer\n{text}")).unwrap();
    // Each text is a question once and an answer once; a copy of the question is no wrong answer.
    let found = rows.iter().filter(|(question, answer)| {
        let right = similarity(&model, question, answer);
        let mut wrong = TEXTS.iter().filter(|text| *text != question && *text != answer);
        wrong.all(|text| similarity(&model, question, text) < right)
    });
    let recall = found.count() as f64 / rows.len() as f64;
    let columns = ["--anchor-column", "question"];
    let result = evaluate(&model, data.to_str().unwrap(), &columns);
    assert_eq!(result["recall_at_1"], recall, "{result}");
    assert_eq!((&result["recall_at_5"], &result["examples"]), (&1.0.into(), &5.into()));
    assert!(result.get("triplet_accuracy").is_none(), "{result}");
    let mistakes = result["mistakes"].as_array().unwrap();
    assert_eq!(mistakes.len(), rows.len() - (recall * 5.0).round() as usize);
    for mistake in mistakes {
        let of = |key: &str| mistake[key].as_str().unwrap().to_string();
        let right = similarity(&model, &of("anchor"), &of("positive"));
        let taken = similarity(&model, &of("anchor"), &of("taken"));
        assert!((mistake["similarity"].as_f64().unwrap() - right).abs() < 1e-5, "{mistake}");
        assert!((mistake["taken_similarity"].as_f64().unwrap() - taken).abs() < 1e-5, "{mistake}");
        assert!(taken > right, "{mistake}");
    }
    let shown = infer(
        &[&["evaluate", "--model", model.path(), "--data", data.to_str().unwrap()], &columns[..]]
            .concat(),
    );
    assert!(stdout(&shown).starts_with("recall@1 "), "{}", stdout(&shown));
}

#[test]
fn an_embedder_is_evaluated_by_scores() {
    let model = Model::new(Head::None);
    // The folder says that it embeds, so no flag has to.
    let modules = r#"[{"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]"#;
    std::fs::write(model.file("modules.json"), modules).unwrap();
    std::fs::create_dir(model.file("1_Pooling")).unwrap();
    std::fs::write(model.file("1_Pooling/config.json"), r#"{"pooling_mode": "mean"}"#).unwrap();
    let data = model.file("scores.jsonl");
    let pairs = [(0, 1), (1, 2), (2, 3), (3, 4)];
    let line = |(a, b): (usize, usize)| {
        // A score that falls as the cosine rises.
        let score = 7.0 - similarity(&model, TEXTS[a], TEXTS[b]);
        let line = serde_json::json!({"text1": TEXTS[a], "text2": TEXTS[b], "score": score});
        format!("{line}\n")
    };
    std::fs::write(&data, pairs.map(line).concat()).unwrap();
    let result = evaluate(&model, data.to_str().unwrap(), &[]);
    assert_eq!(result["spearman"], -1.0, "{result}");
    assert!((result["pearson"].as_f64().unwrap() + 1.0).abs() < 1e-6, "{result}");
    assert_eq!(result["mistakes"].as_array().unwrap().len(), 4);

    let run = |more: &[&str], data: &std::path::Path| {
        let flags = ["evaluate", "--model", model.path(), "--data", data.to_str().unwrap()];
        infer(&[&flags[..], more].concat())
    };
    fails(&run(&["--label-column", "score"], &data), 2, &["--label-column", "--score-column"]);
    fails(&run(&["--scheme", "iob2"], &data), 2, &["--scheme", "embeds texts"]);
    let unclear = model.file("unclear.csv");
    std::fs::write(&unclear, "text1,text2,label\na,b,1\n").unwrap();
    fails(&run(&[], &unclear), 1, &["`label` may say", "--score-column"]);
    let classifier = Model::new(CLASSIFIER);
    let flags = ["evaluate", "--model", classifier.path(), "--data", data.to_str().unwrap()];
    let refused = infer(&[&flags[..], &["--score-column", "score"]].concat());
    fails(&refused, 2, &["--score-column", "classifies texts"]);
}

/// A masked language model is measured on raw text, as a run of `train mlm` measures it on its dev
/// text.
#[test]
fn a_masked_language_model_is_measured_on_text() {
    let model = Model::new(Head::Masked);
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text.txt");
    std::fs::write(&text, format!("{}\n", TEXTS.join("\n")).repeat(20)).unwrap();
    let text = text.to_str().unwrap();
    let all = ["--mask-probability", "0.5", "--max-length", "12"];
    let result = evaluate(&model, text, &all);
    let number = |key: &str| result[key].as_f64().unwrap();
    assert!((number("loss").exp() / number("perplexity") - 1.0).abs() < 1e-9, "{result}");
    assert!((0.0..=1.0).contains(&number("accuracy")) && number("masked") > 20.0, "{result}");
    assert_eq!(evaluate(&model, text, &all), result, "the masks are always the same");
    let other = evaluate(&model, text, &[&all[..], &["--seed", "3"]].concat());
    assert_ne!(other["loss"], result["loss"]);
    assert_eq!(result["mistakes"].as_array().unwrap().len(), 5);

    let refused = |data: &str, flags: &[&str]| {
        let base = ["evaluate", "--model", model.path(), "--data", data];
        let output = infer(&[&base[..], flags].concat());
        assert!(!output.status.success());
        stderr(&output)
    };
    let told = refused(text, &["--label-column", "label"]);
    assert!(told.contains("--label-column: the model fills masks"), "{told}");
    assert!(refused(text, &["--mask-probability", "0"]).contains("--mask-probability"));
    std::fs::write(dir.path().join("a.csv"), "text,label\na,b\n").unwrap();
    let labelled = refused(dir.path().join("a.csv").to_str().unwrap(), &[]);
    assert!(labelled.contains("classif"), "{labelled}");
}

/// A causal language model is measured on raw text, as a run of `train lm` measures it on its dev
/// text.
#[test]
fn a_causal_language_model_is_measured_on_text() {
    let model = Model::new(Head::Causal);
    let path = model.file("text.txt");
    let text = TEXTS.join("\n").repeat(6);
    std::fs::write(&path, &text).unwrap();
    let path = path.to_str().unwrap();
    let result = evaluate(&model, path, &["--max-length", "20"]);
    let number = |name: &str| result[name].as_f64().unwrap_or_else(|| panic!("{name}: {result}"));
    // Its tokens are bytes; every one but the first is predicted.
    assert_eq!(number("tokens") as usize, text.len() - 1);
    let bits = number("loss") * number("tokens") / 2f64.ln() / text.len() as f64;
    assert!((number("bits_per_byte") - bits).abs() < 1e-9, "{result}");
    assert!((number("perplexity") - number("loss").exp()).abs() < 1e-6);
    assert_eq!(result["mistakes"].as_array().unwrap().len(), 5);
    // Texts in rows are the same text as lines.
    let (lines, rows) = (model.file("lines.txt"), model.file("rows.csv"));
    std::fs::write(&lines, TEXTS.map(|text| format!("{text}\n")).concat()).unwrap();
    let row = |text| format!("7,\"{text}\"\n");
    std::fs::write(&rows, format!("id,body\n{}", TEXTS.map(row).concat())).unwrap();
    let [lines, rows] = [&lines, &rows].map(|path| path.to_str().unwrap());
    assert_eq!(evaluate(&model, rows, &["--text-column", "body"]), evaluate(&model, lines, &[]));
    // Longer blocks give a token more to see.
    let longer = evaluate(&model, path, &["--max-length", "60"]);
    assert!(longer["examples"].as_u64() < result["examples"].as_u64());
    let wrong = ["evaluate", "--model", model.path(), "--data", path, "--whole-words"];
    fails(&infer(&wrong), 2, &["--whole-words", "predicts the next words"]);
}

/// Texts in rows are the same text as lines.
#[test]
fn a_masked_language_model_is_measured_on_rows() {
    let model = Model::new(Head::Masked);
    let file = |name: &str, text: String| {
        std::fs::write(model.file(name), text).unwrap();
        model.file(name).to_str().unwrap().to_string()
    };
    let lines: String = TEXTS.iter().map(|text| format!("{text}\n")).collect();
    let text = file("text.txt", lines.clone());
    let json = |text: &&str| format!("{}\n", serde_json::json!({ "body": text }));
    let rows = file("rows.jsonl", TEXTS.iter().map(json).collect());
    let column = ["--text-column", "body"];
    assert_eq!(evaluate(&model, &rows, &column), evaluate(&model, &text, &[]));
    let base = ["evaluate", "--model", model.path(), "--data", &text];
    let refused = infer(&[&base[..], &column].concat());
    fails(&refused, 2, &["--text-column", "plain text"]);
    let flags = ["evaluate", "--model", model.path(), "--data", &rows, "--text-column", "text"];
    fails(&infer(&flags), 1, &["rows.jsonl", "no key `text`"]);
}

/// A folder, or a data set of the hub, stands for its test set or its dev set.
#[test]
fn sets_of_a_folder_and_of_the_hub() {
    let model = Model::new(CLASSIFIER);
    let [right, wrong] = [0, 1].map(|shift| {
        let (data, _) = labelled(&model, |_| shift);
        std::fs::read(data).unwrap()
    });
    let home = tempfile::tempdir().unwrap();
    let snapshot = home.path().join("hub/datasets--org--texts/snapshots/c0ffee");
    let refs = home.path().join("hub/datasets--org--texts/refs");
    for folder in [&snapshot, &refs] {
        std::fs::create_dir_all(folder).unwrap();
    }
    std::fs::write(refs.join("main"), "c0ffee").unwrap();
    for (name, rows) in [("train", &right), ("validation", &right), ("test", &wrong)] {
        std::fs::write(snapshot.join(format!("{name}.csv")), rows).unwrap();
    }
    let of = |data: &str, more: &[&str]| {
        let flags = ["evaluate", "--model", model.path(), "--data", data, "--json"];
        let mut infer = command(&[&flags[..], more].concat());
        infer.env("HF_HOME", home.path()).output().unwrap()
    };
    let accuracy = |output: &std::process::Output| lines(output)[0]["accuracy"].as_f64().unwrap();
    let folder = snapshot.to_str().unwrap();
    for data in ["hub:org/texts", folder] {
        let test = of(data, &[]);
        assert_eq!(accuracy(&test), 0.0, "{data}");
        assert!(stderr(&test).contains("test.csv"), "{}", stderr(&test));
        for set in ["validation", "dev", "train"] {
            assert_eq!(accuracy(&of(data, &["--split", set])), 1.0, "{data} {set}");
        }
    }
    std::fs::remove_file(snapshot.join("test.csv")).unwrap();
    assert_eq!(accuracy(&of("hub:org/texts", &[])), 1.0, "the dev set");
    fails(&of(folder, &["--split", "test"]), 2, &["--data", "no test set", "validation.csv"]);
    fails(&of(folder, &["--split", "all"]), 2, &["`all` is no set"]);
    let file = snapshot.join("train.csv");
    fails(&of(file.to_str().unwrap(), &["--split", "dev"]), 2, &["--split", "one file"]);
    fails(&of("hub:org/none", &[]), 1, &["org/none", "not in the cache"]);
}
