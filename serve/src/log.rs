//! Structured events, a line each, on standard error. A thread of its own writes them, so that a
//! slow reader of the log never holds up a request; what does not fit its buffer is dropped and
//! counted.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

/// How important an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something went wrong here.
    Error,
    /// Something went wrong elsewhere.
    Warn,
    /// Models and the server itself.
    Info,
    /// Every request.
    Debug,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

/// Where events go.
#[derive(Clone)]
pub struct Log {
    sender: Option<SyncSender<Entry>>,
    least: Level,
    json: bool,
    dropped: Arc<AtomicU64>,
}

/// What the writer is sent.
enum Entry {
    Line(String),
    /// Nothing comes any more.
    End,
}

/// Lines that wait to be written at most.
const BUFFER: usize = 4096;

impl Log {
    /// A log of events of at least this level, as JSON or as text, and the thread that writes it;
    /// it ends when the last copy of the log is gone, or with [`Log::close`].
    pub fn new(least: Level, json: bool) -> (Log, Option<JoinHandle<()>>) {
        let (sender, receiver) = sync_channel(BUFFER);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        let writer = std::thread::Builder::new().name("gradus-log".into());
        let writer = writer.spawn(move || write(&receiver, &counted)).ok();
        (Log { sender: Some(sender), least, json, dropped }, writer)
    }

    /// A log that keeps nothing.
    pub fn silent() -> Log {
        Log { sender: None, least: Level::Error, json: false, dropped: Arc::default() }
    }

    /// Ends the log, once what it has is written.
    pub fn close(&self) {
        if let Some(sender) = &self.sender {
            // Without a writer there is nothing to end.
            let _ = sender.send(Entry::End);
        }
    }

    /// Whether events of this level are kept.
    pub fn keeps(&self, level: Level) -> bool {
        self.sender.is_some() && level <= self.least
    }

    /// Writes an event: what happened, and its fields (an object).
    pub fn event(&self, level: Level, event: &str, fields: Value) {
        let Some(sender) = self.sender.as_ref().filter(|_| self.keeps(level)) else { return };
        let line = line(self.json, SystemTime::now(), level, event, &fields);
        if sender.try_send(Entry::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write(receiver: &Receiver<Entry>, dropped: &AtomicU64) {
    while let Ok(Entry::Line(line)) = receiver.recv() {
        let mut out = std::io::stderr().lock();
        // Nobody is left to tell when standard error is closed.
        let _ = out.write_all(line.as_bytes());
        match dropped.swap(0, Ordering::Relaxed) {
            0 => {}
            count => drop(writeln!(
                out,
                "{}",
                json!({"level": "warn", "event": "log lines dropped", "count": count})
            )),
        }
    }
}

fn line(as_json: bool, time: SystemTime, level: Level, event: &str, fields: &Value) -> String {
    let time = timestamp(time);
    let empty = Map::new();
    let fields = fields.as_object().unwrap_or(&empty);
    if as_json {
        let mut all = Map::new();
        all.insert("time".into(), time.into());
        all.insert("level".into(), level.name().into());
        all.insert("event".into(), event.into());
        all.extend(
            fields.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())),
        );
        return format!("{}\n", Value::Object(all));
    }
    let mut line = format!("{time} {:5} {event}", level.name());
    for (key, value) in fields.iter().filter(|(_, v)| !v.is_null()) {
        // Strings are quoted where they have a space or what could pass for another line.
        match value
            .as_str()
            .filter(|s| !s.is_empty() && !s.contains(|c: char| c <= ' ' || c == '"'))
        {
            Some(word) => line.push_str(&format!(" {key}={word}")),
            None => line.push_str(&format!(" {key}={value}")),
        }
    }
    line.push('\n');
    line
}

/// RFC 3339, UTC, milliseconds; the calendar by Howard Hinnant's `civil_from_days`.
fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (since.as_secs(), since.subsec_millis());
    let (days, second) = ((seconds / 86400) as i64, seconds % 86400);
    let z = days + 719_468;
    let (era, doe) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_right() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_767_225_599, "2025-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn a_line_stays_a_line() {
        let fields = json!({"path": "/a\nb", "code": 200, "none": null, "word": "x"});
        let text = line(false, UNIX_EPOCH, Level::Info, "request", &fields);
        assert_eq!(
            text,
            "1970-01-01T00:00:00.000Z info  request code=200 path=\"/a\\nb\" word=x\n"
        );
        let json: Value =
            serde_json::from_str(&line(true, UNIX_EPOCH, Level::Warn, "request", &fields)).unwrap();
        assert_eq!((&json["level"], &json["code"]), (&"warn".into(), &200.into()));
        assert!(json.get("none").is_none());
    }
}
