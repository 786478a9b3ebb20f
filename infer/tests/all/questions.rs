//! `infer answer`, and `infer evaluate` of a model that answers questions.

use crate::common::{Head, Model, TEXTS, fails, infer, infer_with, lines, stderr, stdout};
use serde_json::{Value, json};

const QUESTION: &str = "what is wrong";

fn answer(model: &Model, more: &[&str]) -> Vec<Value> {
    lines(&infer(&[&["answer", "--model", model.path(), "--json"], more].concat()))
}

/// Writes a file beside the model.
fn file(model: &Model, name: &str, text: &str) -> String {
    let path = model.file(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_string()
}

#[test]
fn answers_are_parts_of_the_text() {
    let model = Model::new(Head::Answers);
    let line = answer(&model, &["--top-k", "3", QUESTION, TEXTS[2]]).remove(0);
    assert_eq!(line["question"], QUESTION);
    assert!(line.get("id").is_none() && line["no_answer_difference"].is_number(), "{line}");
    let answers = line["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 3);
    for answer in answers {
        let place = |key: &str| answer[key].as_u64().unwrap() as usize;
        assert_eq!(answer["answer"], TEXTS[2][place("start")..place("end")]);
    }
    let scores: Vec<f64> = answers.iter().map(|a| a["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b) && scores[0] < 1.0, "{scores:?}");
    // The same for people.
    let said = stdout(&infer(&["answer", "--model", model.path(), QUESTION, TEXTS[2]]));
    assert!(said.starts_with(QUESTION), "{said}");
    assert!(said.contains(answers[0]["answer"].as_str().unwrap()), "{said}");
}

/// A text on the command line, from a file, on standard input, and in every form of --input gives
/// the same answers.
#[test]
fn the_text_may_come_from_anywhere() {
    let model = Model::new(Head::Answers);
    let context = format!("é 😀 {}", TEXTS[2]);
    let expected = answer(&model, &[QUESTION, &context]).remove(0);
    let same = |line: &Value| {
        assert_eq!(line["answers"], expected["answers"]);
    };
    let text = file(&model, "text.txt", &context);
    let both = answer(&model, &["--context-file", &text, QUESTION, "who"]);
    assert_eq!((both.len(), both[1]["question"].as_str()), (2, Some("who")));
    same(&both[0]);
    let args = ["answer", "--model", model.path(), "--json", "--context-file", "-", QUESTION];
    same(&lines(&infer_with(&args, context.as_bytes()))[0]);

    let row = json!({"id": "x", "question": QUESTION, "context": context});
    let squad = json!({"data": [{"title": "t", "paragraphs": [
        {"context": context, "qas": [{"id": "x", "question": QUESTION}]}]}]});
    for (name, text, id) in [
        ("q.jsonl", row.to_string(), json!("x")),
        ("q.json", squad.to_string(), json!("x")),
        ("q.csv", format!("question,context\n{QUESTION},\"{context}\"\n"), Value::Null),
    ] {
        let line = answer(&model, &["--input", &file(&model, name, &text)]).remove(0);
        same(&line);
        assert_eq!(line["id"], id, "{name}");
    }
}

#[test]
fn no_answer_is_an_answer_on_request() {
    let model = Model::new(Head::Answers);
    let of = |more: &[&str]| answer(&model, &[more, &[QUESTION, TEXTS[0]]].concat()).remove(0);
    let usual = of(&[]);
    let difference = usual["no_answer_difference"].as_f64().unwrap();
    let ranked = of(&["--no-answer", "--top-k", "99"]);
    let none = |line: &Value| {
        line["answers"].as_array().unwrap().iter().position(|answer| answer["answer"] == "")
    };
    assert!(none(&ranked).is_some() && none(&usual).is_none(), "{ranked}");
    let above = format!("--no-answer-threshold={}", difference - 0.01);
    assert_eq!(none(&of(&[&above])), Some(0));
    let below = format!("--no-answer-threshold={}", difference + 0.01);
    assert_eq!(of(&[&below]), usual);
    let both = ["answer", "--no-answer", "--no-answer-threshold", "1", "a", "b"];
    fails(&infer(&both), 2, &["--no-answer-threshold"]);
}

#[test]
fn a_long_text_is_read_in_windows() {
    let model = Model::new(Head::Answers);
    let long = [TEXTS[2]; 12].join(" . ");
    let windows = ["--max-length", "32", "--stride", "8", "--top-k", "5", QUESTION, &long];
    let line = answer(&model, &windows).remove(0);
    assert_eq!(line["answers"].as_array().unwrap().len(), 5);
    let fails = |more: &[&str], code, parts: &[&str]| {
        let args = [&["answer", "--model", model.path()], more].concat();
        fails(&infer(&args), code, parts);
    };
    fails(&["--stride", "64", QUESTION, &long], 2, &["--stride", "below", "64"]);
    let short = ["--max-length", "20", "--stride", "12", QUESTION, &long];
    fails(&short, 1, &["the question has 8 tokens", "20 tokens has room for 9"]);
    fails(&["--max-answer-length", "0", "a", "b"], 2, &["--max-answer-length is 0"]);
    fails(&["--top-k", "0", "a", "b"], 2, &["--top-k is 0"]);
}

#[test]
fn what_is_no_question_is_refused() {
    let model = Model::new(Head::Answers);
    let fails = |more: &[&str], code, parts: &[&str]| {
        let args = [&["answer", "--model", model.path()], more].concat();
        fails(&infer(&args), code, parts);
    };
    fails(&["a"], 2, &["1 text,", "--context-file", "--input"]);
    fails(&["a", "b", "c"], 2, &["3 texts"]);
    fails(&["a", " "], 1, &["a text is empty"]);
    fails(&["--input", "x.txt"], 2, &["x.txt", ".jsonl"]);
    fails(&["--input", "x.jsonl"], 1, &["x.jsonl", "no such file"]);
    fails(&["--context-file", "none.txt", "a"], 1, &["none.txt"]);
    let rows = file(&model, "q.jsonl", "{\"id\": 3, \"question\": \"who\", \"context\": \"\"}");
    fails(&["--input", &rows], 1, &["a text of question 3 is empty"]);
    let other = Model::new(Head::Tokens);
    let run = infer(&["answer", "--model", other.path(), "a", "b"]);
    crate::common::fails(&run, 1, &["BertForTokenClassification", "infer tokens"]);
    let bare = Model::new(Head::None);
    let run = infer(&["answer", "--model", bare.path(), "a", "b"]);
    crate::common::fails(&run, 1, &["qa_outputs.weight", "train answer"]);
}

/// The answers that the model gives are right, and others are mistakes.
#[test]
fn an_answerer_is_measured_as_by_squad() {
    let model = Model::new(Head::Answers);
    let evaluate = |data: &str, more: &[&str]| {
        let args = ["evaluate", "--model", model.path(), "--data", data, "--json"];
        lines(&infer(&[&args[..], more].concat())).remove(0)
    };
    // Each question has the answer that `change` makes of a text.
    let rows = |change: &dyn Fn(usize, &str) -> Value| {
        let row = |(i, text): (usize, &&str)| {
            let (question, answers) = (QUESTION, change(i, text));
            let row = json!({"id": i, "question": question, "context": text, "answers": answers});
            format!("{row}\n")
        };
        file(&model, "data.jsonl", &TEXTS.iter().enumerate().map(row).collect::<String>())
    };
    // What the model says, from the mistakes of an evaluation where nothing else is right.
    let whole = |_: usize, text: &str| json!({"text": [text], "answer_start": [0]});
    let said = evaluate(&rows(&whole), &["--mistakes", "9", "--max-answer-length", "2"]);
    let predicted = |i: usize| {
        let mistakes = said["mistakes"].as_array().unwrap().iter();
        let mut of = mistakes.filter(|m| m["id"] == json!(i.to_string())).map(|m| &m["predicted"]);
        of.next_back().map_or(TEXTS[i], |text| text.as_str().unwrap()).to_string()
    };
    let right = |i: usize, text: &str| {
        let answer = predicted(i);
        json!([{"text": answer, "answer_start": text.find(&answer).unwrap()}])
    };
    let all = evaluate(&rows(&right), &["--max-answer-length", "2"]);
    assert_eq!((&all["exact_match"], &all["f1"]), (&1.0.into(), &1.0.into()), "{all}");
    assert_eq!((&all["examples"], &all["misplaced"]), (&5.into(), &0.into()));
    assert!(all.get("NoAns_exact").is_none() && all["loss"].as_f64().unwrap() > 0.0);

    // A text has no answer, and an answer stands elsewhere.
    let data = rows(&|i, text| match i {
        1 => json!([]),
        4 => json!({"text": "nothing", "answer_start": 0}),
        _ => right(i, text),
    });
    let short = ["--max-answer-length", "2"];
    let result = evaluate(&data, &[&short[..], &["--no-answer-threshold", "1e9"]].concat());
    assert_eq!((&result["HasAns_exact"], &result["NoAns_exact"]), (&0.75.into(), &0.0.into()));
    assert_eq!((&result["misplaced"], &result["exact_match"]), (&1.into(), &0.6.into()));
    let never = evaluate(&data, &[&short[..], &["--no-answer-threshold=-1e9"]].concat());
    assert_eq!((&never["HasAns_exact"], &never["NoAns_exact"]), (&0.0.into(), &1.0.into()));
    assert!(result["best_exact"].as_f64() >= result["exact_match"].as_f64(), "{result}");
    let ids: Vec<&Value> =
        result["mistakes"].as_array().unwrap().iter().map(|m| &m["id"]).collect();
    assert!(ids.contains(&&json!("1")) && ids.contains(&&json!("4")), "{result}");

    let said = infer(&["evaluate", "--model", model.path(), "--data", &data]);
    let text = stdout(&said);
    for part in ["F1", "5 questions", "--no-answer-threshold", "no answer", "answer_start"] {
        assert!(text.contains(part), "no `{part}` in: {text} {}", stderr(&said));
    }
    let refused =
        infer(&["evaluate", "--model", model.path(), "--data", &data, "--scheme", "conll"]);
    fails(&refused, 2, &["--scheme", "answers questions"]);
}
