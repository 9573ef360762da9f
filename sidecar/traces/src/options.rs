//! What the standard's variables say of traces: where the collector is, and which part of the traces it gets.
//!
//! The queue's (`OTEL_BSP_...`), the exporter's (`OTEL_EXPORTER_OTLP_HEADERS`, `..._TIMEOUT`) and the resource's
//! (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`) are read by the library, as the standard has them.

use opentelemetry_sdk::trace::Sampler;

use crate::TracesError;

/// Where the collector is.
pub(crate) const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// The same, for traces alone: it comes before the other.
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// The file with the roots that a collector behind `https://` is known by, and the same for traces alone.
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
const TRACES_CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE";
/// Those roots themselves, for pods: a file would want a volume in each, and the standard has no variable for a content.
const ROOT: &str = "MESH_COLLECTOR_ROOT";
/// Who decides whether a trace is sent.
pub(crate) const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
/// The part of the traces that is sent.
pub(crate) const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";

/// Whether there are traces, and which. A variable that is set to nothing says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The collector; `None`: no traces.
    pub endpoint: Option<String>,
    /// The roots that it is known by, as PEM: `MESH_COLLECTOR_ROOT`.
    pub root: Option<String>,
    /// A file with them, where `root` says nothing: `OTEL_EXPORTER_OTLP_CERTIFICATE`. Without either those of the machine.
    pub certificate: Option<String>,
    /// `OTEL_TRACES_SAMPLER`.
    pub sampler: Option<String>,
    /// `OTEL_TRACES_SAMPLER_ARG`.
    pub sampler_arg: Option<String>,
}

impl Options {
    /// What this process's environment says.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::read(|name| std::env::var(name).ok())
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let said = |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let is_off = said("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"))
            || said("OTEL_TRACES_EXPORTER").is_some_and(|text| text == "none");
        let endpoint = said(TRACES_ENDPOINT).or_else(|| said(ENDPOINT)).filter(|_| !is_off);
        let certificate = said(TRACES_CERTIFICATE).or_else(|| said(CERTIFICATE));
        Self { endpoint, root: said(ROOT), certificate, sampler: said(SAMPLER), sampler_arg: said(SAMPLER_ARG) }
    }

    /// The variables that say the same to a process in another pod, which has no file of ours; none where there are no traces.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let sampler = [(SAMPLER, &self.sampler), (SAMPLER_ARG, &self.sampler_arg)];
        let all = [(ENDPOINT, &self.endpoint), (ROOT, &self.root)].into_iter().chain(sampler);
        let all = all.filter(|_| self.endpoint.is_some());
        all.filter_map(|(name, value)| value.as_deref().map(|value| (name, value)))
    }

    /// Who decides whether a trace is sent: the caller where it says, and otherwise it is.
    pub(crate) fn sampler(&self) -> Result<Sampler, TracesError> {
        let under = |root| Ok(Sampler::ParentBased(Box::new(root)));
        match self.sampler.as_deref() {
            None | Some("parentbased_always_on") => under(Sampler::AlwaysOn),
            Some("parentbased_always_off") => under(Sampler::AlwaysOff),
            Some("parentbased_traceidratio") => under(self.part()?),
            Some("always_on") => Ok(Sampler::AlwaysOn),
            Some("always_off") => Ok(Sampler::AlwaysOff),
            Some("traceidratio") => self.part(),
            Some(other) => Err(TracesError::Sampler(other.to_owned())),
        }
    }

    fn part(&self) -> Result<Sampler, TracesError> {
        let text = self.sampler_arg.as_deref().unwrap_or("1");
        let part = text.parse().ok().filter(|part| (0.0..=1.0).contains(part));
        part.map(Sampler::TraceIdRatioBased).ok_or_else(|| TracesError::Ratio(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(variables: &[(&str, &str)]) -> Options {
        Options::read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn there_are_traces_where_a_collector_is_named_and_nobody_switched_them_off() {
        let place = (ENDPOINT, "http://collector:4317");
        assert_eq!(said(&[]), Options::default());
        assert_eq!(said(&[(ENDPOINT, " ")]).endpoint, None);
        assert_eq!(said(&[place]).endpoint.as_deref(), Some("http://collector:4317"));
        assert_eq!(said(&[place, (TRACES_ENDPOINT, "http://b:1")]).endpoint.as_deref(), Some("http://b:1"));
        assert_eq!(said(&[place, ("OTEL_SDK_DISABLED", "TRUE")]).endpoint, None);
        let files = [(CERTIFICATE, "/a.crt"), (TRACES_CERTIFICATE, "/b.crt")];
        assert_eq!(said(&files[..1]).certificate.as_deref(), Some("/a.crt"));
        assert_eq!(said(&files).certificate.as_deref(), Some("/b.crt"));
        assert_eq!(said(&[place, ("OTEL_TRACES_EXPORTER", "none")]).endpoint, None);
    }

    #[test]
    fn what_is_passed_on_says_the_same() {
        let variables = [
            (ENDPOINT, "https://collector:4317"),
            (ROOT, "-----BEGIN CERTIFICATE-----"),
            (SAMPLER, "traceidratio"),
            (SAMPLER_ARG, "0.1"),
        ];
        let options = said(&variables);
        assert_eq!(options.variables().collect::<Vec<_>>(), variables);
        assert_eq!(said(&options.variables().collect::<Vec<_>>()), options);
        assert_eq!(said(&variables[1..]).variables().count(), 0, "off is off");
    }

    #[test]
    fn samplers_are_those_of_the_standard() {
        let sampler = |name: &str, part: &str| match said(&[(SAMPLER, name), (SAMPLER_ARG, part)]).sampler() {
            Ok(sampler) => format!("{sampler:?}"),
            Err(e) => e.to_string().split(" and ").next().unwrap().to_owned(),
        };
        for (name, part, wanted) in [
            ("", "", "ParentBased(AlwaysOn)"),
            ("always_on", "", "AlwaysOn"),
            ("always_off", "", "AlwaysOff"),
            ("parentbased_always_off", "0.5", "ParentBased(AlwaysOff)"),
            ("traceidratio", "0.5", "TraceIdRatioBased(0.5)"),
            ("traceidratio", "", "TraceIdRatioBased(1.0)"),
            ("parentbased_traceidratio", "0", "ParentBased(TraceIdRatioBased(0.0))"),
            ("traceidratio", "1.5", "OTEL_TRACES_SAMPLER_ARG is \"1.5\""),
            ("traceidratio", "NaN", "OTEL_TRACES_SAMPLER_ARG is \"NaN\""),
            ("traceidratio", "half", "OTEL_TRACES_SAMPLER_ARG is \"half\""),
            ("xray", "", "OTEL_TRACES_SAMPLER is \"xray\""),
        ] {
            assert_eq!(sampler(name, part), wanted, "{name} {part}");
        }
    }
}
