//! Octets read from the front, and octets written into a caller's buffer.
//!
//! Both say `None` where there is not enough; nothing here panics or allocates.

/// What is still to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Octets<'a>(&'a [u8]);

impl<'a> Octets<'a> {
    pub(crate) const fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.0
    }
}

/// A buffer that is filled from the front.
#[derive(Debug)]
pub(crate) struct Sheet<'a> {
    octets: &'a mut [u8],
    len: usize,
}

impl<'a> Sheet<'a> {
    pub(crate) const fn new(octets: &'a mut [u8]) -> Self {
        Self { octets, len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn put(&mut self, octets: &[u8]) -> Option<()> {
        self.split(octets.len())?.1.copy_from_slice(octets);
        Some(())
    }

    pub(crate) fn put_u16(&mut self, number: u16) -> Option<()> {
        self.put(&number.to_be_bytes())
    }

    /// What was written, and the next `count` octets, which count as written from now on.
    pub(crate) fn split(&mut self, count: usize) -> Option<(&mut [u8], &mut [u8])> {
        let (written, free) = self.octets.split_at_mut_checked(self.len)?;
        let (next, _) = free.split_at_mut_checked(count)?;
        self.len += count;
        Some((written, next))
    }
}
