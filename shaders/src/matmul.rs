//! Matrix products: `matmul.wgsl` in tiles, `matmul_few.wgsl` for few rows,
//! `matmul_cooperative.wgsl` with cooperative matrices. They share `matmul_common.wgsl`.

use crate::{BITS, Needs, Scalar, Shader, assemble};

const COMMON: &str = include_str!("matmul_common.wgsl");
const TILES_TEXT: &str = include_str!("matmul.wgsl");
const FEW_TEXT: &str = include_str!("matmul_few.wgsl");
const COOPERATIVE_TEXT: &str = include_str!("matmul_cooperative.wgsl");
const MATH: &str = include_str!("math.wgsl");

/// Rows and columns of a tile. Large tiles read less; small tiles keep more workgroups busy.
pub const TILES: [u32; 2] = [64, 32];

/// The largest number of rows of each kernel for few rows, which keeps a sum for every row in
/// registers. A workgroup computes 4 columns.
pub const FEW: [u32; 3] = [1, 4, 16];

/// A kernel with cooperative matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cooperative {
    /// Rows, columns and depth of a fragment: 16 or 8.
    pub fragment: u32,
    /// Threads of a subgroup: 32 or 64.
    pub lanes: u32,
    /// Rows and columns of a workgroup's tile, one of [`COOPERATIVE_TILES`].
    pub size: u32,
}

/// Tiles of the kernels with cooperative matrices.
pub const COOPERATIVE_TILES: [u32; 2] = [128, 64];

impl Cooperative {
    /// Subgroups of a workgroup, down and across the tile. Each computes 32 rows and 64 or 32
    /// columns of it.
    fn subgroups(self) -> (u32, u32) {
        (self.size / 32, 2)
    }

    /// Bytes of workgroup memory, for operands of `size` bytes.
    pub fn workgroup_bytes(self, size: u32) -> u32 {
        let (down, across) = self.subgroups();
        let operands = self.size * (32 + 8) + 32 * (self.size + 8);
        operands * size + down * across * self.fragment * self.fragment * 4
    }

    /// Threads of a workgroup.
    pub fn threads(self) -> u32 {
        let (down, across) = self.subgroups();
        down * across * self.lanes
    }
}

/// The step after the sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    /// Nothing.
    None,
    /// GELU.
    Gelu,
    /// GELU; its input is written too.
    GeluKeep,
    /// Nothing, but the sums of a's rows are written too. Only for tiles, read by fours, where a
    /// lies across k. One launch then computes the gradients of a weight and of its bias.
    RowSums,
}

/// Dtypes of a product: of the operands and of the result. The bias is f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Types {
    /// Of a and b.
    pub operands: Scalar,
    /// Of c: f32, or the dtype of the operands.
    pub result: Scalar,
}

impl Types {
    /// All supported combinations.
    pub const ALL: [Types; 3] = [
        Types { operands: Scalar::F32, result: Scalar::F32 },
        Types { operands: Scalar::F16, result: Scalar::F16 },
        Types { operands: Scalar::F16, result: Scalar::F32 },
    ];

    /// A number for each combination, for keys of variants.
    pub fn code(self) -> u64 {
        self.operands.code() * 2 + self.result.code()
    }

    fn name(self) -> &'static str {
        match (self.operands, self.result) {
            (Scalar::F16, Scalar::F32) => "f16.f32",
            (operands, _) => operands.name(),
        }
    }
}

/// A product `c = a·b (+ bias)` with its epilogue. Buffers a, b, (bias,) c(, kept).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// The dtypes.
    pub types: Types,
    /// Whether a bias is added.
    pub bias: bool,
    /// The step after the sum.
    pub epilogue: Epilogue,
}

impl Product {
    /// All products except those with [`Epilogue::RowSums`].
    pub fn all() -> Vec<Product> {
        let epilogues = [Epilogue::None, Epilogue::Gelu, Epilogue::GeluKeep];
        let mut all = Vec::new();
        for types in Types::ALL {
            for bias in [false, true] {
                all.extend(epilogues.map(|epilogue| Product { types, bias, epilogue }));
            }
        }
        all
    }

    /// A number for each product, for keys of variants.
    pub fn code(self) -> u64 {
        (self.types.code() * 2 + self.bias as u64) * 4 + self.epilogue as u64
    }

    /// The shader of one kernel for this product; with `vector` the buffers hold fours.
    fn shader(
        self,
        (kernel, variant): (&'static str, String),
        text: &str,
        vector: bool,
        scalar_out: bool,
        needs: Needs,
        definitions: &[(&'static str, String)],
    ) -> Shader {
        let Product { types: Types { operands, result }, bias, epilogue } = self;
        let gelu = matches!(epilogue, Epilogue::Gelu | Epilogue::GeluKeep);
        let (keep, sums) = (epilogue == Epilogue::GeluKeep, epilogue == Epilogue::RowSums);
        let flag = |on: bool| (on as u32).to_string();
        let element = |scalar: Scalar, four: bool| match four {
            true => format!("vec4<{}>", scalar.stored()),
            false => scalar.stored().to_string(),
        };
        let mut all = vec![
            ("T", operands.stored().to_string()),
            ("C", result.stored().to_string()),
            ("IN", element(operands, vector)),
            ("OUT", element(result, !scalar_out)),
            ("VECTOR", flag(vector)),
            ("SCALAR_OUT", flag(scalar_out)),
            ("BIAS", flag(bias)),
            ("GELU", flag(gelu)),
            ("KEEP", flag(keep)),
            ("SUMS", flag(sums)),
        ];
        all.extend_from_slice(definitions);
        let parts: &[&str] = if gelu { &[BITS, MATH, COMMON, text] } else { &[COMMON, text] };
        let named = |on: bool, name: &'static str| if on { name } else { "" };
        let label = [
            named(vector, ".vector"),
            named(bias, ".bias"),
            named(gelu, ".gelu"),
            named(keep, ".keep"),
            named(sums, ".sums"),
        ];
        let needs = Needs { f16: operands == Scalar::F16, ..needs };
        Shader {
            label: format!("{kernel}.{}.{variant}{}", self.types.name(), label.concat()),
            source: assemble(needs, parts, &all),
            entry: kernel,
            inputs: 2 + bias as u32,
            outputs: 1 + (keep || sums) as u32,
            needs,
        }
    }

    /// The kernel in tiles of `size` (one of [`TILES`]); with `vector` it reads four elements at
    /// once.
    pub fn tiles(self, size: u32, vector: bool) -> Shader {
        let definitions = [
            ("SIZE", size.to_string()),
            ("ROWS", (size / 8).to_string()),
            ("VECTORS", (size / 32).to_string()),
        ];
        let name = ("matmul", size.to_string());
        self.shader(name, TILES_TEXT, vector, !vector, Needs::default(), &definitions)
    }

    /// The kernel for at most `rows` rows (one of [`FEW`]); with `vector` it reads four elements at
    /// once.
    pub fn few(self, rows: u32, vector: bool) -> Shader {
        let definitions = [("ROWS", rows.to_string())];
        let name = ("few", rows.to_string());
        self.shader(name, FEW_TEXT, vector, true, Needs::default(), &definitions)
    }

    /// The kernel with cooperative matrices.
    pub fn cooperative(self, kernel: Cooperative) -> Shader {
        let Cooperative { fragment, lanes, size } = kernel;
        let (down, across) = kernel.subgroups();
        let definitions = [
            ("SIZE", size.to_string()),
            ("FRAGMENT", fragment.to_string()),
            ("MATRIX", format!("coop_mat{fragment}x{fragment}")),
            ("LANES", lanes.to_string()),
            ("SUBGROUPS", (down * across).to_string()),
            ("THREADS", kernel.threads().to_string()),
            ("ACROSS", across.to_string()),
            ("ROWS", (32 / fragment).to_string()),
            ("COLUMNS", (size / across / fragment).to_string()),
            ("STEPS", (32 / fragment).to_string()),
        ];
        let needs = Needs { subgroups: true, cooperative_matrix: true, ..Needs::default() };
        let name = ("cooperative", format!("{size}.{fragment}.{lanes}"));
        self.shader(name, COOPERATIVE_TEXT, true, true, needs, &definitions)
    }
}

pub(crate) fn variants() -> Vec<Shader> {
    let mut all = Vec::new();
    for product in Product::all() {
        for fragment in [16, 8] {
            for lanes in [32, 64] {
                let kernel = |size| product.cooperative(Cooperative { fragment, lanes, size });
                all.extend(COOPERATIVE_TILES.map(kernel));
            }
        }
        for vector in [false, true] {
            all.extend(TILES.map(|size| product.tiles(size, vector)));
            all.extend(FEW.map(|rows| product.few(rows, vector)));
        }
    }
    for types in Types::ALL.into_iter().filter(|types| types.result == Scalar::F32) {
        let product = Product { types, bias: false, epilogue: Epilogue::RowSums };
        all.extend(TILES.map(|size| product.tiles(size, true)));
    }
    all
}
