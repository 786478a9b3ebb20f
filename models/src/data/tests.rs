use std::fs;

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

/// A byte-order mark that stayed would be a part of the first column's name, or of the first text.
#[test]
fn a_byte_order_mark_is_no_part_of_a_text() {
    let columns = Columns::default();
    for (name, text) in [
        ("a.tsv", "\u{feff}text\tlabel\na\tx\n"),
        ("a.csv", "\u{feff}\"text\",label\na,x\n"),
        ("a.jsonl", "\u{feff}{\"text\":\"a\",\"label\":\"x\"}\n"),
    ] {
        let found = read(name, text, &columns).unwrap();
        assert_eq!((found[0].text.as_str(), found.len()), ("a", 1), "{name}");
    }
    let found = read("a.txt", "\u{feff}a\n", &Columns::text_only()).unwrap();
    assert_eq!(found[0].text, "a");
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
fn plain_texts_are_no_pairs() {
    let columns = Columns { pair: Some("b".into()), ..Columns::text_only() };
    let error = read("a.txt", "one\n", &columns).unwrap_err().to_string();
    assert!(error.contains("no pairs"), "{error}");
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
        ("a.csv", b"\xff\xfe\0\0t\0\0\0", "UTF-32"),
        ("a.txt", b"text\n", "no labels"),
        ("a.arrow", b"ARROW1", "use .csv"),
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
    assert!(!labels.is_empty() && Labels::from_names(Vec::new()).is_ok_and(|l| l.is_empty()));
}

/// An unknown label is told with the first five of those that are known.
#[test]
fn an_unknown_label_is_told_with_those_that_are_known() {
    for (labels, known) in [
        (&["a", "b", "c", "d", "e"][..], "the 5 labels of the training set (a, b, c, d, e);"),
        (&["a", "b", "c", "d", "e", "f"], "the 6 labels of the training set (a, b, c, d, e, …);"),
    ] {
        let labels = dataset(labels).labels().unwrap();
        assert_eq!(labels.encode(&labelled(&["b", "e"])).unwrap(), [1, 4]);
        let error = labels.encode(&labelled(&["b", "z"])).unwrap_err().to_string();
        assert!(error.contains("a.csv:3") && error.contains("`z`"), "{error}");
        assert!(error.contains(known), "{error}");
    }
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

/// A stray quote makes one text of several rows: refused, with the line where it opens.
#[test]
fn stray_quotes_are_refused_with_their_line() {
    for (text, expected) in [
        (
            "good,pos\n\"Best phone,pos\nbad,neg\n\"awful\" they said,neg\n",
            ":3: the quote that opens here closes in line 5 before more text, `awful",
        ),
        ("good,pos\n\"Best phone,pos\nbad,neg\n", ":3: the quote that opens here never closes"),
        (
            "good,pos\nbad,neg\n\"fine\" ,pos\n",
            ":4: the quote that opens here closes before more text, ` ,pos`",
        ),
        // These parse, but swallow rows nevertheless.
        (
            "good,pos\nbad,neg\n\"Best phone,pos\nit is 5\",neg\n",
            ":4: the quote that opens here closes in line 5",
        ),
        (
            "good,pos\r\nbad,neg\r\n\"Best,pos\r\nthe dim,neg\r\n15\",neg\r\n",
            ":4: the quote that opens here closes in line 6",
        ),
        (
            "good,pos\nbad,neg\n\"Best phone,pos\n15\"\n",
            "the quote that opens here closes in line 5",
        ),
    ] {
        let error = read("a.csv", format!("text,label\n{text}"), &Columns::default()).unwrap_err();
        assert!(error.to_string().contains(expected), "{text:?}: {error}");
    }
    let text = "label,text\npos,good\nneg,bad\npos,\"Best\nneg,the dim\nneg,15\"\n";
    let error = read("a.csv", text, &Columns::default()).unwrap_err().to_string();
    assert!(error.contains(":4: the quote") && error.contains("line 6"), "{error}");
    // Inputs may have a label column, which is not read.
    let text = "text,label\ngood,pos\n\"Best,pos\n15\",pos\n";
    assert!(read("a.csv", text, &Columns::text_only()).is_err());
}

#[test]
fn fields_of_several_lines_are_read() {
    let text = "text,label\n\"Dear all,\nit is good, pos\nyours\",pos\n\"a\n\nb, \"\"c\"\"\",neg\n5\" wide,neg\n";
    assert_eq!(
        read("a.csv", text, &Columns::default()).unwrap(),
        [
            example("Dear all,\nit is good, pos\nyours", "pos", 2),
            example("a\n\nb, \"c\"", "neg", 5),
            example("5\" wide", "neg", 8)
        ]
    );
}

#[test]
fn a_header_that_does_not_fit_gets_a_hint() {
    for (name, bytes, expected) in [
        ("a.csv", "text;label\na;b\n", "the separator looks like `;`"),
        ("a.csv", "text\tlabel\na\tb\n", "the separator looks like a tab"),
        ("a.csv", "id|text|label\n1|a|b\n", "the separator looks like `|`"),
        ("a.tsv", "text,label\na,b\n", "the separator looks like `,`"),
        ("a.csv", "Text,label\na,b\n", "did you mean `Text`?"),
        ("a.csv", "my card is lost,lost\n", "the first line must name the columns"),
        ("a.csv", "text,label,text\na,b,c\n", "two columns are called `text`"),
        ("a.tsv", "text\tlabel\n\"has a\ttab\"\tx\n", ":2: 3 fields where the header has 2"),
        ("a.tsv", "text\tlabel\n\"has a\nline end\"\tx\n", ":2: 1 fields where the header has 2"),
        ("a.jsonl", "[{\"text\":\"a\",\"label\":\"x\"}]", "not an array"),
        ("a.jsonl", "{\"text\":\"a\",\"label\":\" \"}", "the label is empty"),
        ("a.tsv", "text\tlabel\ra\tx\r", "CR alone"),
        ("a.csv", "t\0e\0x\0t\0,\0l\0a\0b\0e\0l\0\n\0", "UTF-16"),
    ] {
        let error = read(name, bytes, &Columns::default()).unwrap_err().to_string();
        assert!(error.contains(expected), "{name} {bytes:?}: {error}");
    }
}

fn labelled(labels: &[&str]) -> Split {
    let examples = (2..).zip(labels).map(|(line, label)| example("a", label, line)).collect();
    Split { path: "a.csv".into(), examples }
}

fn dataset(labels: &[&str]) -> Dataset {
    Dataset { train: labelled(labels), dev: None, test: None, remarks: Vec::new() }
}

#[test]
fn numbers_are_sorted_as_numbers() {
    let eleven: Vec<String> = (0..11).rev().map(|i: i32| i.to_string()).collect();
    let eleven: Vec<&str> = eleven.iter().map(String::as_str).collect();
    let labels = Labels::from_split(&labelled(&eleven)).unwrap();
    assert!((0..11).all(|i| labels.id(&i.to_string()) == Some(i)), "{:?}", labels.names());
    let names = |labels: &[&str]| Labels::from_split(&labelled(labels)).unwrap().names().to_vec();
    assert_eq!(names(&["10", "9.5", "-1", "1e1x"]), ["-1", "10", "1e1x", "9.5"], "not all numbers");
    assert_eq!(names(&["10.0", "9.0", "-1.0"]), ["-1.0", "9.0", "10.0"]);
    assert_eq!(names(&["nan", "10", "9"]), ["10", "9", "nan"]);
}

#[test]
fn one_label_in_two_spellings_is_refused() {
    for labels in
        [["1", "1.0"], ["0", "-0.0"], ["7", "007"], ["+1", "1"], ["a", " a"], ["0.50", ".5"]]
    {
        let error = Labels::from_split(&labelled(&[labels[0], "x", labels[1]])).unwrap_err();
        let expected = format!("a.csv:4: the labels `{}` and `{}`", labels[0], labels[1]);
        assert!(error.to_string().contains(&expected), "{error}");
    }
    let error = |a, b| Labels::from_split(&labelled(&[a, b])).unwrap_err().to_string();
    let looks = error("café", "cafe\u{301}");
    assert!(looks.contains("`caf\\u{e9}` and `cafe\\u{301}`"), "{looks}");
    assert!(error("pos", "pos\u{200b}").contains("`pos\\u{200b}`"));
    for labels in [["1", "1.5"], ["9007199254740993", "9007199254740992"], ["a", "A"], ["-1", "1"]]
    {
        assert_eq!(Labels::from_split(&labelled(&labels)).unwrap().len(), 2, "{labels:?}");
    }
}

#[test]
fn labels_that_teach_nothing_are_refused_and_odd_ones_remarked() {
    let error = dataset(&["yes", "yes"]).labels().unwrap_err().to_string();
    assert!(error.contains("all 2 texts have the label `yes`"), "{error}");
    let error = dataset(&["0.1", "0.2", "1", "3.5"]).labels().unwrap_err().to_string();
    assert!(error.contains("a quantity"), "{error}");
    for (labels, expected) in [
        (&["0.5", "1", "0.5", "1"][..], Some("decimal numbers (0.5, 1)")),
        (&["1", "2", "1", "2"], Some("the label `1` has the id 0")),
        (&["0", "2", "0", "2"], Some("the label `2` has the id 1")),
        (&["a", "b", "c"], Some("3 labels for 3 texts")),
        (&["Pos", "pos", "pos", "Pos"], Some("`Pos` and `pos`")),
        (&[" a", " b", " a", " b"], Some("the label ` a` has spaces")),
        (&["\"a\"", "b", "\"a\"", "b"], Some("spaces or quotes around it")),
        (&["\"", "b", "\"", "b"], None),
        (&["0", "1", "0", "1"], None),
        (&["0.0", "1.0", "0.0", "1.0"], None),
        (&["b", "a", "b", "a"], None),
    ] {
        let data = dataset(labels);
        let remarks = data.labels().unwrap().remarks(&data.train);
        match expected {
            Some(part) => assert!(remarks.len() == 1 && remarks[0].contains(part), "{remarks:?}"),
            None => assert!(remarks.is_empty(), "{remarks:?}"),
        }
    }
}

#[test]
fn sets_go_by_their_usual_names_and_the_rest_is_told() {
    for name in ["dev.csv", "val.csv", "Validation.CSV", "valid.csv", "eval.csv"] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "train.csv", "text,label\na,x\nb,y\n");
        write(dir.path(), name, "text,label\nc,x\n");
        write(dir.path(), "README.md", "");
        write(dir.path(), "labels.json", "[]");
        let data = Dataset::open(dir.path(), &Columns::default()).unwrap();
        assert!(data.dev.is_some() && data.remarks.is_empty(), "{name}: {:?}", data.remarks);
        for unused in ["val.json", "test.csv.zst", "extra.jsonl", "dev_matched.tsv"] {
            write(dir.path(), unused, "");
        }
        let remarks = Dataset::open(dir.path(), &Columns::default()).unwrap().remarks;
        assert_eq!(remarks.len(), 4, "{remarks:?}");
        assert!(remarks.iter().all(|r| r.contains("is not used")), "{remarks:?}");
        write(dir.path(), "devel.csv", "");
        write(dir.path(), "dev.tsv", "text\tlabel\nc\tx\n");
        let error = Dataset::open(dir.path(), &Columns::default()).unwrap_err().to_string();
        assert!(error.contains("both") && error.contains("dev.tsv"), "{error}");
    }
}

#[test]
fn a_test_set_without_labels_is_left_out() {
    for (name, text) in [
        ("test.csv", "id,text\n1,c\n"),
        ("test.tsv", "text\nc\n"),
        ("test.jsonl", "{\"text\":\"c\"}\n"),
        ("test.csv", "text,label\nc,-1\nd,-1\n"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "train.csv", "text,label\na,x\nb,y\n");
        write(dir.path(), name, text);
        let data = Dataset::open(dir.path(), &Columns::default()).unwrap();
        assert!(data.test.is_none(), "{name}");
        assert!(
            data.remarks.len() == 1 && data.remarks[0].contains("not used"),
            "{:?}",
            data.remarks
        );
    }
}

/// Only a label that fills a whole set and that nothing teaches is a filler.
#[test]
fn a_test_set_with_labels_is_kept() {
    for text in [
        "text,label\nc,x\n",
        "text,label\nc,z\n",
        "text,label\nc,x\nd,x\n",
        "text,label\nc,-1\nd,-2\n",
    ] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "train.csv", "text,label\na,x\nb,y\n");
        write(dir.path(), "test.csv", text);
        let data = Dataset::open(dir.path(), &Columns::default()).unwrap();
        assert!(data.test.is_some() && data.remarks.is_empty(), "{text}: {:?}", data.remarks);
    }
}

#[test]
fn a_folder_without_a_training_set_is_told_with_what_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let error = || Dataset::open(dir.path(), &Columns::default()).unwrap_err().to_string();
    assert!(error().contains("found nothing"), "{}", error());
    for i in 0..12 {
        write(dir.path(), &format!("f{i:02}.md"), "");
    }
    assert!(error().contains("f00.md") && error().ends_with("f11.md"), "{}", error());
    for i in 12..15 {
        write(dir.path(), &format!("f{i:02}.md"), "");
    }
    assert!(error().ends_with("f11.md, and 3 more"), "{}", error());
    // A folder is no set, even with the name of one.
    fs::create_dir(dir.path().join("train.csv")).unwrap();
    assert!(error().contains("no training set"), "{}", error());
}

#[test]
fn a_dev_set_is_drawn_from_every_label() {
    let labels = [vec!["a"; 60], vec!["b"; 35], vec!["c"; 4], vec!["d"; 1]].concat();
    let whole = dataset(&labels);
    let drawn = |fraction, seed| {
        let mut data = whole.clone();
        let count = data.hold_out(fraction, seed);
        assert_eq!(count, data.dev.as_ref().map_or(0, |dev| dev.examples.len()));
        assert_eq!(count + data.train.examples.len(), 100);
        data
    };
    let data = drawn(0.1, 0);
    let dev = data.dev.as_ref().unwrap();
    let count = |split: &Split, label: &str| {
        split.examples.iter().filter(|e| e.label.as_deref() == Some(label)).count()
    };
    assert_eq!(dev.examples.len(), 10);
    assert_eq!([count(dev, "a"), count(dev, "d")], [6, 0]);
    assert!((3..=4).contains(&count(dev, "b")), "{dev:?}");
    assert!(
        dev.examples.is_sorted_by_key(|e| e.line)
            && data.train.examples.is_sorted_by_key(|e| e.line)
    );
    let lines: std::collections::HashSet<u64> = dev.examples.iter().map(|e| e.line).collect();
    assert!(data.train.examples.iter().all(|e| !lines.contains(&e.line)));
    assert_eq!(drawn(0.1, 0), data);
    assert_ne!(drawn(0.1, 1).dev, data.dev);
    // A label never disappears from the training set.
    assert_eq!(count(&drawn(0.9, 0).train, "d"), 1);
    assert_eq!(dataset(&["a", "b"]).hold_out(0.5, 0), 0);
}

#[test]
fn a_fingerprint_is_of_labels_and_texts() {
    let data = dataset(&["a", "b", "a"]);
    let print = |data: &Dataset| Fingerprint::of(data, &Labels::from_split(&data.train).unwrap());
    let mut moved = data.clone();
    moved.train.path = "elsewhere.csv".into();
    assert_eq!(print(&moved), print(&data));
    let mut other = data.clone();
    other.train.examples[0].text = "b".into();
    assert_ne!(print(&other).train, print(&data).train);
    let mut swapped = data.clone();
    swapped.train.examples.swap(0, 1);
    assert_ne!(print(&swapped).train, print(&data).train);
    let mut joined = data.clone();
    joined.train.examples[0].pair = Some(String::new());
    assert_ne!(print(&joined).train, print(&data).train);
}

#[test]
fn texts_of_the_training_set_are_counted_in_another() {
    let mut data = dataset(&["a", "b", "a"]);
    let mut dev = data.train.clone();
    for (i, example) in data.train.examples.iter_mut().enumerate() {
        example.text = format!("text {i}");
    }
    for (i, text) in ["text 1", "text 7", "text 1"].into_iter().enumerate() {
        dev.examples[i].text = text.into();
        // Another label makes no other text.
        dev.examples[i].label = Some("c".into());
    }
    assert_eq!(data.seen_in_training(&dev), 2);
    dev.examples[2].pair = Some("and another".into());
    assert_eq!(data.seen_in_training(&dev), 1, "a pair is both of its texts");
}
