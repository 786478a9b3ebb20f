use super::*;

fn read(name: &str, text: &str) -> Result<Split<Question>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    Split::read_questions(path)
}

const SQUAD: &str = r#"{"version": "v2.0", "data": [{"title": "Zoë", "paragraphs": [
    {"context": "😀 Zoë lives in São Paulo.", "qas": [
        {"id": "a", "question": "Who?", "is_impossible": false,
         "answers": [{"text": "Zoë", "answer_start": 2}, {"text": "São Paulo", "answer_start": 15}]},
        {"id": "b", "question": "When?", "is_impossible": true, "answers": [],
         "plausible_answers": [{"text": "Zoë", "answer_start": 2}]},
        {"id": "c", "question": "Where?", "answers": [{"text": "Paulo", "answer_start": 2}]}]}]}]}"#;

/// Starts count characters: an emoji is one, as in Python.
#[test]
fn squad_counts_characters() {
    let split = read("dev.json", SQUAD).unwrap();
    let [a, b, c] = &split.examples[..] else { panic!("{split:?}") };
    let text = |answer: &GivenAnswer| &a.context[answer.place.clone().unwrap()];
    assert_eq!(a.answers.iter().map(text).collect::<Vec<_>>(), ["Zoë", "São Paulo"]);
    assert_eq!((a.id.as_str(), a.title.as_deref(), a.place()), ("a", Some("Zoë"), Some(&(5..9))));
    assert!(b.is_impossible() && !b.is_misplaced());
    assert!(c.is_misplaced() && !c.is_impossible());
    assert_eq!((split.impossible(), split.misplaced()), (1, vec!["c"]));
    assert!(Arc::ptr_eq(&a.context, &b.context));
}

#[test]
fn rows_in_every_form_are_the_same() {
    let row = |answers: &str| {
        format!(r#"{{"id": 7, "question": "Who?", "context": "Ada wrote.", "answers": {answers}}}"#)
    };
    let pair = r#"{"text": "Ada", "answer_start": 0}"#;
    let forms = [pair, &format!("[{pair}]"), r#"{"text": ["Ada"], "answer_start": [0]}"#].map(row);
    let lines = read("a.jsonl", &forms.join("\n\n")).unwrap().examples;
    assert_eq!(lines.iter().map(|q| q.line).collect::<Vec<_>>(), [Some(1), Some(3), Some(5)]);
    let under = read("a.json", &format!(r#"{{"data": [{}]}}"#, forms.join(","))).unwrap().examples;
    let alone = read("a.json", &format!("[{}]", forms.join(","))).unwrap().examples;
    assert_eq!(under, alone);
    for (line, value) in lines.iter().zip(&under) {
        assert_eq!(*line, Question { line: line.line, ..value.clone() });
        assert_eq!((line.id.as_str(), &line.answers), ("7", &lines[0].answers));
        assert_eq!(line.place(), Some(&(0..3)));
    }
    // No answer at all, in the forms that data sets have.
    let none = [r#"{"text": [], "answer_start": []}"#, "[]", r#"{"text": "", "answer_start": -1}"#];
    let none = read("a.jsonl", &none.map(row).join("\n")).unwrap();
    assert_eq!(none.impossible(), 3);
}

/// A question without an id has its number.
#[test]
fn answers_are_needed_for_training_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    std::fs::write(&path, "{\"question\": \"Who?\", \"context\": \"Ada wrote.\"}\n").unwrap();
    let questions = read_questions(&path).unwrap();
    assert_eq!((questions[0].id.as_str(), questions[0].answers.len()), ("1", 0));
    let error = Split::read_questions(&path).unwrap_err().to_string();
    assert!(error.contains("a.jsonl:1: (question 1): no key `answers`"), "{error}");
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let changed = |from: &str, to: &str| {
        assert!(SQUAD.contains(from));
        read("dev.json", &SQUAD.replacen(from, to, 1)).unwrap_err().to_string()
    };
    let at = "data[0].paragraphs[0]";
    for (error, parts) in [
        (
            changed("\"is_impossible\": true", "\"is_impossible\": false"),
            [at, "question b", "no answers"],
        ),
        (
            changed("\"is_impossible\": false", "\"is_impossible\": true"),
            [at, "question a", "has answers"],
        ),
        (changed("\"Who?\"", "5"), [at, "`question` is a number", "qas[0]"]),
        (changed("\"qas\"", "\"questions\""), [at, "`qas` is missing", "dev.json"]),
        (changed("\"answer_start\": 15", "\"start\": 15"), [at, "question a", "answer_start"]),
        (changed("\"data\"", "\"rows\""), ["dev.json", "no array `data`", "SQuAD"]),
        (changed("\"v2.0\",", "\"v2.0\""), ["dev.json", "not JSON", "line 1"]),
    ] {
        for part in parts {
            assert!(error.contains(part), "no `{part}` in: {error}");
        }
    }
    for (name, text, part) in [
        ("a.csv", "question,context\n", "use .json (SQuAD's form), .jsonl"),
        ("a.json", "{\"data\": []}", "no questions"),
        ("a.json", "3", "not a number"),
        ("a.jsonl", "[]", "one object a line"),
        (
            "a.jsonl",
            r#"{"question": "a", "context": "b", "answers": {"text": ["b"], "answer_start": []}}"#,
            "1 texts and 0 starts",
        ),
    ] {
        let error = read(name, text).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_place_must_hold_the_answer() {
    let place = |text: &str, start| GivenAnswer::new("Zoë ran", text.to_string(), start).place;
    assert_eq!(place("ran", 4), Some(5..8));
    assert_eq!(place("Zoë ran", 0), Some(0..8));
    for (text, start) in [("ran", 5), ("ran", -1), ("ran", 99), ("ran", 7), ("ran away", 4)] {
        assert_eq!(place(text, start), None, "{text} at {start}");
    }
}
