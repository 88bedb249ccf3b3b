//! Reading times from text whose form nobody named.

use chrono::{DateTime, NaiveDate, NaiveDateTime};

/// The forms that are tried, as `strftime` writes them. Where a form fits a whole column, the
/// column is of this form; where two fit and disagree, nobody guesses.
const FORMS: [&str; 17] = [
    RFC_3339,
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d",
    "%Y%m%dT%H%M%S",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y",
    "%a, %d %b %Y %H:%M:%S %z",
];

/// ISO 8601 with an offset or `Z`. The name chrono has for it is not a `strftime` code.
const RFC_3339: &str = "%+";

/// Seconds and nanoseconds since 1970, UTC. A time without offset is taken as UTC.
pub(crate) type Moment = (i64, u32);

/// A time of a given form. Python's `.%f` means what `%.f` means here.
pub(crate) fn parse(text: &str, form: &str) -> Option<Moment> {
    let text = text.trim();
    let form = form.replace(".%f", "%.f");
    let form = form.as_str();
    let zoned = if form == RFC_3339 {
        DateTime::parse_from_rfc3339(text)
    } else {
        DateTime::parse_from_str(text, form)
    };
    let naive = || {
        NaiveDateTime::parse_from_str(text, form)
            .ok()
            .or_else(|| NaiveDate::parse_from_str(text, form).ok()?.and_hms_opt(0, 0, 0))
    };
    let time = match zoned {
        Ok(time) => time.naive_utc(),
        Err(_) => naive()?,
    };
    Some((time.and_utc().timestamp(), time.and_utc().timestamp_subsec_nanos()))
}

/// The forms that fit all texts seen so far.
#[derive(Debug, Clone)]
pub(crate) struct Forms {
    fitting: Vec<&'static str>,
    /// Whether some text made the first and another fitting form disagree.
    disagree: Option<(&'static str, &'static str)>,
}

impl Forms {
    pub(crate) fn new() -> Self {
        Self { fitting: FORMS.to_vec(), disagree: None }
    }

    /// Drops the forms that do not fit this text; false where none is left, and then nothing
    /// changes.
    pub(crate) fn narrow(&mut self, text: &str) -> bool {
        let fitting: Vec<_> = self.fitting.iter().map(|form| (*form, parse(text, form))).collect();
        if fitting.iter().all(|(_, moment)| moment.is_none()) {
            return false;
        }
        self.fitting =
            fitting.iter().filter(|(_, moment)| moment.is_some()).map(|(form, _)| *form).collect();
        let mut fitting = fitting.into_iter().filter(|(_, moment)| moment.is_some());
        if let Some((first, moment)) = fitting.next()
            && let Some((second, _)) = fitting.find(|(_, other)| *other != moment)
        {
            self.disagree = Some((first, second));
        }
        true
    }

    /// The form to read with.
    ///
    /// # Errors
    /// Two forms that fit everything and read something differently.
    pub(crate) fn settle(&self) -> Result<&'static str, (&'static str, &'static str)> {
        match self.disagree {
            Some((a, b)) if self.fitting.contains(&a) && self.fitting.contains(&b) => Err((a, b)),
            _ => Ok(self.fitting[0]), // `narrow` never takes the last one
        }
    }

    pub(crate) fn names(&self) -> String {
        self.fitting.join("`, `")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form_of(texts: &[&str]) -> Result<&'static str, Option<(&'static str, &'static str)>> {
        let mut forms = Forms::new();
        for text in texts {
            if !forms.narrow(text) {
                return Err(None);
            }
        }
        forms.settle().map_err(Some)
    }

    #[test]
    fn forms_are_found() {
        let check = |texts: &[&str], form| assert_eq!(form_of(texts), Ok(form), "{texts:?}");
        check(&["2024-02-29T13:05:07Z", "2024-02-29T13:05:07.5+02:00"], "%+");
        check(&["2024-02-29T13:05:07"], "%Y-%m-%dT%H:%M:%S%.f");
        check(&["2024-02-29 13:05:07.25"], "%Y-%m-%d %H:%M:%S%.f");
        check(&["2024-02-29"], "%Y-%m-%d");
        check(&["29.02.2024"], "%d.%m.%Y");
        check(&["02/03/2024", "02/29/2024"], "%m/%d/%Y");
        check(&["02/03/2024", "29/02/2024"], "%d/%m/%Y");
        check(&["03/03/2024"], "%m/%d/%Y"); // both ways the same day
        check(&["Thu, 29 Feb 2024 13:05:07 +0100"], "%a, %d %b %Y %H:%M:%S %z");
    }

    #[test]
    fn what_reads_two_ways_is_not_guessed() {
        assert_eq!(form_of(&["02/03/2024"]), Err(Some(("%m/%d/%Y", "%d/%m/%Y"))));
        assert_eq!(form_of(&["2024-02-30"]), Err(None));
        assert_eq!(form_of(&["2024-02-29", "yesterday"]), Err(None));
    }

    #[test]
    fn offsets_count() {
        // Python: datetime.fromisoformat(..).timestamp()
        assert_eq!(parse("2024-02-29T13:05:07+02:00", "%+"), Some((1_709_204_707, 0)));
        assert_eq!(parse("2024-02-29 13:05", "%Y-%m-%d %H:%M"), Some((1_709_211_900, 0)));
        assert_eq!(
            parse("2024-02-29 13:05:07.123456", "%Y-%m-%d %H:%M:%S.%f"),
            Some((1_709_211_907, 123_456_000))
        );
    }
}
