//! Random bytes from AWS-LC, the only source of randomness outside the cryptography itself.

/// AWS-LC has no randomness to give. Whose fault: the machine's; nothing can be done without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct RandomError;

/// `N` random bytes.
///
/// # Errors
/// [`RandomError`] if the system's generator fails.
pub fn bytes<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| RandomError)?;
    Ok(bytes)
}

/// Fills the room with random bytes.
///
/// # Errors
/// [`RandomError`] if the system's generator fails.
pub fn fill(room: &mut [u8]) -> Result<(), RandomError> {
    aws_lc_rs::rand::fill(room).map_err(|_| RandomError)
}

/// Draws one byte and throws it away: the first number of a process costs AWS-LC some 50 ms of
/// seeding, which belongs in the start-up and not in somebody's first handshake.
///
/// # Errors
/// [`RandomError`] if the system's generator fails.
pub fn warm_up() -> Result<(), RandomError> {
    bytes::<1>().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_draws_are_alike() {
        warm_up().unwrap();
        assert_ne!(bytes::<32>().unwrap(), bytes::<32>().unwrap());
    }
}
