//! The table at the end: one line a goal, with what is met, what is missed and by how much, and what was left out.

use std::process::ExitCode;

/// What a figure has to be.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// Ours divided by the peer's is at least this.
    RatioAtLeast(f64),
    /// Ours divided by the peer's is at most this.
    RatioAtMost(f64),
    /// Our figure itself is at most this.
    AtMost(f64),
    /// Nothing was agreed; the figure is for orientation.
    None,
}

/// What a figure counts.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    PerSecond,
    Micros,
    Millis,
    Count,
    Percent,
    Bytes,
    KiB,
    MiB,
    MegaBytesPerSecond,
}

/// One line of the table.
pub(crate) struct Line {
    /// What was measured, such as `pairs protobuf 1 KiB x16: rate`.
    pub(crate) measure: String,
    pub(crate) unit: Unit,
    pub(crate) ours: f64,
    /// The peer's name, its figure, and the median of the rounds' ratios.
    pub(crate) peer: Option<(&'static str, f64, f64)>,
    pub(crate) goal: Goal,
}

/// All that a run found.
#[derive(Default)]
pub(crate) struct Report {
    lines: Vec<Line>,
    left_out: Vec<String>,
    failed: Vec<String>,
}

impl Report {
    /// Adds a line, and shows it at once: a whole run takes long.
    pub(crate) fn line(&mut self, line: Line) {
        println!("{}", line.text());
        self.lines.push(line);
    }

    /// Says that `what` was not measured.
    pub(crate) fn left_out(&mut self, what: &str, why: &anyhow::Error) {
        println!("left out: {what} ({why:#})");
        self.left_out.push(format!("left out: {what} ({why:#})"));
    }

    /// Says that a measure broke off.
    pub(crate) fn failed(&mut self, name: &str, error: &anyhow::Error) {
        println!("failed: {name}: {error:#}");
        self.failed.push(format!("failed: {name}: {error:#}"));
    }

    /// Prints the table; a missed goal is a finding, a measure that broke off is a failure.
    pub(crate) fn print(&self) -> ExitCode {
        println!("\n## Figures\n\n| measure | ours | peer | ratio | goal | met |\n|---|---:|---:|---:|---:|---|");
        for line in &self.lines {
            println!("{}", line.text());
        }
        let with_goal = self.lines.iter().filter(|l| !matches!(l.goal, Goal::None));
        let (met, all) = with_goal.fold((0, 0), |(met, all), l| (met + usize::from(l.short() <= 0.0), all + 1));
        println!("\n{met} of {all} goals met");
        for text in self.left_out.iter().chain(&self.failed) {
            println!("{text}");
        }
        if self.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl Line {
    fn text(&self) -> String {
        let (peer, ratio) = match self.peer {
            Some((name, figure, ratio)) => (format!("{name} {}", self.unit.show(figure)), format!("{ratio:.2}")),
            None => ("-".to_owned(), "-".to_owned()),
        };
        let goal = match self.goal {
            Goal::RatioAtLeast(x) => format!(">= {x}x"),
            Goal::RatioAtMost(x) => format!("<= {x}x"),
            Goal::AtMost(x) => format!("<= {}", self.unit.show(x)),
            Goal::None => "-".to_owned(),
        };
        let met = match self.goal {
            Goal::None => "-".to_owned(),
            _ if self.short() <= 0.0 => "yes".to_owned(),
            _ => format!("no, by {:.0} %", self.short() * 100.0),
        };
        format!("| {} | {} | {peer} | {ratio} | {goal} | {met} |", self.measure, self.unit.show(self.ours))
    }

    /// By which share of the goal the figure falls short; zero or less when it is met.
    fn short(&self) -> f64 {
        let ratio = self.peer.map_or(f64::NAN, |(_, _, ratio)| ratio);
        let short = match self.goal {
            Goal::RatioAtLeast(x) => 1.0 - ratio / x,
            Goal::RatioAtMost(x) => ratio / x - 1.0,
            // None at all is a goal, too.
            Goal::AtMost(0.0) => self.ours,
            Goal::AtMost(x) => self.ours / x - 1.0,
            Goal::None => 0.0,
        };
        // A figure that is not a number is no success.
        if short.is_nan() { f64::INFINITY } else { short }
    }
}

impl Unit {
    fn show(self, figure: f64) -> String {
        match self {
            Self::PerSecond => format!("{figure:.0} /s"),
            Self::Micros => format!("{figure:.0} µs"),
            Self::Millis => format!("{figure:.0} ms"),
            Self::Count => format!("{figure:.0}"),
            Self::Percent => format!("{figure:.2} %"),
            Self::Bytes => format!("{figure:.0} B"),
            Self::KiB => format!("{figure:.1} KiB"),
            Self::MiB => format!("{figure:.1} MiB"),
            Self::MegaBytesPerSecond => format!("{figure:.1} MB/s"),
        }
    }
}
