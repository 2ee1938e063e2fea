//! `divvy trace SERVICE`: what becomes of sampled packets, as it happens.

mod capture;
mod human;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal as _, Write},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use clap::{Args, ValueEnum};
use tokio::time::{Instant, sleep_until};

use self::capture::Capture;
use super::{Failure, Places, signals::Signals};
use crate::{
    api::client::{Client, Lines},
    control::view::trace::{Decision, Progress, TraceFilter, TraceLine},
};

#[derive(Debug, Args)]
pub(super) struct Trace {
    /// The service whose packets to tell of.
    service: String,
    /// How many packets to look at: a share such as `1%` or `1/1000`, or `all`. What is looked at costs time.
    #[arg(long, default_value = "1%", value_name = "SHARE")]
    sample: Sample,
    /// End after so many packets.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End after this time, such as `30s`.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// For people, for programs (a JSON object a line), or for Wireshark (verdict and reason are the packets'
    /// comments).
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// Write to a file instead of to the terminal.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Human,
    Json,
    Pcapng,
}

/// One packet of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample(u32);

impl FromStr for Sample {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text} is no share; write 1%, 0.1%, 1/1000 or all");
        if text == "all" {
            return Ok(Self(1));
        }
        let every = match (text.strip_suffix('%'), text.strip_prefix("1/")) {
            (Some(percent), _) => {
                let percent: f64 = percent.trim().parse().map_err(|_| wrong())?;
                if !(percent > 0.0 && percent <= 100.0) {
                    return Err(format!("{text} is not within 0% and 100%"));
                }
                (100.0 / percent).round()
            }
            (None, Some(every)) => every.parse().map_err(|_| wrong())?,
            (None, None) => return Err(wrong()),
        };
        if (1.0..=f64::from(u32::MAX / 2)).contains(&every) {
            Ok(Self(every as u32))
        } else {
            Err(wrong())
        }
    }
}

/// Where decisions go.
enum Sink {
    Human(Box<dyn Write + Send>),
    Json(Box<dyn Write + Send>),
    Pcapng(Capture<Box<dyn Write + Send>>),
}

impl Trace {
    pub(super) async fn execute(self, places: &Places) -> Result<(), Failure> {
        if self.output == Format::Pcapng && self.write.is_none() && io::stdout().is_terminal() {
            return Err(Failure::failed(
                "a capture is not for the terminal; name a file with --write, or pipe it into \
                 `wireshark -k -i -`",
            ));
        }
        let filter = TraceFilter {
            service: self.service.clone(),
            every: Some(self.sample.0),
        };
        let mut lines = Client::new(&places.run_dir).trace(&filter).await?;
        let mut sink = self.sink()?;
        if self.output == Format::Human {
            eprintln!(
                "tracing {}: {}; end it with Ctrl-C (times are UTC)",
                self.service,
                match self.sample.0 {
                    1 => "every packet".to_owned(),
                    every => format!("one packet in {every} (--sample all tells of every one)"),
                }
            );
        }
        let told = self.follow(&mut lines, &mut sink).await?;
        if self.output == Format::Human {
            eprintln!("{told}");
        }
        Ok(())
    }

    fn sink(&self) -> Result<Sink, Failure> {
        let writer: Box<dyn Write + Send> = match &self.write {
            None => Box::new(io::stdout()),
            Some(path) => {
                let file = File::create(path).map_err(|error| {
                    Failure::failed(format!("cannot write {}: {error}", path.display()))
                })?;
                Box::new(BufWriter::new(file))
            }
        };
        Ok(match self.output {
            Format::Human => Sink::Human(writer),
            Format::Json => Sink::Json(writer),
            Format::Pcapng => Sink::Pcapng(Capture::begin(writer).map_err(cannot_write)?),
        })
    }

    /// Tells of decisions until enough is told.
    async fn follow(&self, lines: &mut Lines<TraceLine>, sink: &mut Sink) -> Result<Told, Failure> {
        let mut told = Told::default();
        let until = self.duration.map(|duration| Instant::now() + duration);
        let mut signals = Signals::new()?;
        while self.count.is_none_or(|count| told.packets < count) {
            let line = tokio::select! {
                line = lines.next() => line?,
                () = signals.any() => break,
                () = wait(until) => break,
            };
            match line {
                Some(TraceLine::Decision(decision)) => {
                    told.packets += 1;
                    match sink.tell(&decision) {
                        Ok(()) => {}
                        // The reader has enough, as `head` does.
                        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(told),
                        Err(error) => return Err(cannot_write(error)),
                    }
                }
                Some(TraceLine::Progress(progress)) => {
                    if self.output == Format::Human && progress.lost > told.progress.lost {
                        eprintln!(
                            "{} packets were not told of: they came faster than they can be read; \
                             take a smaller --sample",
                            progress.lost - told.progress.lost
                        );
                    }
                    told.progress = progress;
                }
                None => {
                    sink.flush().map_err(cannot_write)?;
                    return Err(Failure::failed("the daemon ended the trace"));
                }
            }
        }
        sink.flush().map_err(cannot_write)?;
        Ok(told)
    }
}

impl Sink {
    fn tell(&mut self, decision: &Decision) -> io::Result<()> {
        match self {
            Self::Human(writer) => writeln!(writer, "{}", human::line(decision)),
            Self::Json(writer) => {
                let text = serde_json::to_string(decision).map_err(io::Error::other)?;
                writeln!(writer, "{text}")
            }
            Self::Pcapng(capture) => capture.add(decision),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Human(writer) | Self::Json(writer) => writer.flush(),
            Self::Pcapng(capture) => capture.flush(),
        }
    }
}

/// What was told in the end.
#[derive(Default)]
struct Told {
    packets: u64,
    progress: Progress,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} packets told of", self.packets)?;
        match self.progress.lost {
            0 => Ok(()),
            lost => write!(f, ", {lost} lost"),
        }
    }
}

async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

fn cannot_write(error: io::Error) -> Failure {
    Failure::failed(format!("cannot write the trace: {error}"))
}
