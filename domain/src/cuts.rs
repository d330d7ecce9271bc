//! Where an answer was cut into deltas. With it, a stream that is read after the end has the
//! same frames with the same ids as one that was watched live.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de};

/// A piece of a tool call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCallDelta {
    /// Which call of the answer.
    pub index: u32,
    /// The call's id, in its first piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The function's name, in its first piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Text to append to the arguments.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arguments: String,
}

/// The cuts of one answer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cuts {
    /// Bytes of answer text in each delta, in order.
    #[serde(default)]
    pub text: Vec<u32>,
    /// Bytes of reasoning in each delta, up to the last one that has any; empty without
    /// reasoning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasoning: Vec<u32>,
    /// The pieces of tool calls, by the sequence (from 1) of the delta that brought them. They
    /// are kept whole: how a provider cuts ids and names can't be told from the finished calls.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "named_by_number"
    )]
    pub tool_calls: BTreeMap<u32, Vec<ToolCallDelta>>,
}

impl Cuts {
    /// Takes in the next delta: its bytes of text and of reasoning, its pieces of tool calls.
    pub fn push(&mut self, text: usize, reasoning: usize, tool_calls: &[ToolCallDelta]) {
        if reasoning > 0 {
            self.reasoning.resize(self.text.len(), 0);
            self.reasoning.push(bytes(reasoning));
        }
        self.text.push(bytes(text));
        if !tool_calls.is_empty() {
            self.tool_calls.insert(self.len(), tool_calls.to_vec());
        }
    }

    /// How many deltas there were, which is the sequence of the last one.
    pub fn len(&self) -> u32 {
        bytes(self.text.len())
    }

    /// Whether nothing was said at all.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

fn bytes(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The keys of a JSON object are texts. Numbers are read back from them here, for serde does
/// it only where the object isn't part of a tagged one, as it is in a frame.
fn named_by_number<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<u32, Vec<ToolCallDelta>>, D::Error> {
    let named = BTreeMap::<String, Vec<ToolCallDelta>>::deserialize(deserializer)?;
    let numbered = named.into_iter().map(|(name, pieces)| Ok((name.parse()?, pieces)));
    numbered.collect::<Result<_, std::num::ParseIntError>>().map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(arguments: &str) -> ToolCallDelta {
        ToolCallDelta { index: 0, id: None, name: None, arguments: arguments.to_owned() }
    }

    #[test]
    fn each_delta_is_counted() {
        let mut cuts = Cuts::default();
        cuts.push(2, 0, &[]);
        cuts.push(0, 5, &[]);
        cuts.push(3, 0, &[piece("{"), piece("}")]);
        assert_eq!(
            (cuts.text.as_slice(), cuts.reasoning.as_slice()),
            ([2, 0, 3].as_slice(), [0, 5].as_slice())
        );
        assert_eq!(cuts.tool_calls, BTreeMap::from([(3, vec![piece("{"), piece("}")])]));
        assert_eq!(cuts.len(), 3);
    }

    #[test]
    fn they_survive_json_also_within_a_tagged_value() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "type")]
        enum Tagged {
            One { cuts: Cuts },
        }
        let mut cuts = Cuts::default();
        cuts.push(2, 1, &[piece("{}")]);
        let json = serde_json::to_string(&Tagged::One { cuts: cuts.clone() }).unwrap();
        let expected = r#"{"type":"One","cuts":{"text":[2],"reasoning":[1],"tool_calls":{"1":[{"index":0,"arguments":"{}"}]}}}"#;
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<Tagged>(&json).unwrap(), Tagged::One { cuts });
    }

    #[test]
    fn what_there_is_none_of_is_not_written() {
        let mut cuts = Cuts::default();
        cuts.push(2, 0, &[]);
        assert_eq!(serde_json::to_string(&cuts).unwrap(), r#"{"text":[2]}"#);
        assert_eq!(serde_json::from_str::<Cuts>("{}").unwrap(), Cuts::default());
    }
}
