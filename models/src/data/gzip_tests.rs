use std::fs;
use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

const CSV: &str = "text,label\ngood,1\nbad,0\n";

#[test]
fn packed_files_are_read_as_what_they_hold() {
    let folder = tempfile::tempdir().unwrap();
    let here = |name: &str, text: &str| write(folder.path(), name, &packed(text));
    let plain = write(folder.path(), "plain.csv", CSV.as_bytes());
    let expected = Split::read(plain, &Columns::default()).unwrap().examples;
    let tsv = CSV.replace(',', "\t");
    for (name, text) in [("a.csv.gz", CSV), ("a.TSV.GZ", tsv.as_str())] {
        let found = Split::read(here(name, text), &Columns::default()).unwrap().examples;
        assert_eq!(found, expected, "{name}");
    }
    let jsonl = here("a.jsonl.gz", "{\"tokens\": [\"Ada\"], \"tags\": [\"B-PER\"]}\n");
    let tagged = Split::read_tagged(jsonl, &TaggedColumns::default()).unwrap();
    assert_eq!(tagged.examples[0].tags, ["B-PER"]);
    let conll = here("a.conll.gz", "Ada B-PER\n");
    assert!(is_tagged(&conll));
    assert_eq!(read_words(conll, &TaggedColumns::default()).unwrap()[0].words, ["Ada"]);
    let pairs = here("p.csv.gz", "anchor,positive\na,b\n");
    assert_eq!(Split::read_pairs(pairs, &PairColumns::default()).unwrap().examples.len(), 1);
    let json = here("q.json.gz", r#"[{"question": "q", "context": "c", "answers": []}]"#);
    assert_eq!(read_questions(json).unwrap().len(), 1);
    // Files one after the other in one, as `cat a.gz b.gz` makes them.
    let both = [packed("one\n"), packed("two\n")].concat();
    let texts = read_inputs(write(folder.path(), "t.txt.gz", &both), &Columns::text_only());
    assert_eq!(texts.unwrap().len(), 2);
}

#[test]
fn a_packed_data_set_and_a_packed_corpus_are_found_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "train.csv.gz", &packed(CSV));
    write(folder.path(), "validation.csv", CSV.as_bytes());
    let dataset = Dataset::open(folder.path(), &Columns::default()).unwrap();
    assert_eq!(dataset.dev.unwrap().examples, dataset.train.examples);
    write(folder.path(), "train.csv", CSV.as_bytes());
    let told = Dataset::open(folder.path(), &Columns::default()).unwrap_err().to_string();
    assert!(told.contains("both train.csv and train.csv.gz exist"), "{told}");

    let folder = tempfile::tempdir().unwrap();
    let text = "a line of text\n".repeat(3 * WINDOW as usize / 15);
    write(folder.path(), "a.txt.gz", &packed(&text));
    let mut corpus = Corpus::open(folder.path()).unwrap();
    assert_eq!(corpus.bytes(), text.len() as u64);
    let tail = corpus.split_off(1000).unwrap().unwrap();
    drop(corpus);
    assert!(tail.read(0).unwrap().ends_with("a line of text\n"));
    write(folder.path(), "train.txt.gz", &packed("learn\n"));
    write(folder.path(), "test.txt", b"try\n");
    let corpora = Corpora::open(folder.path()).unwrap();
    assert_eq!(corpora.train.read(0).unwrap(), "learn\n");
    assert_eq!(corpora.test.unwrap().read(0).unwrap(), "try\n");
}

#[test]
fn damaged_and_misnamed_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str, bytes: &[u8]| {
        let path = write(folder.path(), name, bytes);
        Split::read(path, &Columns::default()).unwrap_err().to_string()
    };
    let told = read("a.csv.gz", &packed(CSV)[..20]);
    assert!(told.contains("a.csv.gz") && told.contains("cannot unpack"), "{told}");
    let told = read("b.csv.gz", CSV.as_bytes());
    assert!(told.contains("b.csv.gz") && told.contains("cannot unpack"), "{told}");
    let told = read("c.csv", &packed(CSV));
    assert!(told.contains("add .gz"), "{told}");
    let told = read("d.gz", &packed(CSV));
    assert!(told.contains("does not tell the format"), "{told}");
    let broken = write(folder.path(), "e.txt.gz", &packed("some text")[..15]);
    let told = Corpus::open(broken).unwrap_err().to_string();
    assert!(told.contains("e.txt.gz") && told.contains("cannot unpack"), "{told}");
}
