//! Metrics: one registry, in the OpenMetrics format. What is counted elsewhere (the log's tallies, queues, peers) is
//! read when somebody asks; only requests are recorded here, as they come.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// What `/metrics` is served as.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper ends of the histogram's buckets, in seconds: from a read of the log to a wait for a result.
const BUCKETS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];

/// Whether a number only grows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// It counts.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// Numbers by their labels, as of now.
pub(crate) type Reading = Vec<(&'static str, u64)>;

/// A registry that is being put together.
pub(crate) struct Registering {
    registry: Registry,
    requests: Family<Answered, Counter>,
    seconds: Family<Route, Histogram>,
}

/// All metrics of a node. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Registering>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: &'static str,
    route: String,
}

impl Registering {
    /// A registry with the metrics of requests.
    pub(crate) fn new() -> Registering {
        let mut registry = Registry::default();
        let requests = Family::default();
        registry.register("ao_http_requests", "Requests answered", requests.clone());
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let seconds = Family::new_with_constructor(histogram);
        registry.register("ao_http_seconds", "Time until a request was answered", seconds.clone());
        Registering { registry, requests, seconds }
    }

    /// The registry itself, for libp2p's metrics.
    pub(crate) fn registry(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Adds numbers that are read when asked for: one per value of `label`, or one in all when that is empty. Counters
    /// get the ending `_total`.
    pub(crate) fn watch(
        &mut self,
        kind: Kind,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        read: impl Fn() -> Reading + Send + Sync + 'static,
    ) {
        self.registry.register_collector(Box::new(Watched { kind, name, help, label, read: Box::new(read) }));
    }

    /// Ready to be read.
    pub(crate) fn finish(self) -> Metrics {
        Metrics(Arc::new(self))
    }
}

impl Metrics {
    /// Counts an answered request.
    pub(crate) fn answered(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let Registering { requests, seconds, .. } = &*self.0;
        requests.get_or_create(&Answered { method, route: route.to_string(), status }).inc();
        seconds.get_or_create(&Route { method, route: route.to_string() }).observe(took.as_secs_f64());
    }

    /// All metrics as text.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

/// Numbers that are read when asked for.
struct Watched {
    kind: Kind,
    name: &'static str,
    help: &'static str,
    label: &'static str,
    read: Box<dyn Fn() -> Reading + Send + Sync>,
}

impl Watched {
    fn write(&self, metric: &mut MetricEncoder<'_>, number: u64) -> Result<(), fmt::Error> {
        match self.kind {
            Kind::Counter => metric.encode_counter::<[(&str, &str); 0], _, u64>(&number, None),
            Kind::Gauge => metric.encode_gauge(&number),
        }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched({})", self.name)
    }
}

impl Collector for Watched {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let kind = match self.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
        };
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        for (value, number) in (self.read)() {
            match self.label {
                "" => self.write(&mut metric, number)?,
                label => self.write(&mut metric.encode_family(&[(label, value)])?, number)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_and_what_is_watched_is_in_the_text() {
        let mut registering = Registering::new();
        registering.watch(Kind::Counter, "ao_slots", "Slots", "", || vec![("", 7)]);
        registering.watch(Kind::Gauge, "ao_queue", "Queues", "of", || vec![("a", 1), ("b", 2)]);
        let metrics = registering.finish();
        metrics.answered("GET", "/cu/result/{id}", 200, Duration::from_millis(3));
        let text = metrics.text().unwrap();
        for line in [
            r#"ao_http_requests_total{method="GET",route="/cu/result/{id}",status="200"} 1"#,
            r#"ao_http_seconds_bucket{le="0.005",method="GET",route="/cu/result/{id}"} 1"#,
            r#"ao_http_seconds_bucket{le="0.0025",method="GET",route="/cu/result/{id}"} 0"#,
            "ao_slots_total 7",
            r#"ao_queue{of="b"} 2"#,
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }
}
