//! Texts that end an answer.

/// Finds stop strings in text that comes in pieces, and holds back what may be the beginning of one.
///
/// The answer ends at the character that completes a stop string first, so where the pieces are
/// cut makes no difference.
#[derive(Debug, Clone, Default)]
pub struct StopStrings {
    stops: Vec<String>,
    held: String,
}

/// What a piece of text led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passed {
    /// Text that belongs to the answer; there may be more.
    On(String),
    /// The rest of the answer: the stop string with this number follows it.
    Stop {
        /// Text before the stop string.
        text: String,
        /// Which of the stop strings.
        stop: usize,
    },
}

impl StopStrings {
    /// Empty texts never stop.
    pub fn new(stops: &[String]) -> Self {
        Self { stops: stops.to_vec(), held: String::new() }
    }

    /// Takes a piece of text. `ahead` is text that follows if the answer ends here, which is
    /// searched but not passed on.
    pub fn push(&mut self, text: &str, ahead: &str) -> Passed {
        if self.stops.is_empty() {
            return Passed::On(text.to_owned());
        }
        self.held.push_str(text);
        let passed = self.held.len();
        self.held.push_str(ahead);
        if let Some((stop, at)) = self.find() {
            self.held.truncate(at);
            return Passed::Stop { text: std::mem::take(&mut self.held), stop };
        }
        self.held.truncate(passed);
        let rest = self.held.split_off(self.held.len() - self.possible_beginning());
        Passed::On(std::mem::replace(&mut self.held, rest))
    }

    /// Hands out what was held back, when no more text comes.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// The stop string that is complete first, and where it begins.
    fn find(&self) -> Option<(usize, usize)> {
        let stops = self.stops.iter().enumerate().filter(|(_, stop)| !stop.is_empty());
        let found = stops.filter_map(|(i, stop)| self.held.find(stop).map(|at| (i, at)));
        found.min_by_key(|&(i, at)| (at + self.stops[i].len(), at))
    }

    /// Bytes at the end that may be the beginning of a stop string.
    fn possible_beginning(&self) -> usize {
        let begins = |stop: &String| {
            let ends = stop.char_indices().map(|(at, _)| at).filter(|&at| at > 0);
            ends.filter(|&at| self.held.ends_with(&stop[..at])).max().unwrap_or(0)
        };
        self.stops.iter().map(begins).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, Option<usize>) {
        let stops: Vec<String> = stops.iter().map(|&stop| stop.to_owned()).collect();
        let mut search = StopStrings::new(&stops);
        let mut text = String::new();
        for piece in pieces {
            match search.push(piece, "") {
                Passed::On(more) => text += &more,
                Passed::Stop { text: more, stop } => return (text + &more, Some(stop)),
            }
        }
        (text + &search.finish(), None)
    }

    #[test]
    fn pieces_may_cut_a_stop_string() {
        assert_eq!(run(&["\n\nQ:"], &["Yes.\n", "\n", "Q", ": no"]), ("Yes.".to_owned(), Some(0)));
        assert_eq!(run(&["\n\nQ:"], &["Yes.\n", "\nA"]), ("Yes.\n\nA".to_owned(), None));
        assert_eq!(run(&["aab"], &["a", "a", "a", "b"]), ("a".to_owned(), Some(0)));
    }

    #[test]
    fn the_one_that_is_complete_first_wins_wherever_pieces_are_cut() {
        let stops = ["abcdef", "cd"];
        assert_eq!(run(&stops, &["xabcdef"]), run(&stops, &["xa", "b", "c", "d", "ef"]));
        assert_eq!(run(&stops, &["xabcdef"]), ("xab".to_owned(), Some(1)));
    }

    #[test]
    fn only_possible_beginnings_are_held() {
        let mut search = StopStrings::new(&["éàx".to_owned()]);
        assert_eq!(search.push("caféà", ""), Passed::On("caf".to_owned()));
        assert_eq!(search.push("!", ""), Passed::On("éà!".to_owned()));
    }

    #[test]
    fn text_ahead_can_stop_but_is_not_passed_on() {
        let mut search = StopStrings::new(&["\n".to_owned()]);
        assert_eq!(search.push("a", "b"), Passed::On("a".to_owned()));
        assert_eq!(search.push("b", "c\n"), Passed::Stop { text: "bc".to_owned(), stop: 0 });
    }
}
