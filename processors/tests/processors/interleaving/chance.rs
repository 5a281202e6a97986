//! A splitmix generator: the same seed is the same run.

pub struct Chance(u64);

impl Chance {
    /// Each case draws numbers of its own, so that one can be run again without the others.
    pub fn of_case(seed: u64, case: u32) -> Self {
        let mut chance = Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ u64::from(case));
        chance.below(1);
        chance
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// The place of one of so many.
    pub fn index(&mut self, count: usize) -> usize {
        self.below(count as u64) as usize
    }

    /// One of these, each as likely as its weight says.
    pub fn weighted<T: Copy>(&mut self, choices: &[(u64, T)]) -> T {
        let mut drawn = self.below(choices.iter().map(|(weight, _)| weight).sum());
        for (weight, choice) in choices {
            if drawn < *weight {
                return *choice;
            }
            drawn -= weight;
        }
        unreachable!("what is drawn is below the sum of the weights")
    }
}
