//! Lua 5.3's patterns, matched within a budget of steps. The native matcher can take time that is exponential in the
//! length of the pattern; results and errors are the same here (`lstrlib.c` of Lua 5.3.6 is the reference, and a test
//! compares both).
//!
//! Nothing here touches the interpreter, so nothing here is skipped when an error leaves by `longjmp`.

/// Most captures of a pattern.
const MAX_CAPTURES: usize = 32;
/// How deep items of a pattern may call each other.
const MAX_DEPTH: usize = 200;
/// Bytes that are compared or skipped over in one step.
const BYTES_PER_STEP: usize = 8;

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The pattern is wrong.
    Pattern(&'static str),
    /// It names a capture that is not there: the number counts from 1.
    Capture(i64),
    /// The steps are used up.
    Budget,
}

/// What a capture holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Captured {
    /// From a byte of the subject on, so many bytes.
    Text(usize, usize),
    /// A position in the subject, counted from 0.
    Position(usize),
}

#[derive(Clone, Copy)]
enum Capture {
    Open(usize),
    Closed(usize, usize),
    Position(usize),
}

type Matched = Result<Option<usize>, Fault>;

/// Matches one pattern against one subject, at one place after the other.
pub(super) struct Matcher<'a> {
    subject: &'a [u8],
    pattern: &'a [u8],
    captures: [Capture; MAX_CAPTURES],
    level: usize,
    depth: usize,
    steps: u64,
    limit: u64,
}

/// Whether a text has no character that means something in a pattern.
pub(super) fn is_plain(pattern: &[u8]) -> bool {
    !pattern.iter().any(|byte| b"^$*+?.([%-".contains(byte))
}

/// Where a text begins in another one. The steps are linear, whatever both are.
pub(super) fn find_plain(subject: &[u8], text: &[u8]) -> Option<usize> {
    memchr::memmem::find(subject, text)
}

/// What searching a text for another one counts.
pub(super) fn steps_to_find(subject: &[u8], text: &[u8]) -> u64 {
    ((subject.len() + text.len()) / BYTES_PER_STEP) as u64
}

impl<'a> Matcher<'a> {
    /// A matcher without an anchor: `pattern` has no leading `^`.
    pub(super) fn new(subject: &'a [u8], pattern: &'a [u8]) -> Matcher<'a> {
        let captures = [Capture::Open(0); MAX_CAPTURES];
        Matcher { subject, pattern, captures, level: 0, depth: 0, steps: 0, limit: 0 }
    }

    /// Matches at a place of the subject, in at most so many steps; where the match ends.
    pub(super) fn at(&mut self, start: usize, limit: u64) -> Matched {
        (self.level, self.depth, self.steps, self.limit) = (0, 0, 0, limit);
        self.items(start, 0)
    }

    /// What the last match took.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// How many captures there are.
    pub(super) fn captured(&self) -> usize {
        self.level
    }

    /// A capture of the last match, which was between two places; without captures the first one is the whole match.
    pub(super) fn capture(&self, number: usize, start: usize, end: usize) -> Result<Captured, Fault> {
        if number >= self.level {
            if number == 0 {
                return Ok(Captured::Text(start, end - start));
            }
            return Err(Fault::Capture(number as i64 + 1));
        }
        match self.captures[number] {
            Capture::Open(_) => Err(Fault::Pattern("unfinished capture")),
            Capture::Closed(start, length) => Ok(Captured::Text(start, length)),
            Capture::Position(position) => Ok(Captured::Position(position)),
        }
    }

    fn spend(&mut self, steps: usize) -> Result<(), Fault> {
        self.steps = self.steps.saturating_add(steps as u64);
        if self.steps > self.limit { Err(Fault::Budget) } else { Ok(()) }
    }

    fn pattern_at(&self, place: usize) -> Option<u8> {
        self.pattern.get(place).copied()
    }

    /// Matches the pattern from an item on at a place of the subject.
    fn items(&mut self, mut s: usize, mut p: usize) -> Matched {
        if self.depth == MAX_DEPTH {
            return Err(Fault::Pattern("pattern too complex"));
        }
        self.depth += 1;
        let found = loop {
            self.spend(1)?;
            let Some(item) = self.pattern_at(p) else { break Some(s) };
            match (item, self.pattern_at(p + 1)) {
                (b'(', Some(b')')) => break self.open(Capture::Position(s), s, p + 2)?,
                (b'(', _) => break self.open(Capture::Open(s), s, p + 1)?,
                (b')', _) => break self.close(s, p + 1)?,
                (b'$', None) => break (s == self.subject.len()).then_some(s),
                (b'%', Some(b'b')) => match self.balance(s, p + 2)? {
                    Some(end) => (s, p) = (end, p + 4),
                    None => break None,
                },
                (b'%', Some(b'f')) => match self.frontier(s, p + 2)? {
                    Some(next) => p = next,
                    None => break None,
                },
                (b'%', Some(digit @ b'0'..=b'9')) => match self.again(s, digit)? {
                    Some(end) => (s, p) = (end, p + 2),
                    None => break None,
                },
                _ => {
                    let end = self.class_end(p)?;
                    let suffix = self.pattern_at(end);
                    if !self.single(s, p, end)? {
                        match suffix {
                            Some(b'*' | b'?' | b'-') => p = end + 1,
                            _ => break None,
                        }
                        continue;
                    }
                    match suffix {
                        Some(b'?') => match self.items(s + 1, end + 1)? {
                            Some(found) => break Some(found),
                            None => p = end + 1,
                        },
                        Some(b'+') => break self.most(s + 1, p, end)?,
                        Some(b'*') => break self.most(s, p, end)?,
                        Some(b'-') => break self.fewest(s, p, end)?,
                        _ => (s, p) = (s + 1, end),
                    }
                }
            }
        };
        self.depth -= 1;
        Ok(found)
    }

    /// Where the class that begins at `p` ends.
    fn class_end(&self, p: usize) -> Result<usize, Fault> {
        match self.pattern_at(p) {
            Some(b'%') if p + 1 >= self.pattern.len() => Err(Fault::Pattern("malformed pattern (ends with '%')")),
            Some(b'%') => Ok(p + 2),
            Some(b'[') => {
                let mut p = p + 1;
                if self.pattern_at(p) == Some(b'^') {
                    p += 1;
                }
                // A bracket that comes first is a member.
                loop {
                    match self.pattern_at(p) {
                        None => return Err(Fault::Pattern("malformed pattern (missing ']')")),
                        Some(b'%') => p = (p + 2).min(self.pattern.len().max(p + 1)),
                        Some(_) => p += 1,
                    }
                    if self.pattern_at(p) == Some(b']') {
                        return Ok(p + 1);
                    }
                }
            }
            _ => Ok(p + 1),
        }
    }

    /// Whether the byte at `s` is of the class between `p` and `end`.
    fn single(&mut self, s: usize, p: usize, end: usize) -> Result<bool, Fault> {
        let Some(byte) = self.subject.get(s).copied() else { return Ok(false) };
        Ok(match self.pattern_at(p) {
            Some(b'.') => true,
            Some(b'%') => self.pattern_at(p + 1).is_some_and(|class| is_of(byte, class)),
            Some(b'[') => {
                self.spend((end - p) / BYTES_PER_STEP)?;
                self.is_in_set(byte, p, end - 1)
            }
            other => other == Some(byte),
        })
    }

    /// Whether a byte is in the set whose brackets are at `p` and `last`.
    fn is_in_set(&self, byte: u8, p: usize, last: usize) -> bool {
        let at = |place: usize| self.pattern_at(place).unwrap_or_default();
        let negated = at(p + 1) == b'^';
        let mut p = p + 1 + usize::from(negated);
        while p < last {
            if at(p) == b'%' {
                if is_of(byte, at(p + 1)) {
                    return !negated;
                }
                p += 2;
            } else if at(p + 1) == b'-' && p + 2 < last {
                if (at(p)..=at(p + 2)).contains(&byte) {
                    return !negated;
                }
                p += 3;
            } else {
                if at(p) == byte {
                    return !negated;
                }
                p += 1;
            }
        }
        negated
    }

    fn most(&mut self, s: usize, p: usize, end: usize) -> Matched {
        let mut count = 0;
        while self.single(s + count, p, end)? {
            self.spend(1)?;
            count += 1;
        }
        loop {
            let found = self.items(s + count, end + 1)?;
            if found.is_some() || count == 0 {
                return Ok(found);
            }
            count -= 1;
        }
    }

    fn fewest(&mut self, mut s: usize, p: usize, end: usize) -> Matched {
        loop {
            let found = self.items(s, end + 1)?;
            if found.is_some() {
                return Ok(found);
            }
            if !self.single(s, p, end)? {
                return Ok(None);
            }
            s += 1;
        }
    }

    fn open(&mut self, capture: Capture, s: usize, p: usize) -> Matched {
        let level = self.level;
        *self.captures.get_mut(level).ok_or(Fault::Pattern("too many captures"))? = capture;
        self.level = level + 1;
        let found = self.items(s, p)?;
        if found.is_none() {
            self.level -= 1;
        }
        Ok(found)
    }

    fn close(&mut self, s: usize, p: usize) -> Matched {
        let open = (0..self.level).rev().find_map(|level| match self.captures[level] {
            Capture::Open(start) => Some((level, start)),
            _ => None,
        });
        let (level, start) = open.ok_or(Fault::Pattern("invalid pattern capture"))?;
        self.captures[level] = Capture::Closed(start, s - start);
        let found = self.items(s, p)?;
        if found.is_none() {
            self.captures[level] = Capture::Open(start);
        }
        Ok(found)
    }

    /// `%1`: what a capture holds, again.
    fn again(&mut self, s: usize, digit: u8) -> Matched {
        let number = i64::from(digit) - i64::from(b'1');
        let wrong = Fault::Capture(number + 1);
        let level = usize::try_from(number).ok().filter(|level| *level < self.level).ok_or(wrong)?;
        let (start, length) = match self.captures[level] {
            Capture::Open(_) => return Err(wrong),
            Capture::Position(_) => return Ok(None),
            Capture::Closed(start, length) => (start, length),
        };
        self.spend(length / BYTES_PER_STEP)?;
        let same = self.subject.get(s..s + length) == self.subject.get(start..start + length);
        Ok(same.then_some(s + length))
    }

    /// `%bxy`: from an `x` to the `y` that ends it.
    fn balance(&mut self, s: usize, p: usize) -> Matched {
        let (Some(opens), Some(closes)) = (self.pattern_at(p), self.pattern_at(p + 1)) else {
            return Err(Fault::Pattern("malformed pattern (missing arguments to '%b')"));
        };
        if self.subject.get(s) != Some(&opens) {
            return Ok(None);
        }
        let mut open = 1usize;
        let mut at = s + 1;
        while let Some(byte) = self.subject.get(at).copied() {
            self.spend(usize::from(at.is_multiple_of(BYTES_PER_STEP)))?;
            at += 1;
            if byte == closes {
                open -= 1;
                if open == 0 {
                    return Ok(Some(at));
                }
            } else if byte == opens {
                open += 1;
            }
        }
        Ok(None)
    }

    /// `%f[set]`: between a byte that is not in the set and one that is; where the pattern goes on. What is outside of
    /// the subject counts as a zero byte.
    fn frontier(&mut self, s: usize, p: usize) -> Matched {
        if self.pattern_at(p) != Some(b'[') {
            return Err(Fault::Pattern("missing '[' after '%f' in pattern"));
        }
        let end = self.class_end(p)?;
        self.spend((end - p) / BYTES_PER_STEP)?;
        let before = s.checked_sub(1).and_then(|before| self.subject.get(before)).copied().unwrap_or_default();
        let here = self.subject.get(s).copied().unwrap_or_default();
        let meets = !self.is_in_set(before, p, end - 1) && self.is_in_set(here, p, end - 1);
        Ok(meets.then_some(end))
    }
}

/// Whether a byte is of the class that `%` and a letter name; other characters name themselves.
fn is_of(byte: u8, class: u8) -> bool {
    let is = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'g' => byte.is_ascii_graphic(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 0x0b,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return byte == class,
    };
    is != class.is_ascii_uppercase()
}
