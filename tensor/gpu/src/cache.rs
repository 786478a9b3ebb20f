//! Keeps compiled pipelines on disk, where the backend supports it (Vulkan).
//!
//! Each adapter has one file under `gradus/` in the user's cache folder (`XDG_CACHE_HOME`,
//! `LOCALAPPDATA`, `~/.cache`). wgpu and the driver ignore a file of another driver. They do not
//! check whether a file is complete, so a checksum follows the data, and a damaged file is not
//! given to them.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The shortest time between two writes of the file.
const EVERY: Duration = Duration::from_secs(2);

pub(super) struct PipelineCache {
    cache: Option<wgpu::PipelineCache>,
    path: Option<PathBuf>,
    /// The number of pipelines at the last save, and its time.
    saved: Mutex<(u64, Option<Instant>)>,
}

fn folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    variable("XDG_CACHE_HOME")
        .or_else(|| variable("LOCALAPPDATA"))
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("gradus"))
}

/// The data followed by their checksum (FNV-1a, 64 bits).
fn sealed(mut data: Vec<u8>) -> Vec<u8> {
    let sum = checksum(&data);
    data.extend(sum.to_le_bytes());
    data
}

/// The data of a file, if its checksum is right.
fn unsealed(file: &[u8]) -> Option<&[u8]> {
    let (data, sum) = file.split_last_chunk::<8>()?;
    (u64::from_le_bytes(*sum) == checksum(data)).then_some(data)
}

fn checksum(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
        (sum ^ byte as u64).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl PipelineCache {
    pub(super) fn open(device: &wgpu::Device, adapter: &wgpu::AdapterInfo) -> PipelineCache {
        let path = folder()
            .zip(wgpu::util::pipeline_cache_key(adapter))
            .filter(|_| device.features().contains(wgpu::Features::PIPELINE_CACHE))
            .map(|(folder, key)| folder.join(key));
        let cache = path.as_ref().map(|path| {
            let file = std::fs::read(path).ok();
            let data = file.as_deref().and_then(unsealed);
            // SAFETY: the checksum shows that `get_data` gave these data. wgpu and the driver check
            // the header, and `fallback` makes them ignore the data of another driver.
            unsafe {
                device.create_pipeline_cache(&wgpu::PipelineCacheDescriptor {
                    label: None,
                    data,
                    fallback: true,
                })
            }
        });
        PipelineCache { cache, path, saved: Mutex::new((0, None)) }
    }

    pub(super) fn get(&self) -> Option<&wgpu::PipelineCache> {
        self.cache.as_ref()
    }

    /// Writes the file if there are more `pipelines` than in the file. A failed write is no error,
    /// because the cache only saves time.
    pub(super) fn save_if_due(&self, pipelines: u64) {
        let (Some(cache), Some(path)) = (&self.cache, &self.path) else { return };
        let Ok(mut saved) = self.saved.try_lock() else { return };
        if saved.0 == pipelines || saved.1.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        *saved = (pipelines, Some(Instant::now()));
        if let (Some(data), Some(folder)) = (cache.get_data(), path.parent()) {
            // Writes under another name and renames, so that no other program sees half a file.
            let aside = path.with_extension(std::process::id().to_string());
            let written = std::fs::create_dir_all(folder)
                .and_then(|()| std::fs::write(&aside, sealed(data)))
                .and_then(|()| std::fs::rename(&aside, path));
            if written.is_err() {
                let _ = std::fs::remove_file(&aside);
            }
        }
    }
}
