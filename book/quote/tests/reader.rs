//! What the reader of sources finds, and where it stops.

use gradus_quote::quote;

const SOURCE: &str = r###"//! Shapes.
//!
//! A table | of sorts.

use std::fmt;

/// A number.
///
/// # Errors
/// None.
#[derive(Clone)]
pub struct Value<'a> {
    name: &'a str, // with a brace } and a quote "
}

impl<'a> Value<'a> {
    /// Makes one.
    ///
    /// ```
    /// let x = 1;
    /// ```
    pub const fn new(name: &'a str) -> Self {
        Value { name }
    }

    fn show(&self) -> String {
        match self.name {
            // The empty one.
            "" => "{".to_string(),
            "a" | A if self.name.len() == 1 => pick::<u8, u16>('}', b'"', r#"" } "#),
            "b" => {
                let inner = match self.name.len() {
                    1 => One,
                    _ => Many,
                };
                inner
            }
            Point { x, .. } => x,
            _ => format!("{{}}"),
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        todo!()
    }
}

const A: [u8; 2] = { [1, 2] };

pub fn last<const N: usize>(x: [u8; N]) -> u8 { x[N - 1] }
"###;

fn code(symbol: &str) -> String {
    quote(SOURCE, symbol).unwrap_or_else(|error| panic!("{symbol}: {error}")).code
}

#[test]
fn items() {
    assert!(code("Value").starts_with("/// A number.\n#[derive(Clone)]\npub struct Value"));
    assert!(code("Value").ends_with('}') && !code("Value").contains("None."));
    assert_eq!(
        code("Value::new"),
        "/// Makes one.\npub const fn new(name: &'a str) -> Self {\n    Value { name }\n}"
    );
    assert_eq!(code("A"), "const A: [u8; 2] = { [1, 2] };");
    assert!(code("last").starts_with("pub fn last"));
    assert!(code("Value::Display::fmt").contains("write_str"));
    assert!(code("Value::Debug").starts_with("impl fmt::Debug"));
    assert_eq!(code("//"), "Shapes.\n\nA table | of sorts.");
}

#[test]
fn arms() {
    let arm = code("Value::show/A");
    assert!(arm.starts_with("\"a\" | A if") && arm.ends_with("\"#),"), "{arm}");
    assert_eq!(code("Value::show/\"\""), "// The empty one.\n\"\" => \"{\".to_string(),");
    assert_eq!(code("Value::show/Point"), "Point { x, .. } => x,");
    assert!(code("Value::show/\"b\"").ends_with("inner\n}"));
    assert_eq!(code("Value::show/\"b\"/1"), "1 => One,");
}

#[test]
fn what_is_not_there() {
    let error = |symbol: &str| quote(SOURCE, symbol).unwrap_err();
    assert_eq!(error("Value::gone"), "there is no Value::gone");
    assert!(error("Value::fmt").contains("name the trait"));
    assert!(error("Value::show/Gone").contains("no arm of a match there names Gone"));
    assert!(quote("fn f() {", "f").is_err());
    assert!(quote("fn f() {}", "//").is_err());
}

#[test]
fn shaders() {
    let shader = "// y = f(x)\n\n@group(0) @binding(0) var<storage, read> x: array<$T>;\n\
                  #if ANGLE\nfn op_sin(x: f32) -> f32 { return sin_(x); }\n#end\n\n\
                  // One thread an element.\n@compute @workgroup_size(256)\n\
                  fn forward(@builtin(workgroup_id) group: vec3<u32>) {\n    x[0] = $OP(1);\n}\n\
                  fn $KIND(x: u32) {}\n#if F32\nfn op(x: f32) {}\n#else\nfn op(x: u32) {}\n#end\n";
    let code = |symbol: &str| quote(shader, symbol).unwrap().code;
    assert_eq!(code("op_sin"), "fn op_sin(x: f32) -> f32 { return sin_(x); }");
    assert!(code("forward").starts_with("// One thread an element.\n@compute"));
    assert!(code("x").starts_with("@group(0)"));
    assert_eq!(code("//"), "y = f(x)");
    assert_eq!(code("$KIND"), "fn $KIND(x: u32) {}");
    assert_eq!(code("op@2"), "fn op(x: u32) {}");
    assert!(quote(shader, "op").unwrap_err().contains("op@1"));
}
