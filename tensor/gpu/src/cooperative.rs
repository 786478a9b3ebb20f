//! Chooses the products that a device computes with cooperative matrices.
//!
//! The support in `wgpu` is experimental, and some drivers return wrong sums. So before the first
//! product with cooperative matrices on a device, `matmul.rs` computes a product of whole numbers
//! both ways and compares the results bit for bit. Where they differ, the device keeps using tiles.

use std::sync::OnceLock;

use gradus_shaders::Scalar;
use gradus_shaders::matmul::{COOPERATIVE_TILES, Cooperative};
use wgpu::CooperativeScalarType as Kind;

/// The fragments that a device multiplies, its subgroups and its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fragments {
    /// Threads of a subgroup; 0 where their number varies.
    lanes: u32,
    /// Rows, columns and depth of a fragment of f16 that is summed in f32; 0 for none.
    f16: u32,
    /// The same for a fragment of f32.
    f32: u32,
    /// Workgroup memory, in bytes.
    memory: u32,
    /// The most threads of a workgroup.
    threads: u32,
}

impl Fragments {
    /// From the properties that an adapter reports.
    pub(super) fn of(
        properties: &[wgpu::CooperativeMatrixProperties],
        info: &wgpu::AdapterInfo,
        limits: &wgpu::Limits,
    ) -> Fragments {
        let (least, most) = (info.subgroup_min_size, info.subgroup_max_size);
        let lanes = match info.backend {
            wgpu::Backend::Metal => 32, // the size of a simdgroup; the limits report another number
            _ if least == most && [32, 64].contains(&least) => least,
            _ => 0,
        };
        // The largest cube of these types.
        let cube = |ab: Kind, cr: Kind| {
            let listed = |&&size: &&u32| {
                properties.iter().any(|p| {
                    [p.m_size, p.n_size, p.k_size] == [size; 3]
                        && (p.ab_type, p.cr_type) == (ab, cr)
                })
            };
            [16, 8].iter().find(listed).copied().unwrap_or(0)
        };
        Fragments {
            lanes,
            f16: cube(Kind::F16, Kind::F32),
            f32: cube(Kind::F32, Kind::F32),
            memory: limits.max_compute_workgroup_storage_size,
            threads: limits.max_compute_invocations_per_workgroup,
        }
    }

    /// The kernel for operands of this type and a result of `tiles(size)` tiles. It has large tiles
    /// where there are enough of them to keep the device busy.
    pub(super) fn kernel(
        self,
        operands: Scalar,
        busy: usize,
        tiles: impl Fn(u32) -> usize,
    ) -> Option<Cooperative> {
        let (fragment, bytes) = match operands {
            Scalar::F16 => (self.f16, 2),
            Scalar::F32 => (self.f32, 4),
            _ => (0, 4),
        };
        if self.lanes == 0 || fragment == 0 {
            return None;
        }
        let [large, small] = COOPERATIVE_TILES;
        let kernel = |size| Cooperative { fragment, lanes: self.lanes, size };
        let fits = |kernel: &Cooperative| {
            kernel.workgroup_bytes(bytes) <= self.memory && kernel.threads() <= self.threads
        };
        let large = Some(kernel(large)).filter(|_| tiles(large) >= busy).filter(fits);
        large.or(Some(kernel(small)).filter(fits))
    }
}

/// A device's fragments, and the result of the comparison for each type of operands.
#[derive(Default)]
pub(super) struct CooperativeProducts {
    pub(super) fragments: Fragments,
    pub(super) f16_agrees: OnceLock<bool>,
    pub(super) f32_agrees: OnceLock<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cube(size: u32, ab_type: Kind, cr_type: Kind) -> wgpu::CooperativeMatrixProperties {
        wgpu::CooperativeMatrixProperties {
            m_size: size,
            n_size: size,
            k_size: size,
            ab_type,
            cr_type,
            saturating_accumulation: false,
        }
    }

    fn of(
        properties: &[wgpu::CooperativeMatrixProperties],
        backend: wgpu::Backend,
        (least, most): (u32, u32),
    ) -> Fragments {
        let mut info = wgpu::AdapterInfo::new(wgpu::DeviceType::DiscreteGpu, backend);
        (info.subgroup_min_size, info.subgroup_max_size) = (least, most);
        let limits = wgpu::Limits {
            max_compute_workgroup_storage_size: 48 << 10,
            max_compute_invocations_per_workgroup: 1024,
            ..wgpu::Limits::default()
        };
        Fragments::of(properties, &info, &limits)
    }

    #[test]
    fn kernels_are_chosen_by_what_the_device_lists() {
        use wgpu::Backend::{Metal, Vulkan};
        let chosen = |fragments: Fragments, operands, tiles: usize| {
            let kernel = fragments.kernel(operands, 64, |_| tiles)?;
            Some((kernel.fragment, kernel.lanes, kernel.size))
        };
        // NVIDIA lists other shapes and types too.
        let mixed = cube(16, Kind::F16, Kind::F32);
        let flat = wgpu::CooperativeMatrixProperties { n_size: 8, ..mixed };
        let nvidia = of(&[flat, cube(16, Kind::F16, Kind::F16), mixed], Vulkan, (32, 32));
        assert_eq!(chosen(nvidia, Scalar::F16, 500), Some((16, 32, 128)));
        assert_eq!(chosen(nvidia, Scalar::F16, 8), Some((16, 32, 64)));
        assert_eq!(chosen(nvidia, Scalar::F32, 500), None);
        // Apple's list.
        let eight = [cube(8, Kind::F32, Kind::F32), cube(8, Kind::F16, Kind::F32)];
        let apple = of(&eight, Metal, (4, 64));
        assert_eq!(chosen(apple, Scalar::F32, 8), Some((8, 32, 64)));
        assert_eq!(chosen(apple, Scalar::F16, 500), Some((8, 32, 128)));
        // Tiles that do not fit into workgroup memory, or a workgroup.
        let small = Fragments { memory: 16 << 10, ..nvidia };
        assert_eq!(chosen(small, Scalar::F16, 500), Some((16, 32, 64)));
        assert_eq!(chosen(Fragments { memory: 8 << 10, ..nvidia }, Scalar::F16, 500), None);
        assert_eq!(chosen(Fragments { threads: 64, ..nvidia }, Scalar::F16, 500), None);
        // Subgroups of varying size; an empty list.
        assert_eq!(chosen(of(&[mixed], Vulkan, (8, 32)), Scalar::F16, 500), None);
        assert_eq!(chosen(of(&[], Vulkan, (32, 32)), Scalar::F16, 500), None);
    }
}
