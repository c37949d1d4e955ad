//! A machine's own count of nanoseconds: an oscillator that is off by some ppm, and wanders.

use clock::moment::Mono;

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// At least 0, below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Between the two.
    pub(crate) fn around(&mut self, most: f64) -> f64 {
        (self.unit() * 2.0 - 1.0) * most
    }
}

/// How long the rate stays, in ns.
const STRETCH_NS: u64 = 10_000_000_000;
/// How far it wanders then at most, in parts of 1: 0.07 ppm in three hours.
const WANDER: f64 = 3e-9;

/// The oscillator; it is read in the order of time.
#[derive(Debug)]
pub(crate) struct Crystal {
    rate: f64,
    begun: u64,
    count: f64,
    boot: u64,
    dice: Dice,
}

impl Crystal {
    /// One that is off by at most `ppm`.
    pub(crate) fn new(ppm: f64, mut dice: Dice) -> Self {
        let rate = dice.around(ppm * 1e-6);
        let boot = dice.next() % 1_000_000_000_000;
        Self { rate, begun: 0, count: 0.0, boot, dice }
    }

    /// The count at a moment of true time.
    pub(crate) fn count(&mut self, t: u64) -> Mono {
        while t >= self.begun + STRETCH_NS {
            self.count += STRETCH_NS as f64 * self.rate;
            self.begun += STRETCH_NS;
            self.rate += self.dice.around(WANDER);
        }
        let gained = self.count + (t - self.begun) as f64 * self.rate;
        Mono::from_ns((self.boot + t).saturating_add_signed(gained.round() as i64))
    }
}
