//! The program as the Python scripts use it: one line of JSON out for each line in.
//!
//! With this test, `cargo test --workspace` builds `ops`, which `tests/peers/run` needs afterwards.

use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The answers to `lines`.
fn asked(lines: &[String]) -> Vec<Value> {
    let mut ops = Command::new(env!("CARGO_BIN_EXE_ops"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    ops.stdin.take().unwrap().write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
    let output = ops.wait_with_output().unwrap();
    assert!(output.status.success());
    let answers = String::from_utf8(output.stdout).unwrap();
    answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn array(shape: &[usize], values: &[f64]) -> Value {
    let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    json!({ "dtype": "f64", "shape": shape, "data": STANDARD.encode(bytes) })
}

#[test]
fn an_operation_and_its_derivatives() {
    let x = array(&[2], &[3.0, 4.0]);
    let one = array(&[2], &[1.0, 1.0]);
    let request = json!({ "op": "square", "inputs": [x], "grads": [one], "second": [one] });
    let answers = asked(&[request.to_string()]);
    // The value x² has the gradient 2x. The sum of 2x·g has the gradients 2g by x and 2x by g.
    assert_eq!(
        answers,
        [json!({
            "outputs": [array(&[2], &[9.0, 16.0])],
            "grads": [array(&[2], &[6.0, 8.0])],
            "second": [array(&[2], &[2.0, 2.0]), array(&[2], &[6.0, 8.0])],
        })]
    );
}

#[test]
fn a_wrong_line_is_an_error_and_the_next_is_answered() {
    let sum = |attributes: Value| {
        let inputs = [array(&[2, 2], &[1.0, 2.0, 3.0, 4.0])];
        json!({ "op": "sum", "attributes": attributes, "inputs": inputs }).to_string()
    };
    let wrong = [
        ("no json".to_string(), "the line is no request"),
        (json!({ "op": "nothing" }).to_string(), "nothing"),
        (sum(json!({ "dims": [7] })), "7"),
        (sum(json!({ "axis": [0] })), "no attribute axis"),
    ];
    let mut lines: Vec<String> = wrong.iter().map(|(line, _)| line.clone()).collect();
    lines.push(sum(json!({ "dims": [0] })));
    let answers = asked(&lines);
    assert_eq!(answers.len(), lines.len());
    for ((line, what), answer) in wrong.iter().zip(&answers) {
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.contains(what), "{line}: {answer}");
    }
    assert_eq!(answers[4]["outputs"], json!([array(&[2], &[4.0, 6.0])]));
}
