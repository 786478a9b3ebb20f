//! The log: events of `tracing` on standard error, one per line, as text or as JSON objects. A
//! thread of its own writes the lines, so a slow reader of the log never holds up a request. Lines
//! that do not fit its buffer are dropped and counted.

use tracing::subscriber::set_global_default;
use tracing::{Level, Subscriber, warn};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

/// Most lines that wait to be written.
const BUFFER: usize = 4096;

/// The log of the process.
pub struct Log {
    dropped: ErrorCounter,
    /// Writes the waiting lines when it is dropped.
    _writer: WorkerGuard,
}

impl Log {
    /// Starts the log, with events of this level and above.
    pub fn start(level: Level, json: bool) -> Log {
        let builder = NonBlockingBuilder::default().buffered_lines_limit(BUFFER);
        let (writer, guard) = builder.thread_name("gradus-log").finish(std::io::stderr());
        let dropped = writer.error_counter();
        // It fails where there is a log already, which stays then.
        let _ = set_global_default(subscriber(writer, level, json));
        Log { dropped, _writer: guard }
    }

    /// Ends the log when its lines are written.
    pub fn finish(self) {
        let count = self.dropped.dropped_lines();
        if count > 0 {
            warn!(count, "log lines dropped");
        }
    }
}

fn subscriber(
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
    level: Level,
    json: bool,
) -> Box<dyn Subscriber + Send + Sync> {
    let lines = tracing_subscriber::fmt().with_max_level(level).with_writer(writer);
    let lines = lines.with_target(false);
    match json {
        true => Box::new(lines.json().flatten_event(true).finish()),
        false => Box::new(lines.finish()),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing::subscriber::with_default;
    use tracing::{debug, info};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(json: bool, events: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        with_default(subscriber(move || writer.clone(), Level::INFO, json), events);
        let lines = lines.0.lock().unwrap().clone();
        String::from_utf8(lines).unwrap()
    }

    #[test]
    fn a_line_stays_a_line() {
        let text = logged(false, || info!(path = "/a\nb", code = 200, word = "x", "request"));
        assert!(text.ends_with("INFO request path=\"/a\\nb\" code=200 word=\"x\"\n"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn a_line_of_json_is_an_object_without_what_is_missing() {
        let text = logged(true, || {
            warn!(path = "/a\nb", code = 200, none = None::<&str>, "request");
            debug!("not of this level");
        });
        assert_eq!(text.lines().count(), 1);
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["level"], &line["code"]), (&"WARN".into(), &200.into()));
        assert_eq!((&line["message"], &line["path"]), (&"request".into(), &"/a\nb".into()));
        assert!(line["timestamp"].is_string() && line.get("none").is_none(), "{line}");
    }
}
