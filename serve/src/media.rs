//! The media type and charset of a body; texts in any charset; the forms that browsers, `curl` and
//! `requests` send.

use std::borrow::Cow;
use std::str::FromStr;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use encoding_rs::{Encoding, UTF_8};
use mime::Mime;
use percent_encoding::percent_decode;

use crate::error::{Kind, Problem, Result};

/// The media type of a body, as its headers say.
pub struct Media(Option<Mime>);

impl Media {
    /// The media type of a request; empty where the header is missing or wrong.
    pub fn of(headers: &HeaderMap) -> Media {
        let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Media(value.and_then(|value| Mime::from_str(value.trim()).ok()))
    }

    /// Whether it is this type, such as `application/json`.
    pub fn is(&self, essence: &str) -> bool {
        self.0.as_ref().is_some_and(|mime| mime.essence_str() == essence)
    }

    /// Whether it has parts.
    pub fn has_parts(&self) -> bool {
        self.0.as_ref().is_some_and(|mime| mime.type_() == mime::MULTIPART)
    }

    /// Whether a body is a form. `curl -d` calls every body a form, so a form in one line must also
    /// begin with a name and `=`.
    pub fn holds_form(&self, body: &[u8]) -> bool {
        let name = body.iter().take_while(|&&byte| !b"={[\"' \t\r\n".contains(&byte)).count();
        let named = name > 0 && body.get(name) == Some(&b'=');
        self.has_parts() || (self.is("application/x-www-form-urlencoded") && named)
    }

    /// Whether it names a charset that is not UTF-8.
    pub fn other_charset(&self) -> bool {
        let named = self.0.as_ref().and_then(|mime| mime.get_param(mime::CHARSET));
        named.is_some_and(|name| name != mime::UTF_8 && name != "us-ascii")
    }

    /// The text of a body, in the charset that the header names; by default UTF-8.
    ///
    /// # Errors
    /// When the charset is unknown, or the body is not in it.
    pub fn text<'a>(&self, body: &'a [u8]) -> Result<Cow<'a, str>> {
        let named = self.0.as_ref().and_then(|mime| mime.get_param(mime::CHARSET));
        let named = named.map_or("utf-8", |name| name.as_str());
        // ASCII is UTF-8, but the labels of the web read it as the charset of Windows.
        let label = if named.eq_ignore_ascii_case("us-ascii") { "utf-8" } else { named };
        let encoding = Encoding::for_label(label.as_bytes()).ok_or_else(|| {
            let message = format!("the charset `{named}` is not known; send UTF-8");
            Problem::new(Kind::MediaType, message)
        })?;
        if encoding == UTF_8 {
            let text = std::str::from_utf8(body).map_err(|e| {
                let message = format!(
                    "the body is not UTF-8: {e}; send UTF-8, or name the charset in Content-Type"
                );
                Problem::invalid(message)
            })?;
            return Ok(text.into());
        }
        match encoding.decode_with_bom_removal(body) {
            (text, false) => Ok(text),
            (_, true) => Err(Problem::invalid(format!("the body is not {named}"))),
        }
    }

    /// The fields of a form in parts.
    ///
    /// # Errors
    /// When the body is no such form, or its parts are cut off.
    pub async fn parts(&self, body: Bytes) -> Result<Vec<Part>> {
        let mime = self.0.as_ref().filter(|mime| mime.essence_str() == "multipart/form-data");
        let Some(boundary) = mime.and_then(|mime| mime.get_param(mime::BOUNDARY)) else {
            let message = "the body is not a form in parts (multipart/form-data; boundary=…); \
                send the text, or JSON, as the body";
            return Err(Problem::new(Kind::MediaType, message));
        };
        let wrong = |e: multer::Error| Problem::invalid(format!("the form cannot be read: {e}"));
        let stream = Body::from(body).into_data_stream();
        let mut form = multer::Multipart::new(stream, boundary.as_str());
        let mut parts = Vec::new();
        while let Some(field) = form.next_field().await.map_err(wrong)? {
            let name = field.name().unwrap_or_default().to_string();
            let media = Media(field.content_type().cloned());
            parts.push(Part { name, media, body: field.bytes().await.map_err(wrong)? });
        }
        Ok(parts)
    }
}

/// A field of a form in parts.
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its media type.
    pub media: Media,
    /// The bytes.
    pub body: Bytes,
}

/// The fields of a form in one line: `name=value&…`, percent-encoded, `+` for a space.
///
/// # Errors
/// When a value is not UTF-8.
pub fn urlencoded(form: &str) -> Result<Vec<(String, String)>> {
    let decoded = |text: &str| {
        let bytes: Vec<u8> = percent_decode(text.replace('+', " ").as_bytes()).collect();
        String::from_utf8(bytes)
            .map_err(|e| Problem::invalid(format!("the form is not UTF-8: {}", e.utf8_error())))
    };
    let pairs = form.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(kind: &str) -> Media {
        Media(Mime::from_str(kind).ok())
    }

    #[test]
    fn charsets_are_read() {
        let text = |kind: &str, body: &[u8]| media(kind).text(body).map(Cow::into_owned);
        assert_eq!(text("text/plain", "Où".as_bytes()).unwrap(), "Où");
        assert_eq!(text("text/plain; charset=UTF-8", "Où".as_bytes()).unwrap(), "Où");
        assert_eq!(text("text/plain; charset=us-ascii", "Où".as_bytes()).unwrap(), "Où");
        assert_eq!(text("text/plain; charset=ISO-8859-1", b"O\xf9").unwrap(), "Où");
        assert_eq!(text("text/plain; charset=\"utf-16le\"", b"O\0\xf9\0").unwrap(), "Où");
        assert_eq!(text("text/plain; charset=shift_jis", b"\x83J").unwrap(), "カ");
        let told = text("text/plain", b"O\xf9").unwrap_err();
        assert!(told.message.contains("name the charset"), "{told}");
        assert_eq!(text("text/plain; charset=klingon", b"a").unwrap_err().kind, Kind::MediaType);
        assert_eq!(text("text/plain; charset=utf-16le", b"a").unwrap_err().kind, Kind::Invalid);
    }

    #[test]
    fn forms_are_decoded() {
        let form = urlencoded("data=I+lost+my%20card%21&&text_pair=100%25+%C3%BC%&a").unwrap();
        let pairs: Vec<(&str, &str)> = form.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(pairs, [("data", "I lost my card!"), ("text_pair", "100% ü%"), ("a", "")]);
        assert!(urlencoded("data=%ff").unwrap_err().message.contains("not UTF-8"));
    }
}
