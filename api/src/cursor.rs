//! Keyset cursors: opaque to clients, base64 of JSON to us.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::ApiError;

/// Entries of a page where the client doesn't say.
const DEFAULT_LIMIT: u32 = 20;
/// Entries of the largest page.
const MAX_LIMIT: u32 = 100;

/// The cursor's text.
pub(crate) fn encode<T: Serialize>(cursor: &T) -> Option<String> {
    serde_json::to_vec(cursor).ok().map(|json| URL_SAFE_NO_PAD.encode(json))
}

/// The cursor that `text` stands for.
pub(crate) fn decode<T: DeserializeOwned>(text: Option<&str>) -> Result<Option<T>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let json = URL_SAFE_NO_PAD.decode(text).ok();
    let cursor = json.and_then(|json| serde_json::from_slice(&json).ok());
    cursor.map(Some).ok_or_else(|| {
        let detail = "`cursor` must be the `next_cursor` of an earlier page, unchanged";
        ApiError::bad_request("invalid_cursor", detail).with_field("cursor")
    })
}

/// The page's size, within bounds.
pub(crate) fn limit(asked: Option<u32>) -> Result<u32, ApiError> {
    match asked.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        _ => {
            let detail = format!("`limit` must be between 1 and {MAX_LIMIT}");
            Err(ApiError::bad_request("invalid_limit", detail).with_field("limit"))
        }
    }
}
