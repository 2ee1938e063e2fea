//! Medians, spread and ratios over rounds.

use std::collections::BTreeMap;

use super::{measure::Measure, ways::Way};
use crate::bench::median;

/// A value of each round.
#[derive(Clone, Debug)]
pub struct Samples {
    pub ways: Vec<Way>,
    values: BTreeMap<(Measure, Way), Vec<f64>>,
}

impl Samples {
    pub fn new(ways: &[Way]) -> Self {
        Self {
            ways: ways.to_vec(),
            values: BTreeMap::new(),
        }
    }

    pub fn add(&mut self, way: Way, measure: Measure, value: f64) {
        self.values.entry((measure, way)).or_default().push(value);
    }

    /// The figures, by measure and way.
    pub fn figures(&self) -> Vec<Figure> {
        Measure::ALL
            .into_iter()
            .flat_map(|measure| self.ways.iter().map(move |&way| (measure, way)))
            .filter_map(|(measure, way)| self.figure(measure, way))
            .collect()
    }

    fn figure(&self, measure: Measure, way: Way) -> Option<Figure> {
        let values = self.values.get(&(measure, way))?;
        let times = |other: Way| {
            let others = (way != other).then(|| self.values.get(&(measure, other)))??;
            let ratios = values.iter().zip(others).map(|(own, other)| own / other);
            Some(median(ratios.collect()))
        };
        let (to_routing, to_haproxy) = (times(Way::Routing), times(Way::HaProxy));
        Some(Figure {
            measure,
            way,
            median: median(values.clone()),
            least: values.iter().copied().fold(f64::INFINITY, f64::min),
            most: values.iter().copied().fold(0.0, f64::max),
            to_routing,
            to_haproxy,
            targets: Target::of(measure, way)
                .into_iter()
                .filter_map(|(over, least)| {
                    let is = match over {
                        Way::Routing => to_routing?,
                        _ => to_haproxy?,
                    };
                    Some(Target {
                        over,
                        least,
                        met: is >= least,
                    })
                })
                .collect(),
        })
    }
}

/// What was measured of one way.
#[derive(Clone, Debug)]
pub struct Figure {
    pub measure: Measure,
    pub way: Way,
    /// Over rounds, as are the next two.
    pub median: f64,
    pub least: f64,
    pub most: f64,
    /// Median of the ratios to plain routing in the same round; not of that itself.
    pub to_routing: Option<f64>,
    /// The same to HAProxy.
    pub to_haproxy: Option<f64>,
    pub targets: Vec<Target>,
}

/// What a ratio should be. Reported, never asserted.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub over: Way,
    pub least: f64,
    pub met: bool,
}

impl Target {
    /// Least ratios of requests a second.
    fn of(measure: Measure, way: Way) -> Vec<(Way, f64)> {
        match (measure, way) {
            (Measure::Requests, Way::Divvy) => vec![(Way::Routing, 1.1), (Way::HaProxy, 1.4)],
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Two rounds in which each way is half as good again as the one before it.
    pub fn samples() -> Samples {
        let mut samples = Samples::new(&Way::ALL);
        for measure in Measure::ALL {
            for (place, way) in Way::ALL.into_iter().enumerate() {
                for round in [1.0, 2.0] {
                    samples.add(way, measure, round * 1_000.0 * 1.5_f64.powi(place as i32));
                }
            }
        }
        samples
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let figures = samples().figures();
        assert_eq!(figures.len(), Measure::ALL.len() * Way::ALL.len());
        let divvy = figures
            .iter()
            .find(|figure| figure.way == Way::Divvy)
            .expect("measured");
        assert_eq!(divvy.median, 1_500.0 * 1.5_f64.powi(4));
        assert_eq!(divvy.least * 2.0, divvy.most);
        assert_eq!(divvy.to_routing, Some(1.5_f64.powi(4)));
        assert_eq!(divvy.to_haproxy, Some(1.5_f64.powi(2)));
    }

    #[test]
    fn targets_are_met_or_not() {
        let met = |factor: f64| {
            let mut samples = Samples::new(&Way::ALL);
            for (way, value) in [
                (Way::Routing, 100.0),
                (Way::HaProxy, 50.0),
                (Way::Divvy, factor),
            ] {
                samples.add(way, Measure::Requests, value);
            }
            let figures = samples.figures();
            let divvy = figures.last().expect("measured");
            let met: Vec<bool> = divvy.targets.iter().map(|target| target.met).collect();
            met
        };
        assert_eq!(met(120.0), [true, true]);
        assert_eq!(met(109.0), [false, true]);
        assert_eq!(met(69.0), [false, false]);
    }
}
