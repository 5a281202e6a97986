/// The values below which these shares of the weight lie; nothing of nothing.
pub fn quantiles<const N: usize>(mut weighed: Vec<(f64, f64)>, shares: [f64; N]) -> [Option<f64>; N] {
    weighed.sort_by(|(left, _), (right, _)| left.total_cmp(right));
    let whole: f64 = weighed.iter().map(|(_, weight)| weight).sum();
    shares.map(|share| {
        let mut passed = 0.0;
        let reached = weighed.iter().find(|(_, weight)| {
            passed += weight;
            passed >= share * whole
        });
        reached.or(weighed.last()).map(|(value, _)| *value)
    })
}

/// How often chance alone would rank two samples so differently. It asks nothing of the distributions, and latencies are not
/// normal. None where there is nothing to compare, or all values are the same.
pub fn mann_whitney(left: &[f64], right: &[f64]) -> Option<f64> {
    let (n, m) = (left.len() as f64, right.len() as f64);
    let mut pooled: Vec<(f64, bool)> =
        left.iter().map(|value| (*value, true)).chain(right.iter().map(|value| (*value, false))).collect();
    pooled.sort_by(|(a, _), (b, _)| a.total_cmp(b));

    let (mut rank_sum, mut ties, mut rank) = (0.0, 0.0, 0.0);
    for equal in pooled.chunk_by(|(a, _), (b, _)| a == b) {
        let size = equal.len() as f64;
        let of_left = equal.iter().filter(|(_, is_left)| *is_left).count() as f64;
        // Equal values share the middle of their ranks.
        rank_sum += of_left * (rank + (size + 1.0) / 2.0);
        ties += size.powi(3) - size;
        rank += size;
    }
    let u = rank_sum - n * (n + 1.0) / 2.0;
    let all = n + m;
    let variance = n * m / 12.0 * ((all + 1.0) - ties / (all * (all - 1.0)));
    if variance.is_nan() || variance <= 0.0 {
        return None;
    }
    let distance = ((u - n * m / 2.0).abs() - 0.5).max(0.0);
    Some(two_sided(distance / variance.sqrt()))
}

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    pub part: usize,
    pub whole: usize,
}

impl Share {
    /// How many are true.
    pub fn of(values: impl Iterator<Item = bool>) -> Self {
        values.fold(Self::default(), |share, is_part| Self {
            part: share.part + usize::from(is_part),
            whole: share.whole + 1,
        })
    }
}

/// How often chance alone would make two shares so different. None where there is nothing to compare; two shares of nothing, or
/// of everything, do not differ.
pub fn two_proportions(left: Share, right: Share) -> Option<f64> {
    let (n, m) = (left.whole as f64, right.whole as f64);
    if left.whole == 0 || right.whole == 0 {
        return None;
    }
    let pooled = (left.part + right.part) as f64 / (n + m);
    let variance = pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m);
    if variance <= 0.0 {
        return Some(1.0);
    }
    let difference = left.part as f64 / n - right.part as f64 / m;
    Some(two_sided(difference.abs() / variance.sqrt()))
}

/// The share of a normal distribution that lies this many standard deviations away, or further.
fn two_sided(z: f64) -> f64 {
    libm::erfc(z / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn quantiles_follow_the_weight() {
        let even: Vec<(f64, f64)> = (1..=100).map(|value| (f64::from(value), 1.0)).collect();
        assert_eq!(quantiles(even, [0.5, 0.95, 0.99]), [Some(50.0), Some(95.0), Some(99.0)]);
        let heavy = vec![(1.0, 1.0), (2.0, 99.0)];
        assert_eq!(quantiles(heavy, [0.01, 0.5, 1.0]), [Some(1.0), Some(2.0), Some(2.0)]);
        assert_eq!(quantiles(vec![], [0.5]), [None]);
    }

    #[test]
    fn ranks_are_compared_as_scipy_compares_them() {
        let draws = |seed: u64, spread: u64| -> Vec<f64> {
            (0..60).map(|n| ((seed * 7_919 + n * 104_729) % spread) as f64).collect()
        };
        for (left, right, expected) in [
            (draws(1, 97), draws(2, 97), 0.930_980_513_208_316_8),
            (draws(3, 11), draws(5, 11), 0.978_975_261_760_791_3),
            (draws(1, 50), draws(2, 97), 1.401_309_626_975_42e-5),
            (draws(7, 30), draws(8, 300), 3.090_431_633_335_13e-17),
        ] {
            let found = mann_whitney(&left, &right).unwrap();
            assert!((found / expected - 1.0).abs() < 1e-9, "{found} instead of {expected}");
        }
    }

    #[test]
    fn equal_samples_do_not_differ_and_shifted_ones_do() {
        let values: Vec<f64> = (0..200).map(f64::from).collect();
        let shifted: Vec<f64> = values.iter().map(|value| value + 100.0).collect();
        assert!(mann_whitney(&values, &values).unwrap() > 0.9);
        assert!(mann_whitney(&values, &shifted).unwrap() < 1e-6);
        assert_eq!(mann_whitney(&[1.0; 30], &[1.0; 30]), None);
        assert_eq!(mann_whitney(&[], &values), None);
    }

    #[test]
    fn shares_differ_when_chance_would_hardly_make_them() {
        let share = |part, whole| Share { part, whole };
        for (left, right, expected) in [
            (share(60, 100), share(460, 1_000), 0.007_502_499_051_561_952),
            (share(3, 50), share(9, 70), 0.217_043_907_756_942),
        ] {
            let found = two_proportions(left, right).unwrap();
            assert!((found / expected - 1.0).abs() < 1e-9, "{found} instead of {expected}");
        }
        assert_eq!(two_proportions(share(0, 50), share(0, 70)), Some(1.0));
        assert!(two_proportions(share(10, 1_000), share(60, 1_000)).unwrap() < 1e-6);
        assert_eq!(two_proportions(share(0, 0), share(1, 2)), None);
    }
}
