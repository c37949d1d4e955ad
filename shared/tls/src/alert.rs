//! Refusal codes as TLS alerts (RFC 8446 §6.2), so that the one refused learns the reason although
//! its own side of a TLS 1.3 handshake completed.
//!
//! | code | alert | | code | alert |
//! |---|---|---|---|---|
//! | no-certificate | certificate_required | | suspended | access_denied |
//! | foreign-authority | unknown_ca | | wrong-usage | unsupported_certificate |
//! | expired | certificate_expired | | wrong-network | handshake_failure |
//! | not-yet-valid | certificate_unknown | | wrong-name, malformed | bad_certificate |
//! | revoked | certificate_revoked | | | |
//!
//! Only a dialler checks a name, so `bad_certificate` means `wrong-name` to a listener and
//! `malformed` to a dialler. What is not about a certificate is said in a REFUSED frame instead.

use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, Error, OtherError};
use shared::refusal::{Code, Refusal};

/// Which side of the handshake we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We dialled.
    Dialler,
    /// We listened.
    Listener,
}

/// The rustls error that makes rustls send the code's alert.
pub(crate) fn error_of(refusal: &Refusal) -> Error {
    let certificate = match refusal.code {
        Code::Expired => CertificateError::Expired,
        Code::NotYetValid => CertificateError::Other(OtherError(Arc::new(refusal.clone()))),
        Code::Revoked => CertificateError::Revoked,
        Code::Suspended => CertificateError::ApplicationVerificationFailure,
        Code::WrongUsage => CertificateError::InvalidPurpose,
        Code::WrongName => CertificateError::NotValidForName,
        Code::Malformed => CertificateError::BadEncoding,
        Code::WrongNetwork => return Error::General(refusal.to_string()),
        _ => CertificateError::UnknownIssuer,
    };
    Error::InvalidCertificate(certificate)
}

/// What a failed handshake says about us: the code of the alert the other side sent, or of what
/// was missing on its side. `None` if the failure was about no certificate.
#[must_use]
pub fn refusal_of(error: &Error, role: Role) -> Option<Code> {
    match error {
        Error::NoCertificatesPresented => Some(Code::NoCertificate),
        Error::AlertReceived(alert) => of_alert(*alert, role),
        _ => None,
    }
}

fn of_alert(alert: AlertDescription, role: Role) -> Option<Code> {
    match (alert, role) {
        (AlertDescription::CertificateRequired, _) => Some(Code::NoCertificate),
        (AlertDescription::UnknownCA, _) => Some(Code::ForeignAuthority),
        (AlertDescription::CertificateExpired, _) => Some(Code::Expired),
        (AlertDescription::CertificateUnknown, _) => Some(Code::NotYetValid),
        (AlertDescription::CertificateRevoked, _) => Some(Code::Revoked),
        (AlertDescription::AccessDenied, _) => Some(Code::Suspended),
        (AlertDescription::UnsupportedCertificate, _) => Some(Code::WrongUsage),
        (AlertDescription::HandshakeFailure, _) => Some(Code::WrongNetwork),
        (AlertDescription::BadCertificate, Role::Listener) => Some(Code::WrongName),
        (AlertDescription::BadCertificate, Role::Dialler) => Some(Code::Malformed),
        (AlertDescription::ProtocolVersion | AlertDescription::NoApplicationProtocol, _) => {
            Some(Code::Version)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_about_a_certificate_survives_as_an_alert() {
        let about_certificates = [
            Code::ForeignAuthority,
            Code::Expired,
            Code::NotYetValid,
            Code::Revoked,
            Code::Suspended,
            Code::WrongUsage,
            Code::WrongNetwork,
        ];
        for code in about_certificates {
            let alert = match error_of(&Refusal::new(code, "x")) {
                Error::InvalidCertificate(certificate) => certificate.into(),
                _ => AlertDescription::HandshakeFailure,
            };
            for role in [Role::Dialler, Role::Listener] {
                assert_eq!(refusal_of(&Error::AlertReceived(alert), role), Some(code));
            }
        }
    }
}
