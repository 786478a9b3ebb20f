//! Keeping others off standard error.

/// Keeps Mesa's device-selection layer from printing `error: XDG_RUNTIME_DIR …` on standard error
/// wherever there is no desktop. The layer asks the Wayland server which GPU it shows its windows
/// on; Gradus has no windows, and puts hardware first by itself. So the layer is switched off for
/// this process (`NODEVICE_SELECT`), unless somebody chooses a GPU by it (`MESA_VK_DEVICE_SELECT`,
/// `DRI_PRIME`) or has set the variable already.
///
/// Call it first in a program: the environment can only be changed while there is one thread. Later
/// it does nothing.
pub fn quiet_drivers() {
    let chosen = ["NODEVICE_SELECT", "MESA_VK_DEVICE_SELECT", "DRI_PRIME"];
    if chosen.iter().any(|name| std::env::var_os(name).is_some()) || !alone() {
        return;
    }
    // SAFETY: this is the only thread of the process, so none reads the environment meanwhile.
    unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
}

/// Whether the process is known to have one thread.
fn alone() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

#[cfg(test)]
mod tests {
    /// The test runner has threads: the environment must stay as it is.
    #[test]
    fn nothing_is_changed_beside_other_threads() {
        std::thread::scope(|scope| {
            let (done, wait) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || wait.recv());
            let before = std::env::var_os("NODEVICE_SELECT");
            super::quiet_drivers();
            assert_eq!(std::env::var_os("NODEVICE_SELECT"), before);
            drop(done);
        });
    }
}
