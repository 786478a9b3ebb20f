//! Random numbers from counters: Philox 4×32-10 (Salmon et al., "Parallel Random Numbers: As Easy
//! as 1, 2, 3", SC 2011).
//!
//! The number for element `i` depends on the key and on `i` alone: so it is the same on every
//! device and for every thread count, and a dropout mask can be made again in backward instead of
//! being stored.

/// A key of the generator: names one stream of random numbers.
///
/// Streams are derived, not drawn: `RngKey::new(seed).step(n).place("encoder.layer.0")` is the same
/// stream in every run, so that resuming a training run is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RngKey(pub u64);

/// The finaliser of SplitMix64: a bijection that spreads every bit.
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl RngKey {
    /// The root stream of a seed.
    ///
    /// ```
    /// # use gradus_base::RngKey;
    /// assert_eq!(RngKey::new(7), RngKey::new(7));
    /// assert_ne!(RngKey::new(7), RngKey::new(8));
    /// ```
    pub const fn new(seed: u64) -> Self {
        RngKey(mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)))
    }

    /// The stream of one step (or any other number).
    ///
    /// ```
    /// # use gradus_base::RngKey;
    /// let key = RngKey::new(0);
    /// assert_ne!(key.step(1), key.step(2));
    /// ```
    pub const fn step(self, n: u64) -> Self {
        RngKey(mix(self.0 ^ mix(n.wrapping_add(0xd1b5_4a32_d192_ed03))))
    }

    /// The stream of one place in a model (or any other name).
    ///
    /// ```
    /// # use gradus_base::RngKey;
    /// let key = RngKey::new(0).step(1);
    /// assert_ne!(key.place("encoder.layer.0"), key.place("encoder.layer.1"));
    /// ```
    pub fn place(self, name: &str) -> Self {
        // FNV-1a over the bytes, then mixed.
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ b as u64).wrapping_mul(0x100_0000_01b3));
        RngKey(mix(self.0 ^ mix(hash)))
    }

    /// The four random words of a counter.
    ///
    /// ```
    /// # use gradus_base::RngKey;
    /// // The first known answer of the authors' own test.
    /// let words = [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8];
    /// assert_eq!(RngKey(0).block([0; 4]), words);
    /// ```
    #[inline(always)]
    pub fn block(self, counter: [u32; 4]) -> [u32; 4] {
        philox(counter, [self.0 as u32, (self.0 >> 32) as u32])
    }

    /// The random word of element `index`: word `index % 4` of counter `index / 4`.
    ///
    /// ```
    /// # use gradus_base::RngKey;
    /// let key = RngKey::new(0);
    /// assert_eq!(key.word(6), key.block([1, 0, 0, 0])[2]);
    /// ```
    #[inline(always)]
    pub fn word(self, index: u64) -> u32 {
        let c = index / 4;
        self.block([c as u32, (c >> 32) as u32, 0, 0])[(index % 4) as usize]
    }

    /// A random order of `0..n` (Fisher–Yates).
    ///
    /// ```
    /// # use gradus_base::RngKey;
    /// let order = RngKey::new(0).permutation(10);
    /// assert_eq!(order, RngKey::new(0).permutation(10)); // the same key, the same order
    /// assert_eq!(order.iter().sum::<usize>(), 45); // each number once
    /// ```
    pub fn permutation(self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }

    /// Puts `items` in a random order (Fisher–Yates).
    ///
    /// ```
    /// # use gradus_base::RngKey;
    /// let mut items = ["a", "b", "c"];
    /// RngKey::new(0).shuffle(&mut items);
    /// items.sort();
    /// assert_eq!(items, ["a", "b", "c"]);
    /// ```
    pub fn shuffle<T>(self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let word =
                ((self.word(2 * i as u64) as u64) << 32) | self.word(2 * i as u64 + 1) as u64;
            let j = ((word as u128 * (i as u128 + 1)) >> 64) as usize; // Lemire's reduction
            items.swap(i, j);
        }
    }
}

/// The ten rounds. Constants from the paper.
#[inline(always)]
fn philox(mut c: [u32; 4], mut k: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = c[0] as u64 * 0xd251_1f53;
        let b = c[2] as u64 * 0xcd9e_8d57;
        c = [(b >> 32) as u32 ^ c[1] ^ k[0], b as u32, (a >> 32) as u32 ^ c[3] ^ k[1], a as u32];
        k = [k[0].wrapping_add(0x9e37_79b9), k[1].wrapping_add(0xbb67_ae85)];
    }
    c
}

/// A number in [0, 1) from the upper 24 bits, so that it is exact in f32.
///
/// ```
/// # use gradus_base::random::unit;
/// assert_eq!(unit(0), 0.0);
/// assert_eq!(unit(1 << 31), 0.5);
/// ```
#[inline(always)]
pub fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// A word below this number means "dropped", for the probability `p`; `p = 1` drops all.
///
/// ```
/// # use gradus_base::random::drop_threshold;
/// assert_eq!(drop_threshold(0.5), 1 << 31); // half of all words lie below
/// ```
pub fn drop_threshold(p: f64) -> u64 {
    (p * 4_294_967_296.0).round() as u64
}

/// The least word that is kept; `None` where every element is dropped.
///
/// ```
/// # use gradus_base::random::least_kept;
/// assert_eq!(least_kept(0.5), Some(1 << 31));
/// assert_eq!(least_kept(1.0), None);
/// ```
pub fn least_kept(p: f64) -> Option<u32> {
    u32::try_from(drop_threshold(p)).ok()
}

/// Counters of one vectorised group.
const GROUP: usize = 16;

/// The words of the counters whose lower half is `first_block`, `first_block + 1`, … and whose
/// upper half is `upper`, four a counter; with 0 above, those of elements `4·first_block..` as
/// [`RngKey::word`] gives them. It is inlined into `dispatch` of `simd.rs` in `gradus-cpu`.
///
/// Sixteen counters go through the rounds side by side, each 32-bit word in a 64-bit lane: so a
/// product needs one instruction and no lane is ever widened or narrowed within a round.
///
/// ```
/// # use gradus_base::RngKey;
/// # use gradus_base::random::words;
/// let (key, mut out) = (RngKey::new(0), [0; 8]);
/// words(key, 1, [0; 2], &mut out); // of elements 4 to 11
/// assert_eq!(out[0], key.word(4));
/// assert_eq!(out[7], key.word(11));
/// ```
#[inline(always)]
pub fn words(key: RngKey, first_block: u64, upper: [u32; 2], out: &mut [u32]) {
    let mut blocks = out.chunks_exact_mut(4 * GROUP);
    let mut first = first_block;
    for out in &mut blocks {
        group(key, first, upper, out.try_into().expect("the chunk's size"));
        first += GROUP as u64;
    }
    let rest = blocks.into_remainder();
    if !rest.is_empty() {
        let mut last = [0; 4 * GROUP];
        group(key, first, upper, &mut last);
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// [`philox`] for counters `first..first + GROUP` with the upper half `upper`.
#[inline(always)]
fn group(key: RngKey, first: u64, upper: [u32; 2], out: &mut [u32; 4 * GROUP]) {
    const LOW: u64 = 0xffff_ffff;
    let mut c0: [u64; GROUP] = std::array::from_fn(|l| (first + l as u64) & LOW);
    let mut c1: [u64; GROUP] = std::array::from_fn(|l| (first + l as u64) >> 32);
    let (mut c2, mut c3) = ([upper[0] as u64; GROUP], [upper[1] as u64; GROUP]);
    let (mut k0, mut k1) = (key.0 as u32, (key.0 >> 32) as u32);
    for _ in 0..10 {
        for l in 0..GROUP {
            let a = (c0[l] & LOW) * 0xd251_1f53;
            let b = (c2[l] & LOW) * 0xcd9e_8d57;
            // Only the low halves of c1 and c3 are ever used, so they need no masking here.
            c0[l] = (b >> 32) ^ c1[l] ^ k0 as u64;
            c2[l] = (a >> 32) ^ c3[l] ^ k1 as u64;
            c1[l] = b;
            c3[l] = a;
        }
        k0 = k0.wrapping_add(0x9e37_79b9);
        k1 = k1.wrapping_add(0xbb67_ae85);
    }
    for l in 0..GROUP {
        out[4 * l] = c0[l] as u32;
        out[4 * l + 1] = c1[l] as u32;
        out[4 * l + 2] = c2[l] as u32;
        out[4 * l + 3] = c3[l] as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers from the authors' Random123 (kat_vectors, philox4x32 10).
    #[test]
    fn known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn groups_of_counters_give_the_words_of_single_ones() {
        let key = RngKey(0x0123_4567_89ab_cdef);
        for first in [0, 7, u32::MAX as u64 - 5, u64::MAX / 8] {
            let mut out = [0; 4 * GROUP * 2 + 3];
            words(key, first, [0; 2], &mut out);
            for (i, &word) in out.iter().enumerate() {
                assert_eq!(word, key.word(4 * first + i as u64), "{first} {i}");
            }
        }
    }
}
