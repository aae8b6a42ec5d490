//! Bar charts in SVG.

use std::fmt::Write;

use crate::tally::Spread;

/// Two bars of a chart, Keyward's and the floor's.
pub(crate) struct Pair {
    pub(crate) label: &'static str,
    pub(crate) keyward: Spread,
    pub(crate) floor: Spread,
}

const WIDTH: f64 = 760.0;
const LABELS: f64 = 250.0;
const FIGURES: f64 = 80.0;
const TOP: f64 = 54.0;
const BAR: f64 = 13.0;
const ROW: f64 = 40.0;

const KEYWARD: &str = "#2f6f8f";
const FLOOR: &str = "#c3b299";

/// A chart of `pairs`: a bar is as long as the median, its whisker goes from the least to the most.
pub(crate) fn bars(title: &str, pairs: &[Pair]) -> String {
    let all = pairs.iter().flat_map(|pair| [pair.keyward.most, pair.floor.most]);
    let most = all.filter(|length| length.is_finite()).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LABELS - FIGURES) / most;
    let height = TOP + ROW * pairs.len() as f64 + 8.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"22\" font-size=\"15\" font-weight=\"bold\">{title}</text>\n\
         <rect x=\"12\" y=\"32\" width=\"11\" height=\"11\" fill=\"{KEYWARD}\"/>\
         <text x=\"28\" y=\"42\">Keyward</text>\
         <rect x=\"92\" y=\"32\" width=\"11\" height=\"11\" fill=\"{FLOOR}\"/>\
         <text x=\"108\" y=\"42\">floor</text>\n"
    );
    for (at, pair) in pairs.iter().enumerate() {
        let y = TOP + ROW * at as f64;
        // Writing to a string does not fail.
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            LABELS - 8.0,
            y + BAR + 5.0,
            pair.label
        );
        svg += &bar(pair.keyward, KEYWARD, y + 2.0, scale);
        svg += &bar(pair.floor, FLOOR, y + 3.0 + BAR, scale);
    }
    svg + "</svg>\n"
}

fn bar(spread: Spread, colour: &str, y: f64, scale: f64) -> String {
    if !spread.median.is_finite() {
        return format!("<text x=\"{LABELS}\" y=\"{:.1}\">void</text>\n", y + BAR - 3.0);
    }
    let (end, middle) = (|length: f64| LABELS + length * scale, y + BAR / 2.0);
    format!(
        "<rect x=\"{LABELS}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\
         <path d=\"M{:.1} {middle:.1}H{:.1}\" stroke=\"#222222\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#222222\">{}</text>\n",
        spread.median * scale,
        end(spread.least),
        end(spread.most),
        end(spread.most) + 6.0,
        y + BAR - 2.5,
        figure(spread.median)
    )
}

/// A number as people read it: thousands apart, one decimal where it is small.
pub(crate) fn figure(number: f64) -> String {
    if !number.is_finite() {
        return "void".to_owned();
    }
    if number < 100.0 && number.fract() != 0.0 {
        return format!("{number:.1}");
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        assert_eq!(
            ["12.3", "999", "1,000", "1,234,568"],
            [12.34, 999.0, 1000.0, 1_234_567.8].map(figure)[..]
        );
        assert_eq!(figure(f64::NAN), "void");
    }

    #[test]
    fn a_chart_has_a_bar_for_each_and_says_what_is_void() {
        let of = |number: f64| Spread::of([number]);
        let pairs = [
            Pair { label: "one", keyward: of(2.0), floor: of(4.0) },
            Pair { label: "two", keyward: of(3.0), floor: Spread::of([]) },
        ];
        let svg = bars("requests a second", &pairs);
        assert_eq!((svg.matches("<path").count(), svg.matches("void").count()), (3, 1), "{svg}");
    }
}
