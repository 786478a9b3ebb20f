//! Question answering beside PyTorch and transformers; `models/tests/golden/answering.py` makes the
//! values.

use std::path::Path;

use gradus_models::data::{GivenAnswer, Question};
use gradus_models::evaluation::{SquadScores, compare_answers, normalize_answer};
use gradus_models::pipelines::{
    AnswerOptions, Answered, NoAnswer, Pipeline, QuestionAnswerer, open,
};
use gradus_models::tasks::{
    AnswerTally, AnswerWindow, Decoding, EncodedQuestion, QuestionAnswering,
};
use gradus_models::tokenizer::char_offsets;
use gradus_models::training::Task as _;
use gradus_models::{SpanPredictor, Task, Tokenizer, save_folder};
use gradus_nn::Store;
use gradus_tensor::io::safetensors::SafeTensors;
use serde_json::Value;

use crate::tasks::{config, fifty_steps};

fn golden() -> SafeTensors {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/answering.safetensors");
    SafeTensors::open(path).unwrap()
}

fn results() -> Value {
    serde_json::from_str(include_str!("../golden/answering.json")).unwrap()
}

#[test]
fn fifty_steps_beside_pytorch() {
    let golden = golden();
    let numbers = |name: &str| -> Vec<u32> {
        golden.tensor(name).unwrap().to_f64_vec().into_iter().map(|n| n as u32).collect()
    };
    let (ids, types, targets) = (numbers("ids"), numbers("types"), numbers("targets"));
    let mut at = 0;
    let window = |(length, target): (u32, &[u32])| {
        let range = at..at + length as usize;
        at = range.end;
        AnswerWindow {
            ids: ids[range.clone()].to_vec(),
            type_ids: types[range].to_vec(),
            target: (target[0] as usize, target[1] as usize),
        }
    };
    let windows: Vec<AnswerWindow> =
        numbers("lengths").into_iter().zip(targets.chunks(2)).map(window).collect();
    fifty_steps("answer", &golden, |store| {
        let model = SpanPredictor::new(&store.root(), &config(words().len())).unwrap();
        QuestionAnswering::new(model, windows.clone(), Decoding::default())
    });
}

fn words() -> Vec<String> {
    serde_json::from_value(results()["words"].clone()).unwrap()
}

/// Writes the model of the values.
fn write_model(folder: &Path) {
    std::fs::write(folder.join("vocab.txt"), words().join("\n") + "\n").unwrap();
    let settings = "{\"tokenizer_class\": \"BertTokenizer\", \"do_lower_case\": true}";
    std::fs::write(folder.join("tokenizer_config.json"), settings).unwrap();
    let mut config = config(words().len());
    config.architectures = vec![config.architecture(Task::Answer)];
    let tokenizer = Tokenizer::from_folder(folder).unwrap();
    let store = Store::new(0);
    SpanPredictor::new(&store.root(), &config).unwrap();
    let golden = golden();
    for parameter in store.parameters() {
        parameter.set(golden.tensor(&format!("answer.{}", parameter.name())).unwrap()).unwrap();
    }
    save_folder(folder, &config, &tokenizer, &store).unwrap();
}

fn answerer() -> (tempfile::TempDir, QuestionAnswerer) {
    let dir = tempfile::tempdir().unwrap();
    write_model(dir.path());
    let answerer = QuestionAnswerer::open(dir.path().to_str().unwrap()).unwrap();
    (dir, answerer)
}

/// A question of the values.
fn question(value: &Value) -> Question {
    let text = |key: &str| value[key].as_str().unwrap().to_string();
    let context = text("context");
    let answer = |answer: &Value| {
        let start = answer["answer_start"].as_i64().unwrap();
        GivenAnswer::new(&context, answer["text"].as_str().unwrap().into(), start)
    };
    let answers = value["answers"].as_array().unwrap().iter().map(answer).collect();
    let question = text("question");
    Question { id: text("id"), title: None, question, answers, context: context.into(), line: None }
}

fn questions(results: &Value) -> Vec<Question> {
    results["questions"].as_array().unwrap().iter().map(question).collect()
}

/// The windows, their labels and offsets are those of transformers, and the best answers those of
/// `run_qa.py`.
#[test]
fn windows_labels_and_best_answers_beside_run_qa() {
    let results = results();
    let (_dir, mut answerer) = answerer();
    let (mut labelled, mut empty) = (0, 0);
    for setting in results["settings"].as_array().unwrap() {
        let number = |key: &str| setting[key].as_u64().unwrap() as usize;
        answerer.set_max_length(number("max_length")).unwrap();
        answerer.set_stride(number("stride")).unwrap();
        let theirs = setting["questions"].as_array().unwrap();
        for (question, theirs) in questions(&results).iter().zip(theirs) {
            let (length, stride) = (answerer.max_length(), answerer.stride());
            let ours =
                EncodedQuestion::new(question, answerer.tokenizer(), length, stride).unwrap();
            let windows = theirs["windows"].as_array().unwrap();
            assert_eq!(ours.windows.len(), windows.len(), "question {}", question.id);
            let targets = ours.targets.as_ref().unwrap();
            for ((window, target), theirs) in ours.windows.iter().zip(targets).zip(windows) {
                let what = format!("question {} in windows of {length}", question.id);
                assert_eq!(serde_json::json!(window.encoding.ids), theirs["ids"], "{what}");
                assert_eq!(serde_json::json!(window.encoding.type_ids), theirs["types"], "{what}");
                assert_eq!(serde_json::json!([target.0, target.1]), theirs["label"], "{what}");
                let of_context = window.encoding.offsets[window.context.clone()].to_vec();
                let chars = serde_json::json!(char_offsets(&question.context, &of_context));
                let place = window.context.clone();
                let theirs = &theirs["offsets"].as_array().unwrap()[place];
                assert_eq!(chars.as_array().unwrap(), theirs, "{what}");
                labelled += usize::from(*target != (0, 0));
                empty += usize::from(*target == (0, 0));
            }
            let logits = answerer.logits(&[&ours.windows]).unwrap().remove(0);
            for (longest, best) in [30, 3].into_iter().zip(theirs["best"].as_array().unwrap()) {
                let decoding = Decoding { max_answer_length: longest, no_answer_threshold: None };
                let (span, text, _) = AnswerTally::new(decoding).add(&ours, &logits);
                assert_eq!(text, best["text"].as_str().unwrap(), "question {}", question.id);
                let difference = best["difference"].as_f64().unwrap();
                assert!((span.difference - difference).abs() < 1e-5, "{span:?} and {best}");
            }
        }
    }
    assert!(labelled > 15 && empty > 15, "{labelled} windows with answers, {empty} without");
}

#[test]
fn answers_and_scores_beside_the_pipeline_of_transformers() {
    let results = results();
    let (_dir, mut answerer) = answerer();
    let (mut compared, mut worst) = (0, 0f64);
    for theirs in results["pipeline"].as_array().unwrap() {
        let number = |key: &str| theirs[key].as_u64().unwrap() as usize;
        answerer.set_max_length(number("max_length")).unwrap();
        answerer.set_stride(number("stride")).unwrap();
        let options = AnswerOptions {
            top_k: number("top_k"),
            max_answer_length: number("max_answer_length"),
            no_answer: match theirs["no_answer"].as_bool().unwrap() {
                true => NoAnswer::Ranked,
                false => NoAnswer::Never,
            },
        };
        let questions = questions(&results);
        let pairs: Vec<(&str, &str)> =
            questions.iter().map(|q| (q.question.as_str(), &*q.context)).collect();
        let ours = answerer.answer(&pairs, &options).unwrap();
        for (Answered { answers, .. }, theirs) in
            ours.iter().zip(theirs["answers"].as_array().unwrap())
        {
            let theirs = theirs.as_array().unwrap();
            // Their list may end with parts of probability 0.
            let theirs: Vec<&Value> = theirs.iter().filter(|a| a["score"] != 0.0).collect();
            assert_eq!(answers.len(), theirs.len(), "{answers:?} and {theirs:?}");
            for (ours, theirs) in answers.iter().zip(theirs) {
                let difference = (f64::from(ours.score) - theirs["score"].as_f64().unwrap()).abs();
                worst = worst.max(difference);
                assert!(difference < 1e-5, "{ours:?} and {theirs}");
                let place = (theirs["answer"].as_str().unwrap(), &theirs["start"], &theirs["end"]);
                assert_eq!((ours.answer.as_str(), &ours.start.into(), &ours.end.into()), place);
                compared += 1;
            }
        }
    }
    eprintln!("{compared} answers, scores within {worst:.1e}");
    assert!(compared > 200, "{compared}");
}

/// `NoAnswer::Above` decides by the difference of run_qa.py, and `Ranked` by probability.
#[test]
fn no_answer_comes_first_above_the_threshold() {
    let (_dir, answerer) = answerer();
    let ask = |no_answer| {
        let options = AnswerOptions { top_k: 2, no_answer, ..AnswerOptions::default() };
        answerer.answer(&[("who?", "ada lovelace in london")], &options).unwrap().remove(0)
    };
    let usual = ask(NoAnswer::Never);
    let difference = usual.no_answer_difference.unwrap();
    assert_eq!(ask(NoAnswer::Above(difference)), usual);
    let none = ask(NoAnswer::Above(difference - 1e-6)).answers;
    assert_eq!((none[0].answer.as_str(), none[0].end, &none[1]), ("", 0, &usual.answers[0]));
    let refused = answerer.answer(&[("who?", " ")], &AnswerOptions::default()).unwrap_err();
    assert!(refused.to_string().contains("a context is empty"), "{refused}");
}

#[test]
fn answers_are_counted_as_by_the_script_of_squad() {
    let squad = &results()["squad"];
    for pair in squad["normalized"].as_array().unwrap() {
        let (text, expected) = (pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
        assert_eq!(normalize_answer(text), expected, "{text:?}");
    }
    type Row = (Vec<String>, String, f64);
    let rows: Vec<Row> = serde_json::from_value(squad["predictions"].clone()).unwrap();
    let close = |ours: f64, theirs: &Value, what: &str| {
        let theirs = theirs.as_f64().unwrap();
        assert!((ours - theirs).abs() < 1e-12, "{what}: {ours} and {theirs}");
    };
    for (i, (right, predicted, _)) in rows.iter().enumerate() {
        let mut scores = SquadScores::new(None);
        scores.add(right, predicted, 0.0);
        close(scores.value("exact_match").unwrap(), &squad["exact"][i], predicted);
        close(scores.value("f1").unwrap(), &squad["f1"][i], predicted);
    }
    for theirs in squad["thresholds"].as_array().unwrap() {
        let mut scores = SquadScores::new(theirs["threshold"].as_f64());
        rows.iter().for_each(|(right, span, difference)| {
            scores.add(right, span, *difference);
        });
        for (ours, name) in [("exact_match", "exact"), ("f1", "f1")] {
            close(scores.value(ours).unwrap() * 100.0, &theirs[name], name);
        }
        for name in ["HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1"] {
            close(scores.value(name).unwrap() * 100.0, &theirs[name], name);
        }
        for name in ["best_exact", "best_f1"] {
            close(scores.value(name).unwrap() * 100.0, &theirs[name], name);
            let at = format!("{name}_thresh");
            close(scores.value(&at).unwrap(), &theirs[&at], &at);
        }
    }
    assert_eq!(compare_answers("in the year 1843", "1843"), (false, 0.5));
}

/// Only a context that must be cut needs a room for more than the stride.
#[test]
fn a_question_too_long_for_a_window_is_refused() {
    let (_dir, answerer) = answerer();
    let tokenizer = answerer.tokenizer();
    let encode = |question: &str, context: &str| tokenizer.encode_windows(question, context, 12, 4);
    let said = encode("who was it in london?", "in paris it was").unwrap_err().to_string();
    for part in ["question has 6 tokens", "window of 12", "room for 3", "the 4 that windows share"]
    {
        assert!(said.contains(part), "no `{part}` in: {said}");
    }
    assert_eq!(encode("who was it in london?", "in paris").unwrap().len(), 1);
    let empty = &encode("who?", "").unwrap()[0];
    assert!(empty.context.is_empty() && empty.tokens_of(&(0..0)).is_none());
}

/// A question whose answer stands elsewhere is no example, and its loss does not count.
#[test]
fn an_answer_elsewhere_is_not_learnt() {
    let results = results();
    let (_dir, answerer) = answerer();
    let mut question = questions(&results).swap_remove(4);
    question.answers = vec![GivenAnswer::new("Paris", "Paris".into(), 1)];
    let encode =
        |question: &Question| EncodedQuestion::new(question, answerer.tokenizer(), 24, 4).unwrap();
    let misplaced = encode(&question);
    assert!(misplaced.targets.is_none() && misplaced.clone().learnt().is_empty());
    // Without an answer at all, the target is [CLS].
    question.answers.clear();
    let learnt = encode(&question).learnt();
    assert_eq!((learnt.len(), learnt[0].target), (1, (0, 0)));

    let store = Store::new(0);
    let model = SpanPredictor::new(&store.root(), &config(words().len())).unwrap();
    let decoding = Decoding { no_answer_threshold: Some(0.0), ..Decoding::default() };
    let task = QuestionAnswering::new(model, learnt, decoding);
    let all: Vec<EncodedQuestion> = questions(&results).iter().map(encode).collect();
    let with = task.evaluate(&[all.clone(), vec![misplaced]].concat(), &mut |_, _| {}).unwrap();
    let without = task.evaluate(&all, &mut |_, _| {}).unwrap();
    assert_eq!((with.examples, without.examples), (8, 7));
    assert_eq!(with.loss, without.loss);
    assert!(with.get("NoAns_exact").is_some() && with.get("best_f1").is_some());
}

#[test]
fn a_folder_says_what_its_model_does() {
    let (dir, answerer) = answerer();
    let path = dir.path().to_str().unwrap();
    assert!(matches!(open(path).unwrap(), Pipeline::Answer(_)));
    assert_eq!((answerer.max_length(), answerer.stride()), (24, 12));
    let config = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
    std::fs::write(
        dir.path().join("config.json"),
        config.replace("BertForQuestionAnswering", "BertForMaskedLM"),
    )
    .unwrap();
    let refused = QuestionAnswerer::open(path).err().unwrap().to_string();
    assert!(refused.contains("BertForMaskedLM") && refused.contains("fills masks"), "{refused}");
}
