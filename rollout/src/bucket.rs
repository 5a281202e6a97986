use domain::UserId;
use sha2::{Digest, Sha256};

/// Which of a hundred equal parts of all users this one belongs to, the same in every process and version: the first eight bytes,
/// big-endian, of SHA-256 over `rollout:<user id in decimal>`, modulo 100. A user is async while their bucket is below the
/// percentage, so raising it takes users to async and none back.
pub fn bucket_of(user_id: UserId) -> u8 {
    let digest = Sha256::digest(format!("rollout:{user_id}"));
    let head = digest.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    (head % 100) as u8
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn the_hash_never_changes() {
        let buckets = [1, 2, 12_345, i64::MAX].map(|user| bucket_of(UserId::new(user).unwrap()));
        assert_eq!(buckets, EXPECTED);
    }

    const EXPECTED: [u8; 4] = [79, 74, 49, 1];
}
