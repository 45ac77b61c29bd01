//! The paper that pictures are drawn on.

use std::fmt::{Display, Write as _};

/// A picture that is being drawn.
pub(super) struct Canvas {
    width: u32,
    height: u32,
    body: String,
}

/// Where a text's position is in it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Canvas {
    /// An empty one of so many pixels, with a heading and a line below it that says how to read it.
    pub(super) fn new((width, height): (u32, u32), heading: &str, reading: &str) -> Self {
        let mut canvas = Canvas {
            width,
            height,
            body: String::new(),
        };
        canvas.text((16.0, 28.0), Anchor::Start, "heading", heading);
        canvas.text((16.0, 48.0), Anchor::Start, "muted", reading);
        canvas
    }

    /// A word or a number; the class says how it looks.
    pub(super) fn text(
        &mut self,
        (x, y): (f64, f64),
        anchor: Anchor,
        class: &str,
        text: impl Display,
    ) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = text.to_string().replace('&', "&amp;").replace('<', "&lt;");
        self.element(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" class="{class}">{text}</text>"#
        ));
    }

    pub(super) fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: &str) {
        self.element(format_args!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" class="{class}"/>"#
        ));
    }

    /// A bar that begins at the left; its right end is round.
    pub(super) fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), class: &str) {
        let radius = 4.0_f64.min(width);
        let straight = (width - radius).max(0.0);
        let side = height - 2.0 * radius;
        self.element(format_args!(
            r#"<path d="M{x:.1} {y:.1}h{straight:.1}q{radius} 0 {radius} {radius}v{side:.1}q0 {radius} -{radius} {radius}h-{straight:.1}z" class="{class}"/>"#
        ));
    }

    /// A point, and what is said of it to whoever points at it.
    pub(super) fn point(&mut self, (x, y): (f64, f64), radius: f64, class: &str, said: &str) {
        self.element(format_args!(
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" class="{class}"><title>{said}</title></circle>"#
        ));
    }

    pub(super) fn polyline(&mut self, points: &[(f64, f64)], class: &str) {
        let points: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        self.element(format_args!(
            r#"<polyline points="{}" class="{class}"/>"#,
            points.join(" ")
        ));
    }

    /// The whole picture.
    pub(super) fn finish(self) -> String {
        let Canvas {
            width,
            height,
            body,
        } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\n<style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" class=\"page\"/>\n{body}</svg>\n"
        )
    }

    fn element(&mut self, element: impl Display) {
        writeln!(self.body, "{element}").expect("a string takes everything");
    }
}

/// Colours are told apart by people who see few of them too, on either page.
const STYLE: &str = "
svg { --page: #ffffff; --ink: #1b1f24; --muted: #5b636d; --grid: #e3e6ea; --axis: #9aa3ad; --one: #2a6fdb; --two: #c25a00; --three: #0f8a6d; --four: #8a4fc7; --bare: #c9d0d8; }
@media (prefers-color-scheme: dark) { svg { --page: #14171b; --ink: #e8ebee; --muted: #9aa3ad; --grid: #2a2f36; --axis: #5b636d; --one: #5b9bff; --two: #f0954a; --three: #3fc3a0; --four: #bd8df5; --bare: #444c56; } }
text { font: 13px system-ui, sans-serif; fill: var(--ink); }
.heading { font-size: 17px; font-weight: 600; }
.muted { fill: var(--muted); }
.strong { font-weight: 600; }
.page { fill: var(--page); }
.grid { stroke: var(--grid); }
.axis { stroke: var(--axis); }
.bar { fill: var(--one); }
.run { fill: var(--page); stroke: var(--ink); stroke-width: 1.2; }
polyline { fill: none; stroke-width: 2; stroke-linejoin: round; }
polyline.one { stroke: var(--one); } circle.one, text.one { fill: var(--one); }
polyline.two { stroke: var(--two); } circle.two, text.two { fill: var(--two); }
polyline.three { stroke: var(--three); } circle.three, text.three { fill: var(--three); }
polyline.four { stroke: var(--four); } circle.four, text.four { fill: var(--four); }
";
