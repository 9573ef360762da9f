//! From when to when a certificate lives.

use std::time::{Duration, SystemTime};

use crate::der::{from_unix_seconds, unix_seconds};
use crate::error::PkiError;
use crate::info::CertificateInfo;

/// A partner's clock may lag behind ours: with an earlier start a fresh certificate is not refused as "not yet valid". Five
/// minutes is what Kerberos allows clocks to differ, and what most authorities use.
const BACKDATE: Duration = Duration::from_secs(300);

/// Short lives are backdated by this part of them at most, so that a fresh leaf is never already due for renewal.
const BACKDATE_SHARE: u32 = 20;

/// The life of the reference's roots (PTP section 12.3), and the longest that anybody may ask for.
const LIFETIME_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// Start and end of a life that begins now, in whole seconds as certificates tell them.
pub(crate) fn life(lifetime: Duration, now: SystemTime) -> Result<(SystemTime, SystemTime), PkiError> {
    if lifetime < Duration::from_secs(1) || lifetime > LIFETIME_MAX {
        return Err(PkiError::BadLifetime { seconds: lifetime.as_secs() });
    }
    let whole = from_unix_seconds(unix_seconds(now));
    let backdate = BACKDATE.min(lifetime / BACKDATE_SHARE);
    let start = from_unix_seconds(unix_seconds(whole.checked_sub(backdate).unwrap_or(whole)));
    let end = whole.checked_add(lifetime).ok_or(PkiError::BadLifetime { seconds: lifetime.as_secs() })?;
    Ok((start, from_unix_seconds(unix_seconds(end))))
}

/// Refuses to work with a certificate outside of its life.
pub(crate) fn check_in_force(info: &CertificateInfo, now: SystemTime) -> Result<(), PkiError> {
    let subject = || info.subject.clone();
    if now < info.not_before {
        return Err(PkiError::NotYetValid { subject: subject(), not_before: info.not_before });
    }
    if now > info.not_after {
        return Err(PkiError::Expired { subject: subject(), not_after: info.not_after });
    }
    Ok(())
}
