//! Metrics as text: Prometheus' own format, version 0.0.4, and OpenMetrics 1.0.
//!
//! Written here and not by a library, because there is little to it: names, helps and label values are
//! ours and need no escape, the counters live where the work is done, and the libraries' histograms
//! and families lock where ours are atomics.

use std::fmt::Write as _;

use super::{BOUNDS, Buckets, Desc, Kind};

/// How to write them down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// What everything understands.
    Prometheus,
    /// What Prometheus prefers.
    OpenMetrics,
}

impl Format {
    /// What an Accept header asks for, if there is one.
    pub fn accepted(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Self::OpenMetrics,
            _ => Self::Prometheus,
        }
    }

    /// The Content-Type of the answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// An answer that is being written.
pub(super) struct Text {
    format: Format,
    out: String,
}

impl Text {
    pub(super) fn new(format: Format) -> Self {
        Self { format, out: String::with_capacity(8 * 1024) }
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.line(format_args!("# EOF"));
        }
        self.out
    }

    /// A metric with one sample.
    pub(super) fn single(&mut self, desc: &Desc, value: u64) {
        self.family(desc, [([""; 2], value)]);
    }

    /// A metric with a sample for each value of its label.
    pub(super) fn labeled<'a>(
        &mut self,
        desc: &Desc,
        samples: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        self.family(desc, samples.into_iter().map(|(label, value)| ([label, ""], value)));
    }

    /// A counter or gauge, with a value for each of its labels in each sample.
    pub(super) fn family<'a>(
        &mut self,
        desc: &Desc,
        samples: impl IntoIterator<Item = ([&'a str; 2], u64)>,
    ) {
        let total = if desc.kind == Kind::Counter { "_total" } else { "" };
        self.head(desc, total);
        for (values, value) in samples {
            let labels = braced(&pairs(desc, &values));
            self.line(format_args!("{}{total}{labels} {value}", desc.name));
        }
    }

    /// A histogram, with the value of its label in each.
    pub(super) fn histogram<'a>(
        &mut self,
        desc: &Desc,
        all: impl IntoIterator<Item = (&'a str, Buckets)>,
    ) {
        self.head(desc, "");
        for (label, buckets) in all {
            let labels = pairs(desc, &[label, ""]);
            let bounds = BOUNDS.iter().map(|bound| (*bound as f64 / 1e6).to_string());
            let mut below = 0;
            for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(buckets.counts) {
                below += count;
                let mut labels = labels.clone();
                labels.push(format!("le=\"{bound}\""));
                self.line(format_args!("{}_bucket{} {below}", desc.name, braced(&labels)));
            }
            let (name, labels) = (desc.name, braced(&labels));
            let sum = buckets.sum_micros as f64 / 1e6;
            self.line(format_args!("{name}_sum{labels} {sum}"));
            self.line(format_args!("{name}_count{labels} {below}"));
        }
    }

    /// The older format counts the suffix as part of the name.
    fn head(&mut self, desc: &Desc, total: &str) {
        let total = if self.format == Format::Prometheus { total } else { "" };
        let (name, kind) = (desc.name, desc.kind.as_str());
        self.line(format_args!("# HELP {name}{total} {}", desc.help));
        self.line(format_args!("# TYPE {name}{total} {kind}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a text can't fail.
        let _ = writeln!(self.out, "{line}");
    }
}

fn pairs(desc: &Desc, values: &[&str]) -> Vec<String> {
    let names = desc.labels.split_whitespace();
    names.zip(values).map(|(name, value)| format!("{name}=\"{value}\"")).collect()
}

fn braced(labels: &[String]) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTER: Desc =
        Desc { name: "x_requests", kind: Kind::Counter, labels: "route status", help: "Requests." };
    const TIMES: Desc =
        Desc { name: "x_seconds", kind: Kind::Histogram, labels: "", help: "Times." };

    fn written(format: Format) -> String {
        let mut text = Text::new(format);
        text.family(&COUNTER, [(["mcp", "200"], 7)]);
        let counts = [1, 0, 2, 0, 0, 0, 0, 0, 0, 1];
        text.histogram(&TIMES, [("", Buckets { counts, sum_micros: 1_500_000 })]);
        text.finish()
    }

    #[test]
    fn both_formats_are_as_their_specifications_say() {
        let prometheus = written(Format::Prometheus);
        let open = written(Format::OpenMetrics);

        for line in [
            "# TYPE x_requests_total counter\nx_requests_total{route=\"mcp\",status=\"200\"} 7\n",
            "x_seconds_bucket{le=\"0.0005\"} 1\nx_seconds_bucket{le=\"0.001\"} 1\n",
            "x_seconds_bucket{le=\"60\"} 3\nx_seconds_bucket{le=\"+Inf\"} 4\n",
            "x_seconds_sum 1.5\nx_seconds_count 4\n",
        ] {
            assert!(prometheus.contains(line), "{line}: {prometheus}");
        }
        let open_type =
            "# TYPE x_requests counter\nx_requests_total{route=\"mcp\",status=\"200\"} 7\n";
        assert!(open.contains(open_type) && open.ends_with("\n# EOF\n"), "{open}");
        assert!(!prometheus.contains("# EOF"));
    }

    #[test]
    fn openmetrics_is_only_for_who_asks_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3";

        assert_eq!(Format::accepted(Some(prometheus)), Format::OpenMetrics);
        for other in [None, Some("*/*"), Some("text/plain")] {
            assert_eq!(Format::accepted(other), Format::Prometheus);
        }
    }
}
