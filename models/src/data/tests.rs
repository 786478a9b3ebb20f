use super::*;

fn write(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn read(name: &str, bytes: impl AsRef<[u8]>, columns: &Columns) -> Result<Vec<Example>> {
    let dir = tempfile::tempdir().unwrap();
    Split::read(write(dir.path(), name, bytes), columns).map(|s| s.examples)
}

fn example(text: &str, label: &str, line: u64) -> Example {
    Example { text: text.into(), pair: None, label: Some(label.into()), line }
}

#[test]
fn csv_with_quotes_line_ends_and_a_mark() {
    let text = "\u{feff}id,text,label\r\n1,\"a, \"\"b\"\"\r\nc\",x\r\n\r\n2,,y\r\n";
    assert_eq!(
        read("train.csv", text, &Columns::default()).unwrap(),
        [example("a, \"b\"\r\nc", "x", 2), example("", "y", 5)]
    );
}

#[test]
fn tsv_with_and_without_quotes() {
    let text = "text\tlabel\n\"Oh,\" she said\tx\n\"say \"\"no\"\"\"\ty\n5\" wide\tz\n";
    assert_eq!(
        read("a.tsv", text, &Columns::default()).unwrap(),
        [
            example("\"Oh,\" she said", "x", 2),
            example("say \"no\"", "y", 3),
            example("5\" wide", "z", 4)
        ]
    );
}

#[test]
fn jsonl_with_pairs_and_labels_of_every_kind() {
    let columns = Columns { pair: Some("b".into()), ..Columns::default() };
    let text =
        "{\"text\":\"t\",\"b\":\"u\\n\",\"label\":1}\n\n{\"label\":true,\"b\":\"\",\"text\":\"v\"}";
    let examples = read("a.jsonl", text, &columns).unwrap();
    assert_eq!(examples[0].pair.as_deref(), Some("u\n"));
    assert_eq!(examples[0].label.as_deref(), Some("1"));
    assert_eq!((examples[1].label.as_deref(), examples[1].line), (Some("true"), 3));
}

#[test]
fn plain_texts_skip_blank_lines_in_training_and_keep_them_in_inference() {
    let columns = Columns::text_only();
    let texts: Vec<String> =
        read("a.txt", "one\r\n\n two\n", &columns).unwrap().into_iter().map(|e| e.text).collect();
    assert_eq!(texts, ["one", " two"]);
    let inputs =
        read_inputs_from(&b"one\n\ntwo\n"[..], Path::new("-"), Format::Text, &columns).unwrap();
    let texts: Vec<&str> = inputs.iter().map(|e| e.text.as_str()).collect();
    assert_eq!(texts, ["one", "", "two"]);
}

#[test]
fn inputs_need_no_label_column() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("a.csv", "text\nhello\n"),
        ("a.tsv", "text\nhello\n"),
        ("a.jsonl", "{\"text\":\"hello\"}\n"),
        ("a.txt", "hello\n"),
    ] {
        let inputs = read_inputs(write(dir.path(), name, text), &Columns::default()).unwrap();
        assert_eq!((inputs.len(), inputs[0].text.as_str()), (1, "hello"), "{name}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let columns = Columns::default();
    for (name, bytes, expected) in [
        ("a.csv", &b""[..], "empty"),
        ("a.tsv", b"", "empty"),
        ("a.jsonl", b"\n", "no examples"),
        ("a.csv", b"text,label\n", "no examples"),
        ("a.csv", b"sentence,label\na,b\n", "no column `text`; the columns are: sentence, label"),
        ("a.tsv", b"text\ttag\na\tb\n", "no column `label`; the columns are: text, tag"),
        ("a.csv", b"text,label\na,b\nc\n", ":3: 1 fields where the header has 2"),
        ("a.tsv", b"text\tlabel\na\tb\nc\td\te\n", ":3: 3 fields"),
        ("a.csv", b"text,label\na,x\nb,\n", ":3: the label is empty"),
        ("a.tsv", b"text\tlabel\na\t\n", ":2: the label is empty"),
        ("a.csv", b"text,label\na,x\n\xe9t\xe9,y\n", ":3: invalid UTF-8 (byte 0xe9)"),
        ("a.jsonl", b"{\"text\":\"\xff\",\"label\":\"x\"}", ":1: invalid UTF-8"),
        ("a.jsonl", b"{\"text\":\"a\",\"label\":\"x\"}\n{\"text\":\n", ":2: not a JSON object"),
        ("a.jsonl", b"[1]", ":1: expected a JSON object"),
        ("a.jsonl", b"{\"txt\":\"a\"}", ":1: no key `text`; the keys are: txt"),
        ("a.jsonl", b"{\"text\":\"a\"}", ":1: no key `label`"),
        ("a.jsonl", b"{\"text\":\"a\",\"label\":null}", ":1: the label `label` is null"),
        ("a.jsonl", b"{\"text\":7,\"label\":\"x\"}", ":1: `text` is a number"),
        ("a.csv", b"\xff\xfet\0e\0", "UTF-16"),
        ("a.txt", b"text\n", "no labels"),
        ("a.parquet", b"PAR1", "use .csv"),
    ] {
        let error = read(name, bytes, &columns).unwrap_err().to_string();
        assert!(error.contains(expected), "{name} {bytes:?}: {error}");
        assert!(error.contains(name), "{error}");
    }
    let error = Split::read("no/such.csv", &columns).unwrap_err().to_string();
    assert!(error.contains("no/such.csv: no such file"), "{error}");
}

#[test]
fn a_folder_holds_up_to_three_sets() {
    let dir = tempfile::tempdir().unwrap();
    let columns = Columns::default();
    let error = Dataset::open(dir.path(), &columns).unwrap_err().to_string();
    assert!(error.contains("train.csv") && error.contains("found nothing"), "{error}");
    write(dir.path(), "train.csv", "text,label\na,x\nb,w\n");
    write(dir.path(), "validation.jsonl", "{\"text\":\"c\",\"label\":\"x\"}");
    let data = Dataset::open(dir.path(), &columns).unwrap();
    assert_eq!(data.labels().unwrap().names(), ["w", "x"]);
    assert!(data.dev.is_some() && data.test.is_none());

    write(dir.path(), "test.tsv", "text\tlabel\na\tx\nb\tnew\n");
    let data = Dataset::open(dir.path(), &columns).unwrap();
    let error = data.labels().unwrap_err().to_string();
    assert!(error.contains("test.tsv:3: the label `new`"), "{error}");

    write(dir.path(), "train.tsv", "text\tlabel\na\tx\n");
    let error = Dataset::open(dir.path(), &columns).unwrap_err().to_string();
    assert!(error.contains("both train.csv and train.tsv"), "{error}");
    let error = Dataset::open("no/such", &columns).unwrap_err().to_string();
    assert!(error.contains("no/such"), "{error}");
}

#[test]
fn one_file_is_the_training_set() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "any.csv", "text,label\na,x\n");
    let data = Dataset::open(path, &Columns::default()).unwrap();
    assert_eq!(data.train.examples.len(), 1);
    assert!(data.dev.is_none() && data.test.is_none());
}

#[test]
fn labels_map_both_ways() {
    let labels = Labels::from_names(vec!["b".into(), "a".into()]).unwrap();
    assert_eq!((labels.id("a"), labels.name(0), labels.name(2)), (Some(1), Some("b"), None));
    assert!(Labels::from_names(vec!["a".into(), "a".into()]).is_err());
}

#[test]
fn the_bundled_data_set_reads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/banking77");
    let data = Dataset::open(&path, &Columns::default()).unwrap();
    let sizes = [Some(&data.train), data.dev.as_ref(), data.test.as_ref()]
        .map(|split| split.map_or(0, |s| s.examples.len()));
    assert_eq!(sizes[0] + sizes[1], 10_003);
    assert_eq!(sizes[2], 3_080);
    let names: Vec<String> =
        serde_json::from_slice(&fs::read(path.join("labels.json")).unwrap()).unwrap();
    assert_eq!(data.labels().unwrap().names(), names);
}
