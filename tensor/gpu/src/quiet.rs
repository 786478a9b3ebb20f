//! Keeps drivers off standard error.

/// Keeps Mesa's device-selection layer from printing `error: XDG_RUNTIME_DIR …` on standard error
/// where there is no desktop. The layer asks the Wayland server for the GPU that shows its windows;
/// Gradus has no windows and sorts hardware first itself. So this function switches the layer off
/// for this process (`NODEVICE_SELECT`), unless the user chooses a GPU with it
/// (`MESA_VK_DEVICE_SELECT`, `DRI_PRIME`) or has set the variable already.
///
/// Call it first in a program: it changes the environment, which is safe only while there is one
/// thread. Later it does nothing.
pub fn quiet_drivers() {
    let chosen = ["NODEVICE_SELECT", "MESA_VK_DEVICE_SELECT", "DRI_PRIME"];
    if chosen.iter().any(|name| std::env::var_os(name).is_some()) || !alone() {
        return;
    }
    // SAFETY: this is the only thread of the process, so no other reads the environment meanwhile.
    unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
}

/// Whether the process is known to have one thread.
fn alone() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

#[cfg(test)]
mod tests {
    /// The test runner has several threads, so the environment must not change.
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
