//! Paths of HyperBEAM: a message or a device, then keys, each with arguments: `/{process}~process@1.0/key&name=value`.

use ao_protocol::id::Id;
use ao_protocol::wire;
use axum::body::Bytes;
use axum::http::Uri;

use super::FromPeer;

/// Most segments of a path that are read.
const MAX_SEGMENTS: usize = 16;

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Of which process; none for the node itself and for a spawn.
    pub(super) process: Option<Id>,
    pub(super) what: What,
    /// Arguments of all segments and of the query, in order.
    pub(super) arguments: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The node's message, or a key of it.
    Info(Vec<String>),
    /// To schedule an item and deliver what comes of it.
    Push,
    /// To schedule an item, or to read the log.
    Schedule,
    /// The newest slot, or a key of what is known about it.
    Slot(Vec<String>),
    /// What a slot came to; without a slot: the newest one.
    Results {
        /// A number, or the id of a message.
        slot: Option<String>,
        /// Keys of the state that are wanted.
        keys: Vec<String>,
    },
    /// What an item would come to; keys of the state that are wanted.
    DryRun(Vec<String>),
}

/// A request as it came, should it have to be passed on.
pub(super) struct Call {
    pub(super) uri: Uri,
    /// None: a GET.
    pub(super) body: Option<Bytes>,
    pub(super) passed: FromPeer,
}

impl Call {
    /// The same for a peer.
    pub(super) fn for_peer(&self) -> wire::Call {
        let path = self.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        wire::Call { path, body: self.body.as_ref().map(|body| body.to_vec()) }
    }
}

impl Asked {
    /// Whether it changes nothing.
    pub(super) fn is_reading(&self, posted: bool) -> bool {
        match self.what {
            What::Slot(_) | What::Results { .. } | What::DryRun(_) => true,
            What::Schedule => !posted,
            What::Info(_) | What::Push => false,
        }
    }
}

/// One segment: its name, its device, its value, its arguments.
struct Segment {
    name: String,
    device: Option<String>,
    value: Option<String>,
    arguments: Vec<(String, String)>,
}

/// Reads a path; none: it is no path of HyperBEAM.
pub(super) fn read(path: &str, query: Option<&str>) -> Option<Asked> {
    let texts: Vec<&str> = path.split('/').filter(|text| !text.is_empty()).collect();
    // Most paths are none of these: they are told apart before anything is decoded.
    let (first, rest) = texts.split_first()?;
    if texts.len() > MAX_SEGMENTS || !may_be(first, rest) {
        return None;
    }
    let mut segments = texts.into_iter().map(segment).collect::<Option<Vec<Segment>>>()?.into_iter();
    let base = segments.next()?;
    let mut arguments = base.arguments;
    let mut keys: Vec<(String, Option<String>)> = Vec::new();
    for segment in segments {
        arguments.extend(segment.arguments);
        keys.push((segment.name, segment.value));
    }
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, "true"));
        arguments.push((decoded(&name.replace('+', " "))?, decoded(&value.replace('+', " "))?));
    }
    let argument = |name: &str| arguments.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
    let mut names: Vec<&str> = keys.iter().map(|(name, _)| name.as_str()).collect();
    let (process, what) = match (base.name.as_str(), base.device.as_deref()) {
        ("", Some("meta@1.0")) if names.first() == Some(&"info") => (None, What::Info(owned(&names[1..]))),
        ("push", None) | ("", Some("push@1.0")) if names.is_empty() || names == ["push"] => (None, What::Push),
        ("", Some("scheduler@1.0")) if names == ["schedule"] => {
            let target = argument("target").map(|target| target.parse()).transpose().ok()?;
            (target, What::Schedule)
        }
        (process, None | Some("process@1.0")) => {
            let process: Id = process.parse().ok()?;
            let as_execution = keys.first().is_some_and(|(name, value)| name == "as" && value.is_some());
            if as_execution {
                names.remove(0);
            }
            let value = keys.get(usize::from(as_execution)).and_then(|(_, value)| value.clone());
            let what = match names.split_first()? {
                (&"compute", keys) if as_execution => What::DryRun(owned(keys)),
                (&"push", []) => What::Push,
                (&"schedule", []) => What::Schedule,
                (&"slot", keys) => What::Slot(owned(keys)),
                (&"now", keys) => What::Results { slot: None, keys: owned(keys) },
                (&"compute", wanted) => {
                    // The slot may stand at either key: `compute=7/results`, `compute&slot=7/results`,
                    // `compute/results=7`.
                    let slot = value.or_else(|| argument("slot")).or_else(|| keys.last()?.1.clone());
                    What::Results { slot, keys: owned(wanted) }
                }
                _ => return None,
            };
            (Some(process), what)
        }
        _ => return None,
    };
    Some(Asked { process, what, arguments })
}

/// Whether the first segments look like a path of HyperBEAM.
fn may_be(first: &str, rest: &[&str]) -> bool {
    let next = rest.first().map(|next| next.split(['&', '=']).next().unwrap_or_default());
    let of_process = matches!(next, Some("as" | "compute" | "now" | "push" | "schedule" | "slot"));
    first.contains('~')
        || first.contains("%7E")
        || (first == "push" && rest.is_empty())
        || (first.len() == 43 && of_process)
}

fn owned(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_string()).collect()
}

fn segment(text: &str) -> Option<Segment> {
    let mut parts = text.split('&');
    let head = parts.next().unwrap_or_default();
    let (head, value) = match head.split_once('=') {
        Some((head, value)) => (head, Some(decoded(value)?)),
        None => (head, None),
    };
    let head = decoded(head)?;
    let (name, device) = match head.split_once('~') {
        Some((name, device)) => (name.to_string(), Some(device.to_string())),
        None => (head, None),
    };
    let mut arguments = Vec::new();
    for part in parts.filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, "true"));
        arguments.push((decoded(name)?, decoded(value)?));
    }
    Some(Segment { name, device, value, arguments })
}

/// Percent-decoded; none: it is no text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (byte, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).ok()?);
                rest = after.get(2..)?;
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaA";

    fn what(path: &str) -> Option<What> {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        read(&path.replace("PID", ID), query).map(|asked| asked.what)
    }

    fn results(slot: Option<&str>, keys: &[&str]) -> Option<What> {
        Some(What::Results { slot: slot.map(str::to_string), keys: owned(keys) })
    }

    #[test]
    fn the_paths_of_clients_are_read() {
        assert_eq!(what("/~meta@1.0/info/address"), Some(What::Info(vec!["address".into()])));
        assert_eq!(what("/%7Emeta@1.0/info"), Some(What::Info(vec![])));
        assert_eq!(what("/push"), Some(What::Push));
        assert_eq!(what("/PID~process@1.0/push"), Some(What::Push));
        assert_eq!(what("/PID~process@1.0/compute/results=7"), results(Some("7"), &["results"]));
        assert_eq!(what("/PID/compute/results=7"), results(Some("7"), &["results"]));
        assert_eq!(what("/PID~process@1.0/compute&slot=7/results/json"), results(Some("7"), &["results", "json"]));
        assert_eq!(what("/PID~process@1.0/compute=7/results"), results(Some("7"), &["results"]));
        assert_eq!(what("/PID~process@1.0/compute/results?slot=7"), results(Some("7"), &["results"]));
        assert_eq!(what("/PID~process@1.0/now/results"), results(None, &["results"]));
        assert_eq!(what("/PID/slot/current"), Some(What::Slot(vec!["current".into()])));
        assert_eq!(what("/PID~process@1.0/schedule?from=3"), Some(What::Schedule));
        let target = read("/~scheduler@1.0/schedule", Some(&format!("target={ID}&from=1"))).unwrap();
        assert_eq!((target.process.map(|id| id.to_string()), target.what), (Some(ID.into()), What::Schedule));
    }

    #[test]
    fn arguments_are_decoded_wherever_they_stand() {
        let path = format!("/{ID}~process@1.0/as=execution/compute&Action=Get%20Info&x=%2F%3d/");
        let asked = read(&path, Some("y=a+b&z")).unwrap();
        assert_eq!(asked.what, What::DryRun(vec![]));
        let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
        let arguments = [pair("Action", "Get Info"), pair("x", "/="), pair("y", "a b"), pair("z", "true")];
        assert_eq!(asked.arguments, arguments);
    }

    #[test]
    fn other_paths_are_left_alone() {
        for other in [
            "",
            "/",
            "/mu",
            "/push/x/0",
            "/PID",
            "/PID/latest",
            "/tx/PID",
            "/x~process@1.0/push",
            "/~meta@1.0",
            "/PID~other@1.0/push",
            "/PID~process@1.0",
            "/PID~process@1.0/other",
            "/%~%%/info",
            "/%ff~%fe/push",
            "/~scheduler@1.0/schedule?target=x",
        ] {
            assert_eq!(what(other), None, "{other}");
        }
        assert_eq!(what(&format!("/PID~process@1.0/now{}", "/x".repeat(MAX_SEGMENTS))), None);
    }
}
