//! The three DER operations that assembling a signed structure needs (X.690 §8.1, §10.1).
//!
//! Everything else is left to rcgen and x509-parser.

/// One element: tag, definite length, content.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 0x80 {
        out.push(u8::try_from(length).unwrap_or(0));
    } else {
        let octets: Vec<u8> =
            length.to_be_bytes().into_iter().skip_while(|octet| *octet == 0).collect();
        out.push(0x80 | u8::try_from(octets.len()).unwrap_or(0));
        out.extend_from_slice(&octets);
    }
    out.extend_from_slice(content);
    out
}

/// Splits the element with this tag off the front: what follows it, and its content.
pub(crate) fn split(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    if *found != tag {
        return None;
    }
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 {
            return None;
        }
        let (octets, rest) = rest.split_at_checked(count)?;
        (octets.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((rest, content))
}

/// `SEQUENCE { to-be-signed, AlgorithmIdentifier, BIT STRING }`: certificate, CRL and request
/// alike.
///
/// `unsigned` is the same structure with another signature: only that is replaced.
pub(crate) fn with_signature(unsigned: &[u8], signature: &[u8]) -> Option<Vec<u8>> {
    let (_, body) = split(unsigned, 0x30)?;
    let (after_tbs, _) = split(body, 0x30)?;
    let (after_algorithm, _) = split(after_tbs, 0x30)?;
    let mut content = body.get(..body.len() - after_algorithm.len())?.to_vec();
    let mut bits = vec![0];
    bits.extend_from_slice(signature);
    content.extend_from_slice(&element(0x03, &bits));
    Some(element(0x30, &content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_every_size_are_read_back() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let content = vec![7; length];
            let der = element(0x30, &content);
            assert_eq!(split(&der, 0x30), Some((&[][..], &content[..])));
            assert_eq!(split(&der[..der.len() - 1], 0x30), None);
            assert_eq!(split(&der, 0x31), None);
        }
    }
}
