//! Compiled pipelines on disk, where the backend lets a program keep them (Vulkan).
//!
//! One file an adapter under `gradus/` in the user's cache folder (`XDG_CACHE_HOME`, `LOCALAPPDATA`,
//! `~/.cache`). The driver checks it: a file of another driver is ignored.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The file is written at most this often.
const EVERY: Duration = Duration::from_secs(2);

pub(super) struct PipelineCache {
    cache: Option<wgpu::PipelineCache>,
    path: Option<PathBuf>,
    /// Number of pipelines at the last save, and when that was.
    saved: Mutex<(u64, Option<Instant>)>,
}

fn folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    variable("XDG_CACHE_HOME")
        .or_else(|| variable("LOCALAPPDATA"))
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("gradus"))
}

impl PipelineCache {
    pub(super) fn open(device: &wgpu::Device, adapter: &wgpu::AdapterInfo) -> PipelineCache {
        let path = folder()
            .zip(wgpu::util::pipeline_cache_key(adapter))
            .filter(|_| device.features().contains(wgpu::Features::PIPELINE_CACHE))
            .map(|(folder, key)| folder.join(key));
        let cache = path.as_ref().map(|path| {
            let data = std::fs::read(path).ok();
            // SAFETY: the file was written below from `get_data`; wgpu and the driver check its header,
            // and what does not fit is ignored (`fallback`).
            unsafe {
                device.create_pipeline_cache(&wgpu::PipelineCacheDescriptor {
                    label: None,
                    data: data.as_deref(),
                    fallback: true,
                })
            }
        });
        PipelineCache { cache, path, saved: Mutex::new((0, None)) }
    }

    pub(super) fn get(&self) -> Option<&wgpu::PipelineCache> {
        self.cache.as_ref()
    }

    /// Writes the file where there are more `pipelines` than it has. A cache is a convenience: that it
    /// cannot be written is no error.
    pub(super) fn save_if_due(&self, pipelines: u64) {
        let (Some(cache), Some(path)) = (&self.cache, &self.path) else { return };
        let Ok(mut saved) = self.saved.try_lock() else { return };
        if saved.0 == pipelines || saved.1.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        *saved = (pipelines, Some(Instant::now()));
        if let (Some(data), Some(folder)) = (cache.get_data(), path.parent()) {
            // Beside, then renamed: another program never sees half a file.
            let beside = path.with_extension(std::process::id().to_string());
            let written = std::fs::create_dir_all(folder)
                .and_then(|()| std::fs::write(&beside, data))
                .and_then(|()| std::fs::rename(&beside, path));
            if written.is_err() {
                let _ = std::fs::remove_file(&beside);
            }
        }
    }
}
