use std::fs;

use super::*;

/// A folder with files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, text)| fs::write(dir.path().join(name), text).unwrap());
    dir
}

fn read_with(name: &str, text: &str, columns: &TaggedColumns) -> Result<Vec<TaggedSentence>> {
    let dir = folder(&[(name, text)]);
    Split::read_tagged(dir.path().join(name), columns).map(|split| split.examples)
}

fn read(name: &str, text: &str) -> Result<Vec<TaggedSentence>> {
    read_with(name, text, &TaggedColumns::default())
}

/// Words and tags of each sentence, and its line.
fn shown(sentences: &[TaggedSentence]) -> Vec<(String, String, u64)> {
    sentences.iter().map(|s| (s.words.join(" "), s.tags.join(" "), s.line)).collect()
}

#[test]
fn conll_with_documents_comments_and_any_separator() {
    let spaces = "# a comment with words\n-DOCSTART- -X- O O\n\nEU NNP I-NP B-ORG\nrejects VBZ I-VP O \n\n\n\
                  # id 7\n# NN I-NP O\nPeter NNP I-NP B-PER\r\n";
    let found = read("a.conll", spaces).unwrap();
    let expected = [("EU rejects", "B-ORG O", 4), ("# Peter", "O B-PER", 9)];
    assert_eq!(shown(&found), expected.map(|(w, t, l)| (w.into(), t.into(), l)));
    assert_eq!(found[1].line_of(1), 10);

    // With tabs a word may have spaces, and may be empty.
    let tabs = "\u{feff}New York\tB-LOC\n\tO\n \nx\tO";
    let found = read("a.txt", tabs).unwrap();
    assert_eq!(found[0].words, ["New York", ""]);
    assert_eq!(found[1].line, 4);
    // A no-break space is a word.
    assert_eq!(read("a.bio", "\u{a0} O\nx B-X\n").unwrap()[0].words, ["\u{a0}", "x"]);
}

#[test]
fn columns_have_numbers_in_conll_and_names_in_json() {
    let columns = |words: &str, tags: &str| TaggedColumns {
        words: Some(words.into()),
        tags: Some(tags.into()),
        names: Vec::new(),
    };
    let text = "1 EU NNP B-ORG\n2 rejects VBZ O\n";
    let found = read_with("a.conll", text, &columns("2", "3")).unwrap();
    assert_eq!(shown(&found), [("EU rejects".to_string(), "NNP VBZ".to_string(), 1)]);
    let json =
        "{\"words\": [\"a\", \"\"], \"ner\": [\"O\", \"B-X\"]}\n\n{\"words\": [], \"ner\": []}\n";
    let found = read_with("a.jsonl", json, &columns("words", "ner")).unwrap();
    assert_eq!((found.len(), found[1].line, found[1].line_of(5)), (2, 3, 3));
    assert_eq!(found[0].tags, ["O", "B-X"]);
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    for (name, text, parts) in [
        ("a.conll", "a O\nb\n", &["a.conll:2", "1 columns where line 1 has 2"][..]),
        ("a.conll", "a\nb\n", &["a.conll:1", "one column"]),
        ("a.conll", "a\tO\nb\t\n", &["a.conll:2", "`b` has no tag"]),
        ("a.conll", "New York O\nb O\n", &["a.conll:2", "2 columns where line 1 has 3"]),
        ("a.conll", "\n\n-DOCSTART- O\n", &["holds no sentences"]),
        ("a.csv", "a,O\n", &["a.csv", ".conll, .iob, .bio, .txt, .jsonl"]),
        ("a.jsonl", "{\"tokens\": [\"a\"]}", &["a.jsonl:1", "no key `tags`", "tokens"]),
        (
            "a.jsonl",
            "{\"tokens\": [\"a\"], \"tags\": [\"O\"]}\n{\"tokens\": [\"a\", \"b\"], \"tags\": [\"O\"]}",
            &["a.jsonl:2", "2 words and 1 tags"],
        ),
        ("a.jsonl", "{\"tokens\": \"a b\", \"tags\": []}", &["`tokens` is a string, not an array"]),
        ("a.jsonl", "{\"tokens\": [1], \"tags\": [\"O\"]}", &["`tokens`[0] is a number"]),
        ("a.jsonl", "{\"tokens\": [\"a\"], \"tags\": [\" \"]}", &["`tags`[0] is empty"]),
        ("a.jsonl", "[[\"a\", \"O\"]]", &["a.jsonl:1", "{\"tokens\""]),
        ("a.jsonl", "{\"tokens\": [\"a\"], \"tags\": [3]}", &["a.jsonl", "tags are numbers"]),
        ("a.conll", "a 0\nb 3\n", &["a.conll", "tags are numbers"]),
    ] {
        let error = read(name, text).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "no `{part}` in: {error}");
        }
    }
    let columns = |tags: &str| TaggedColumns { tags: Some(tags.into()), ..Default::default() };
    let error = |tags| read_with("a.conll", "a O\n", &columns(tags)).unwrap_err().to_string();
    assert!(error("3").contains("no column 3: this line has 2"), "{}", error("3"));
    assert!(error("ner").contains("`ner` is no number"), "{}", error("ner"));
}

#[test]
fn numbers_get_the_names_that_are_given() {
    let names = ["O", "B-X", "I-X"].map(String::from).to_vec();
    let columns = TaggedColumns { names, ..TaggedColumns::default() };
    let found = read_with("a.jsonl", "{\"tokens\": [\"a\", \"b\"], \"tags\": [1, 0]}", &columns);
    assert_eq!(found.unwrap()[0].tags, ["B-X", "O"]);
    let error = read_with("a.conll", "a 1\nb 3\n", &columns).unwrap_err().to_string();
    assert!(error.contains("a.conll:2") && error.contains("tag 3 has no name"), "{error}");
    let error = read_with("a.conll", "a O\n", &columns).unwrap_err().to_string();
    assert!(error.contains("`O` is no number"), "{error}");
}

#[test]
fn a_folder_has_sets_and_the_training_set_the_tags() {
    let good = [("train.conll", "a B-X\nb O\n\nc I-X\n"), ("dev.iob", "a O\n"), ("notes.txt", "")];
    let dir =
        folder(&[&good[..], &[("test.jsonl", "{\"tokens\":[\"a\"],\"tags\":[\"B-X\"]}")]].concat());
    let open = |dir: &tempfile::TempDir| {
        Dataset::open_tagged(dir.path(), &TaggedColumns::default()).unwrap()
    };
    let data = open(&dir);
    let labels = data.tags().unwrap();
    assert_eq!(labels.names(), ["B-X", "I-X", "O"]);
    assert_eq!(data.train.tag_ids(&labels).unwrap(), [vec![0, 2], vec![1]]);
    assert_eq!((data.train.words(), data.test.as_ref().unwrap().examples.len()), (3, 1));
    assert_eq!(data.seen_in_training(data.dev.as_ref().unwrap()), 0);

    let dir = folder(&[good[0], ("test.conll", "x O\n\ny O\nz B-Y\n")]);
    let error = open(&dir).tags().unwrap_err().to_string();
    for part in ["test.conll:4", "`B-Y`", "`z`", "B-X, I-X, O"] {
        assert!(error.contains(part), "no `{part}` in: {error}");
    }
    let error = open(&folder(&[("train.conll", "x O\ny O\n")])).tags().unwrap_err().to_string();
    assert!(error.contains("all 2 words have the tag `O`"), "{error}");
    let dir = folder(&[("train.csv", "text,label\n")]);
    let error = Dataset::open_tagged(dir.path(), &TaggedColumns::default()).unwrap_err();
    assert!(error.to_string().contains("train.conll"), "{error}");
}

/// The words and the tags of all sentences are in the fingerprint, and so is where they end.
#[test]
fn a_change_of_words_tags_or_ends_is_noticed() {
    let print = |text: &str| {
        let dir = folder(&[("train.conll", text)]);
        let path = dir.path().join("train.conll");
        let data = Dataset::open_tagged(path, &TaggedColumns::default()).unwrap();
        crate::data::Fingerprint::of(&data, &data.tags().unwrap()).train
    };
    let one = print("a O\nb B-X\n\nc O\n");
    assert_eq!(one, print("\na\tO\nb\tB-X\n\n\nc\tO\n"));
    for other in ["a O\nb O\n\nc B-X\n", "a O\nb B-X\nc O\n", "a O\nz B-X\n\nc O\n"] {
        assert_ne!(one, print(other), "{other}");
    }
}

#[test]
fn a_part_of_every_kind_of_sentence_is_set_aside() {
    let mut text = String::new();
    for i in 0..20 {
        text += &format!("w{i} {}\n\n", ["O", "B-X"][i % 2]);
    }
    let dir = folder(&[("train.conll", &text)]);
    let path = dir.path().join("train.conll");
    let mut data = Dataset::open_tagged(path, &TaggedColumns::default()).unwrap();
    assert_eq!(data.hold_out(0.2, 0), 4);
    let dev = data.dev.unwrap();
    assert_eq!(dev.examples.iter().filter(|s| s.tags == ["O"]).count(), 2);
    assert_eq!(data.train.examples.len(), 16);
}
