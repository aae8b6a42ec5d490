use std::io::IsTerminal;

/// When output has colours.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum ColorChoice {
    /// At a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`.
    Auto,
    /// Also into a file or a pipe.
    Always,
    /// Nowhere.
    Never,
}

/// The look of a part of the output.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Style {
    Plain,
    /// The head of a table.
    Head,
    /// The code of a failure.
    Failure,
}

impl ColorChoice {
    /// Whether output to `stream` has colours.
    pub(super) fn colors(self, stream: &impl IsTerminal) -> bool {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        self.allows(stream.is_terminal(), is_set("NO_COLOR") || is_dumb)
    }

    const fn allows(self, is_terminal: bool, is_refused: bool) -> bool {
        match self {
            Self::Auto => is_terminal && !is_refused,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

impl Style {
    /// The control sequences before and after the part (ECMA-48, SGR).
    pub(super) const fn marks(self, has_colors: bool) -> [&'static [u8]; 2] {
        match self {
            Self::Head if has_colors => [b"\x1b[1m", b"\x1b[0m"],
            Self::Failure if has_colors => [b"\x1b[1;31m", b"\x1b[0m"],
            Self::Plain | Self::Head | Self::Failure => [b"", b""],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_are_for_terminals_unless_they_are_refused_or_forced() {
        let allowed = |choice: ColorChoice| {
            [(true, false), (true, true), (false, false)].map(|(terminal, no)| choice.allows(terminal, no))
        };
        assert_eq!(allowed(ColorChoice::Auto), [true, false, false]);
        assert_eq!(allowed(ColorChoice::Always), [true; 3]);
        assert_eq!(allowed(ColorChoice::Never), [false; 3]);
    }

    #[test]
    fn plain_text_has_no_marks() {
        assert_eq!(Style::Plain.marks(true), Style::Failure.marks(false));
    }
}
