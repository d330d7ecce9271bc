//! The time that a report is about.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};

use crate::error::ApiError;

/// Days of a report where the client doesn't say.
const USUAL: TimeDelta = TimeDelta::days(30);
/// Days of the longest report: a row each for every service and model.
const MOST: TimeDelta = TimeDelta::days(1100);

/// From a moment until another one, which is no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period {
    pub(crate) from: DateTime<Utc>,
    pub(crate) to: DateTime<Utc>,
}

impl Period {
    /// The period between `from` and `to`: by default the last 30 days.
    pub(crate) fn read(
        from: Option<&str>,
        to: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Self, ApiError> {
        let Bounds { from, to } = Bounds::read(from, to)?;
        let to = to.unwrap_or(now);
        let from = from.unwrap_or(to - USUAL);
        if from >= to {
            return Err(invalid("from", "must be earlier than `to`"));
        }
        if to - from > MOST {
            return Err(invalid("from", "must be at most 1100 days before `to`"));
        }
        Ok(Self { from, to })
    }

    /// The days that it touches, the first and the last.
    pub(crate) fn days(&self) -> (NaiveDate, NaiveDate) {
        let last = self.to - TimeDelta::nanoseconds(1);
        (self.from.date_naive(), last.date_naive())
    }
}

/// A beginning and an end, either of which may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) from: Option<DateTime<Utc>>,
    pub(crate) to: Option<DateTime<Utc>>,
}

impl Bounds {
    pub(crate) fn read(from: Option<&str>, to: Option<&str>) -> Result<Self, ApiError> {
        let from = from.map(|text| moment("from", text, 0)).transpose()?;
        // A day as the end is itself a part of it.
        let to = to.map(|text| moment("to", text, 1)).transpose()?;
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            return Err(invalid("from", "must be earlier than `to`"));
        }
        Ok(Self { from, to })
    }
}

/// A time, or a day's beginning `days` later.
fn moment(field: &'static str, text: &str, days: u64) -> Result<DateTime<Utc>, ApiError> {
    // A `+` in a query means a space to those who wrote none.
    let time = DateTime::parse_from_rfc3339(&text.replace(' ', "+"));
    let day = || text.parse::<NaiveDate>().ok()?.checked_add_days(Days::new(days));
    let day = || Some(day()?.and_time(NaiveTime::MIN).and_utc());
    let known = (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH + TimeDelta::days(365 * 1000));
    let moment = time.ok().map(|time| time.to_utc()).or_else(day);
    moment.filter(|at| (known.0..=known.1).contains(at)).ok_or_else(|| {
        invalid(field, "must be a day (`2026-01-31`) or a time (`2026-01-31T12:00:00Z`)")
    })
}

fn invalid(field: &'static str, problem: &str) -> ApiError {
    let detail = format!("`{field}` {problem}");
    ApiError::bad_request("invalid_range", detail).with_field(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(from: Option<&str>, to: Option<&str>) -> Result<(String, String), String> {
        let now = DateTime::parse_from_rfc3339("2026-03-31T12:00:00Z").unwrap().to_utc();
        let period = Period::read(from, to, now).map_err(|error| error.field.unwrap())?;
        let (first, last) = period.days();
        Ok((first.to_string(), last.to_string()))
    }

    fn assert_days(asked: (Option<&str>, Option<&str>), first: &str, last: &str) {
        assert_eq!(read(asked.0, asked.1), Ok((first.to_owned(), last.to_owned())));
    }

    #[test]
    fn days_count_whole_and_times_exactly() {
        assert_days((None, None), "2026-03-01", "2026-03-31");
        assert_days((Some("2026-03-05"), Some("2026-03-05")), "2026-03-05", "2026-03-05");
        let (from, to) = ("2026-03-05T01:00:00 02:00", "2026-03-06T00:00:00Z");
        assert_days((Some(from), Some(to)), "2026-03-04", "2026-03-05");
        assert_days((None, Some("2026-01-31")), "2026-01-02", "2026-01-31");
    }

    #[test]
    fn what_is_no_period_is_refused() {
        for (from, to, field) in [
            (Some("yesterday"), None, "from"),
            (None, Some("2026-02-30"), "to"),
            (Some("2026-04-01"), None, "from"),
            (Some("2026-03-05"), Some("2026-03-04"), "from"),
            (Some("2020-01-01"), None, "from"),
            (Some("+9999-01-01"), Some("+262142-12-31"), "from"),
            (None, Some("-0001-01-01"), "to"),
        ] {
            assert_eq!(read(from, to), Err(field.to_owned()), "{from:?} {to:?}");
        }
    }
}
