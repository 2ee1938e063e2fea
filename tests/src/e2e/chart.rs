//! The bar chart, as SVG: a panel for each measure, a bar for each way, a line from the least to the most of
//! all rounds. Its greys are legible on light and on dark pages.

use std::fmt::Write as _;

use super::{measure::Measure, report::Report, summary::Figure, ways::Way};

/// Panels, row by row.
const PANELS: [Measure; 6] = [
    Measure::Requests,
    Measure::Connections,
    Measure::Stream,
    Measure::Median,
    Measure::Tail,
    Measure::CpuAtRate,
];
const COLUMNS: usize = 3;
/// In pixels, as is everything here.
const PANEL_WIDTH: usize = 320;
const BAR_HEIGHT: usize = 16;
const LINE_HEIGHT: usize = 24;
const NAMES: usize = 92;
/// Where the longest bar's line ends; behind it stands its figure.
const LONGEST: f64 = 160.0;
const TITLE: usize = 40;
const GAP: usize = 18;
const TEXT: &str = "#768390";
const OTHERS: &str = "#8b98a5";
const OURS: &str = "#2f81f7";

/// The chart of a report.
#[must_use]
pub fn chart(report: &Report) -> String {
    let panel_height = TITLE + LINE_HEIGHT * report.effort.ways.len() + GAP;
    let width = PANEL_WIDTH * COLUMNS;
    let height = panel_height * PANELS.len().div_ceil(COLUMNS) + LINE_HEIGHT;
    let mut svg = String::new();
    line(
        &mut svg,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"{TEXT}\">"
        ),
    );
    line(
        &mut svg,
        format_args!("<title>What clients get by each way to the same servers</title>"),
    );
    for (place, measure) in PANELS.into_iter().enumerate() {
        let figures: Vec<&Figure> = (report.figures.iter())
            .filter(|figure| figure.measure == measure)
            .collect();
        let left = place % COLUMNS * PANEL_WIDTH;
        let top = place / COLUMNS * panel_height;
        line(
            &mut svg,
            format_args!("<g transform=\"translate({left} {top})\">"),
        );
        panel(&mut svg, measure, &figures);
        line(&mut svg, format_args!("</g>"));
    }
    line(
        &mut svg,
        format_args!(
            "<text x=\"8\" y=\"{}\" font-size=\"11\">{}</text>\n</svg>",
            height - 8,
            escaped(&report.conditions())
        ),
    );
    svg
}

fn panel(svg: &mut String, measure: Measure, figures: &[&Figure]) {
    let better = if measure.more_is_better() {
        "more is better"
    } else {
        "less is better"
    };
    line(
        svg,
        format_args!(
            "<text x=\"8\" y=\"20\" font-weight=\"600\" font-size=\"13\">{}</text>\n<text x=\"8\" y=\"34\" \
             font-size=\"10\">{better}</text>",
            escaped(measure.name())
        ),
    );
    let most = figures.iter().map(|figure| figure.most).fold(0.0, f64::max);
    for (place, figure) in figures.iter().enumerate() {
        let y = TITLE + place * LINE_HEIGHT;
        let at = |value: f64| NAMES as f64 + value / most.max(f64::MIN_POSITIVE) * LONGEST;
        let (bar, least, most) = (at(figure.median), at(figure.least), at(figure.most));
        let length = bar - NAMES as f64;
        let (baseline, middle) = (y + 12, y + BAR_HEIGHT / 2);
        let fill = if figure.way == Way::Divvy {
            OURS
        } else {
            OTHERS
        };
        line(
            svg,
            format_args!(
                "<text x=\"{}\" y=\"{baseline}\" text-anchor=\"end\">{}</text>\n<rect x=\"{NAMES}\" y=\"{y}\" \
                 width=\"{length:.1}\" height=\"{BAR_HEIGHT}\" fill=\"{fill}\"/>\n<path d=\"M{least:.1} \
                 {middle}H{most:.1}M{least:.1} {y}v{BAR_HEIGHT}M{most:.1} {y}v{BAR_HEIGHT}\" stroke=\"{TEXT}\" \
                 fill=\"none\"/>\n<text x=\"{:.1}\" y=\"{baseline}\">{}</text>",
                NAMES - 6,
                escaped(figure.way.name()),
                most + 6.0,
                escaped(&measure.show(figure.median)),
            ),
        );
    }
}

fn line(svg: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(svg, "{text}").expect("a string takes all text");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::{super::report::tests::report, *};

    #[test]
    fn every_way_has_a_bar_in_every_panel() {
        let svg = chart(&report());
        assert_eq!(svg.matches("<rect ").count(), PANELS.len() * Way::ALL.len());
        assert_eq!(svg.matches(OURS).count(), PANELS.len());
        for tag in ["svg", "g", "text", "title"] {
            let opened =
                svg.matches(&format!("<{tag}>")).count() + svg.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, svg.matches(&format!("</{tag}>")).count(), "{tag}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn and_nothing_leaves_its_panel() {
        let svg = chart(&report());
        let widths = svg.split("width=\"").skip(2);
        for width in widths.filter_map(|rest| rest.split('"').next()?.parse::<f64>().ok()) {
            assert!((0.0..=LONGEST).contains(&width), "{width}");
        }
    }

    #[test]
    fn what_stands_in_text_is_text() {
        let mut report = report();
        report.machine.cpu = "A & B <C>".to_owned();
        assert!(chart(&report).contains("A &amp; B &lt;C>"));
    }
}
