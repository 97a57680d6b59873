//! Splits a template into its text and the tokens of its actions.

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Text between actions, trimmed as their markers say.
    Text(&'a str),
    /// What stands between `{{` and `}}`. A comment has no tokens.
    Action(Vec<Token<'a>>),
}

/// A token of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// `.Labels.app`, without dots.
    Chain(Vec<&'a str>),
    /// The name of a function, or a keyword.
    Word(&'a str),
    /// A literal, without quotes and escapes.
    Text(String),
    /// `(`.
    Open,
    /// `)`.
    Close,
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// Splits `source`; what is wrong with it is said in words.
pub(super) fn pieces(source: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = source;
    let mut is_trimmed = false;
    loop {
        let (text, action) = match rest.split_once("{{") {
            Some((text, action)) => (text, Some(action)),
            None => (rest, None),
        };
        let text = if is_trimmed { text.trim_start_matches(SPACES) } else { text };
        let left =
            action.and_then(|action| action.strip_prefix('-')).filter(|inner| inner.starts_with(SPACES));
        let text = if left.is_some() { text.trim_end_matches(SPACES) } else { text };
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        let Some(inner) = left.or(action) else { return Ok(pieces) };
        let (tokens, end) = tokens(inner)?;
        pieces.push(Piece::Action(tokens));
        (rest, is_trimmed) = (end.rest, end.is_trimmed);
    }
}

/// The end of an action.
struct End<'a> {
    rest: &'a str,
    /// Whether the space that follows is dropped.
    is_trimmed: bool,
}

fn tokens(inner: &str) -> Result<(Vec<Token<'_>>, End<'_>), String> {
    let mut tokens = Vec::new();
    let mut rest = inner;
    if let Some(comment) = inner.trim_start_matches(SPACES).strip_prefix("/*") {
        let (_, after) = comment.split_once("*/").ok_or("a comment has no end")?;
        return match end(after) {
            Some(end) => Ok((tokens, end)),
            None => Err("a comment is not alone in its {{ }}".to_owned()),
        };
    }
    loop {
        if let Some(end) = end(rest) {
            return Ok((tokens, end));
        }
        let (token, after) = token(rest.trim_start_matches(SPACES))?;
        tokens.push(token);
        rest = after;
    }
}

fn end(rest: &str) -> Option<End<'_>> {
    let trimmed = rest.trim_start_matches(SPACES);
    if let Some(rest) = trimmed.strip_prefix("-}}").filter(|_| trimmed.len() < rest.len()) {
        return Some(End { rest, is_trimmed: true });
    }
    trimmed.strip_prefix("}}").map(|rest| End { rest, is_trimmed: false })
}

/// Returns the first token of `text`, and what follows.
fn token(text: &str) -> Result<(Token<'_>, &str), String> {
    let first = text.chars().next().ok_or("{{ has no }}")?;
    let after = &text[first.len_utf8()..];
    match first {
        '(' => Ok((Token::Open, after)),
        ')' => Ok((Token::Close, after)),
        '`' => {
            let (literal, after) = after.split_once('`').ok_or("a text in ` ` has no end")?;
            Ok((Token::Text(literal.to_owned()), after))
        }
        '"' => quoted(after),
        '.' => Ok(chain(text)),
        '|' => Err("pipelines with | are not supported".to_owned()),
        '$' => Err("variables with $ are not supported".to_owned()),
        _ if is_of_a_name(first) => {
            let (word, after) = name(text);
            Ok((Token::Word(word), after))
        }
        other => Err(format!(
            "{other:?} is not supported; a key that has more than letters, digits and _ needs index, as in \
             {{{{index .Labels \"app.kubernetes.io/name\"}}}}"
        )),
    }
}

/// Reads names that each have a dot before them.
fn chain(text: &str) -> (Token<'_>, &str) {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(after) = rest.strip_prefix('.') {
        let (one, after) = name(after);
        names.push(one);
        rest = after;
    }
    (Token::Chain(names), rest)
}

fn name(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c| !is_of_a_name(c)).unwrap_or(text.len()))
}

fn is_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Reads a literal up to its closing quote.
fn quoted(text: &str) -> Result<(Token<'_>, &str), String> {
    let mut literal = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Text(literal), &text[at + 1..])),
            '\n' => break,
            '\\' => match chars.next() {
                Some((_, escaped @ ('"' | '\\'))) => literal.push(escaped),
                Some((_, other)) => return Err(format!("the escape \\{other} is not supported")),
                None => break,
            },
            other => literal.push(other),
        }
    }
    Err("a text in \" \" has no end".to_owned())
}
