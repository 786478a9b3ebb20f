//! The signals that stop the server.

pub use system::Signals;

#[cfg(unix)]
mod system {
    use std::future::poll_fn;
    use std::task::Poll;

    use tokio::signal::unix::{Signal, SignalKind, signal};

    /// SIGTERM, SIGINT, and SIGHUP unless the process was started to ignore it.
    pub struct Signals(Vec<Signal>);

    impl Signals {
        /// Listens from now on: these signals no longer end the process.
        ///
        /// # Errors
        /// If the system refuses.
        pub fn listen() -> std::io::Result<Self> {
            let mut kinds = vec![SignalKind::terminate(), SignalKind::interrupt()];
            if !ignores_hangups() {
                kinds.push(SignalKind::hangup());
            }
            Ok(Signals(kinds.into_iter().map(signal).collect::<Result<_, _>>()?))
        }

        /// Waits for the next one.
        pub async fn next(&mut self) {
            poll_fn(|context| match self.0.iter_mut().any(|s| s.poll_recv(context).is_ready()) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })
            .await;
        }
    }

    /// Whether the process was started to ignore SIGHUP, as by `nohup`: it must go on then. True
    /// also where the system does not say (it has no `/proc`): the signal keeps its default effect
    /// there.
    fn ignores_hangups() -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        // Signal n is bit n - 1, and SIGHUP is signal 1.
        mask.is_none_or(|mask| mask & 1 == 1)
    }
}

#[cfg(windows)]
mod system {
    use tokio::signal::windows::{
        CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown,
    };

    /// Ctrl-C, Ctrl-Break, the end of the console and of the system.
    pub struct Signals {
        interrupt: CtrlC,
        quit: CtrlBreak,
        close: CtrlClose,
        shutdown: CtrlShutdown,
    }

    impl Signals {
        /// Listens from now on: Ctrl-C and Ctrl-Break no longer end the process.
        ///
        /// # Errors
        /// If the system refuses.
        pub fn listen() -> std::io::Result<Self> {
            Ok(Signals {
                interrupt: ctrl_c()?,
                quit: ctrl_break()?,
                close: ctrl_close()?,
                shutdown: ctrl_shutdown()?,
            })
        }

        /// Waits for the next one.
        pub async fn next(&mut self) {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.quit.recv() => {}
                _ = self.close.recv() => {}
                _ = self.shutdown.recv() => {}
            }
        }
    }
}
