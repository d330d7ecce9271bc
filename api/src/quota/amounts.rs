//! A body's fields, taken one by one. What is wrong with an amount names its field, which a
//! derived reader can't; and what is left over was not asked for.

use domain::Credits;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::ApiError;

/// The fields of a body, or of an object in it.
pub(crate) struct Fields {
    fields: Map<String, Value>,
    /// What stands before a field's name in messages.
    within: &'static str,
}

impl From<Map<String, Value>> for Fields {
    fn from(fields: Map<String, Value>) -> Self {
        Self { fields, within: "" }
    }
}

impl Fields {
    /// The field called `name`; null is none.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name).filter(|value| !value.is_null())
    }

    /// The field called `name`, also if it is null.
    pub(crate) fn take_null(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name)
    }

    /// A field that must be there.
    pub(crate) fn needed<T>(&self, name: &str, value: Option<T>) -> Result<T, ApiError> {
        let name = self.name(name);
        value.ok_or_else(|| {
            let detail = format!("`{name}` is missing");
            ApiError::bad_request("invalid_body", detail).with_field(name)
        })
    }

    /// A text.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.invalid(name, "must be a text")),
        }
    }

    /// A value of a type that says what is wrong itself.
    pub(crate) fn value<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let read = serde_json::from_value(value);
        read.map(Some).map_err(|error| self.invalid(name, &format!("doesn't fit: {error}")))
    }

    /// An object's fields.
    pub(crate) fn object(
        &mut self,
        name: &str,
        within: &'static str,
    ) -> Result<Option<Self>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(Self { fields, within })),
            Some(_) => Err(self.invalid(name, "must be an object")),
        }
    }

    /// An amount of money, as a number or as a text.
    pub(crate) fn credits(&mut self, name: &str) -> Result<Option<Credits>, ApiError> {
        let value = self.take(name);
        value.map(|value| self.as_credits(name, value)).transpose()
    }

    /// A count, as a number or as a text.
    pub(crate) fn count(&mut self, name: &str) -> Result<Option<u64>, ApiError> {
        let value = self.take(name);
        value.map(|value| self.as_count(name, value)).transpose()
    }

    /// A count that may be negative.
    pub(crate) fn signed_count(&mut self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let count = self.as_credits(name, value).ok().and_then(whole);
        count.map(Some).ok_or_else(|| self.invalid(name, "must be a whole number below 10^13"))
    }

    pub(crate) fn as_credits(&self, name: &str, value: Value) -> Result<Credits, ApiError> {
        serde_json::from_value(value).map_err(|_| {
            let problem = "must be a decimal number with at most 12 places, below 10^13";
            self.invalid(name, problem)
        })
    }

    pub(crate) fn as_count(&self, name: &str, value: Value) -> Result<u64, ApiError> {
        let count = self.as_credits(name, value).ok().and_then(whole);
        count
            .and_then(|count| u64::try_from(count).ok())
            .ok_or_else(|| self.invalid(name, "must be a whole number, 0 or more and below 10^13"))
    }

    /// Whether all were taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// All were taken.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        match self.fields.keys().next() {
            None => Ok(()),
            Some(name) => {
                let name = self.name(name);
                let detail = format!("there is no field `{name}` here");
                Err(ApiError::bad_request("invalid_body", detail).with_field(name))
            }
        }
    }

    /// The error for a value that can't be.
    pub(crate) fn invalid(&self, name: &str, problem: &str) -> ApiError {
        let name = self.name(name);
        let detail = format!("`{name}` {problem}");
        ApiError::bad_request("invalid_field", detail).with_field(name)
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.within)
    }
}

/// An amount that is a whole number.
fn whole(amount: Credits) -> Option<i64> {
    let size = i64::try_from(amount.max(amount.negated()).as_count()).ok()?;
    let count = if amount.is_negative() { -size } else { size };
    (Credits::whole(count) == amount).then_some(count)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(json: Value) -> Fields {
        let Value::Object(fields) = json else { panic!("an object") };
        fields.into()
    }

    #[test]
    fn amounts_are_numbers_or_texts() {
        for amount in [json!(1.5), json!("1.5"), json!("1.50"), json!("15e-1")] {
            let read = fields(json!({ "credits": amount })).credits("credits").unwrap();
            assert_eq!(read.unwrap().to_string(), "1.5");
        }
        for count in [json!(12), json!("12"), json!(12.0), json!("1.2e1")] {
            assert_eq!(fields(json!({ "n": count })).count("n").unwrap(), Some(12));
        }
        assert_eq!(fields(json!({ "n": -3 })).signed_count("n").unwrap(), Some(-3));
        assert_eq!(fields(json!({ "n": null })).count("n").unwrap(), None);
    }

    #[test]
    fn what_is_no_amount_names_its_field() {
        for bad in [
            json!("NaN"),
            json!("inf"),
            json!(""),
            json!("1,5"),
            json!(true),
            json!([1]),
            json!({}),
            json!(1e300),
            json!("0.0000000000001"),
        ] {
            let error = fields(json!({ "credits": bad })).credits("credits").unwrap_err();
            assert_eq!((error.status.as_u16(), error.code.as_str()), (400, "invalid_field"));
            assert_eq!(error.field.as_deref(), Some("credits"), "{bad}");
        }
        for bad in [json!(-1), json!(1.5), json!("x"), json!(1e18)] {
            assert!(fields(json!({ "n": bad })).count("n").is_err(), "{bad}");
        }
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        let mut body = fields(json!({ "usage": { "prompt_tokens": 1, "tokens": 2 } }));
        let mut usage = body.object("usage", "usage.").unwrap().unwrap();
        assert_eq!(usage.count("prompt_tokens").unwrap(), Some(1));
        assert_eq!(usage.finish().unwrap_err().field.as_deref(), Some("usage.tokens"));
        assert!(body.finish().is_ok());
    }
}
