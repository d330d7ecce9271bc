//! How long a provider asks to be left alone: `retry-after-ms`, or `Retry-After` in seconds
//! or as a date.

use std::time::Duration;

use chrono::DateTime;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// A wish beyond a day is no wish but a mistake.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The wait the headers ask for.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    milliseconds(headers)
        .or_else(|| seconds(headers))
        .or_else(|| until_date(headers))
        .map(|wait| wait.min(LONGEST))
}

fn milliseconds(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("retry-after-ms")?.to_str().ok()?;
    Duration::try_from_secs_f64(text.trim().parse::<f64>().ok()? / 1000.0).ok()
}

fn seconds(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    Duration::try_from_secs_f64(text.trim().parse().ok()?).ok()
}

/// The date is measured against the answer's own `Date`, so our clock doesn't matter.
fn until_date(headers: &HeaderMap) -> Option<Duration> {
    let date = |name| DateTime::parse_from_rfc2822(headers.get(name)?.to_str().ok()?).ok();
    (date(RETRY_AFTER)? - date(DATE)?).to_std().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(pairs: &[(&'static str, &'static str)]) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        retry_after(&headers)
    }

    #[test]
    fn takes_every_form() {
        let date = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
        assert_eq!(parsed(&[("retry-after", "3")]), Some(Duration::from_secs(3)));
        assert_eq!(parsed(&[("retry-after", "0.5")]), Some(Duration::from_millis(500)));
        assert_eq!(
            parsed(&[("retry-after-ms", "250"), ("retry-after", "1")]),
            Some(Duration::from_millis(250))
        );
        assert_eq!(
            parsed(&[("retry-after", "Wed, 21 Oct 2015 07:28:09 GMT"), date]),
            Some(Duration::from_secs(9))
        );
    }

    #[test]
    fn ignores_what_makes_no_sense() {
        assert_eq!(parsed(&[]), None);
        assert_eq!(parsed(&[("retry-after", "soon")]), None);
        assert_eq!(parsed(&[("retry-after", "-1")]), None);
        assert_eq!(parsed(&[("retry-after", "NaN")]), None);
        assert_eq!(parsed(&[("retry-after", "1e300")]), None);
        assert_eq!(parsed(&[("retry-after", "9999999")]), Some(LONGEST));
    }
}
