//! Makes a tree of a template's pieces.

use std::{slice, vec};

use super::{
    Entries, Expression, Field, Node,
    lex::{Piece, Token},
};

/// The most blocks and parentheses within each other.
const DEEPEST: usize = 16;
/// The functions of Go's templates; those that are not supported are called so.
const OTHERS: [&str; 23] = [
    "break", "block", "call", "continue", "define", "false", "ge", "gt", "html", "js", "le", "len", "lt",
    "nil", "print", "printf", "println", "range", "slice", "template", "true", "urlquery", "with",
];

/// Makes the tree; what is wrong is said in words.
pub(super) fn parse(pieces: Vec<Piece<'_>>) -> Result<Vec<Node>, String> {
    let mut pieces = pieces.into_iter();
    match block(&mut pieces, 0)? {
        (nodes, Stop::Text) => Ok(nodes),
        (_, Stop::Else(_)) => Err("{{else}} has no {{if}}".to_owned()),
        (_, Stop::End) => Err("{{end}} has no {{if}}".to_owned()),
    }
}

/// What ends a block.
enum Stop {
    /// The end of the text.
    Text,
    /// `{{else}}`, or `{{else if}}` with its condition.
    Else(Option<Expression>),
    /// `{{end}}`.
    End,
}

fn block(pieces: &mut vec::IntoIter<Piece<'_>>, depth: usize) -> Result<(Vec<Node>, Stop), String> {
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let tokens = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text.to_owned()));
                continue;
            }
            Piece::Action(tokens) => tokens,
        };
        match tokens.as_slice() {
            // A comment.
            [] => {}
            [Token::Word("end")] => return Ok((nodes, Stop::End)),
            [Token::Word("else")] => return Ok((nodes, Stop::Else(None))),
            [Token::Word("else"), Token::Word("if"), condition @ ..] => {
                return Ok((nodes, Stop::Else(Some(whole(condition)?))));
            }
            [Token::Word("end" | "else"), ..] => return Err("{{else}} and {{end}} stand alone".to_owned()),
            [Token::Word("if"), condition @ ..] => {
                deeper(depth)?;
                let condition = whole(condition)?;
                nodes.push(choice(pieces, condition, depth + 1)?);
            }
            expression => nodes.push(Node::Print(whole(expression)?)),
        }
    }
    Ok((nodes, Stop::Text))
}

/// Reads the rest of an `{{if}}` with this first condition.
fn choice(pieces: &mut vec::IntoIter<Piece<'_>>, first: Expression, depth: usize) -> Result<Node, String> {
    let mut branches = Vec::new();
    let mut condition = first;
    let otherwise = loop {
        let (nodes, stop) = block(pieces, depth)?;
        branches.push((condition, nodes));
        match stop {
            Stop::Else(Some(next)) => condition = next,
            Stop::Else(None) => match block(pieces, depth)? {
                (nodes, Stop::End) => break nodes,
                (_, Stop::Else(_)) => return Err("{{else}} stands after {{else}}".to_owned()),
                (_, Stop::Text) => return Err("{{if}} has no {{end}}".to_owned()),
            },
            Stop::End => break Vec::new(),
            Stop::Text => return Err("{{if}} has no {{end}}".to_owned()),
        }
    };
    Ok(Node::Choice { branches, otherwise })
}

fn deeper(depth: usize) -> Result<usize, String> {
    let too_deep = || format!("more than {DEEPEST} blocks or parentheses are within each other");
    (depth < DEEPEST).then_some(depth + 1).ok_or_else(too_deep)
}

/// Reads an expression that all tokens are of.
fn whole(tokens: &[Token<'_>]) -> Result<Expression, String> {
    let mut tokens = tokens.iter();
    let expression = call(&mut tokens, 0)?;
    if tokens.next().is_some() { Err(") has no (".to_owned()) } else { Ok(expression) }
}

/// Reads an operand, or a function with its operands, up to a closing parenthesis or the end.
fn call(tokens: &mut slice::Iter<'_, Token<'_>>, depth: usize) -> Result<Expression, String> {
    let mut ahead = tokens.clone();
    let Some(Token::Word(function)) = ahead.next() else {
        let one = operand(tokens, depth)?;
        return if is_at_end(tokens) {
            Ok(one)
        } else {
            Err("a value stands where a function should".to_owned())
        };
    };
    *tokens = ahead;
    match *function {
        "index" => return index(tokens),
        "not" | "or" | "and" | "eq" | "ne" => {}
        other => return Err(unknown(other)),
    }
    let mut operands = Vec::new();
    while !is_at_end(tokens) {
        operands.push(operand(tokens, depth)?);
    }
    let mut given = operands.into_iter();
    let expression = match (*function, given.next(), given.next(), given.len()) {
        ("not", Some(one), None, 0) => Expression::Not(Box::new(one)),
        ("or", Some(first), second, _) => {
            Expression::Or([first].into_iter().chain(second).chain(given).collect())
        }
        ("and", Some(first), second, _) => {
            Expression::And([first].into_iter().chain(second).chain(given).collect())
        }
        ("eq", Some(left), Some(right), _) => {
            Expression::Equal(Box::new(left), [right].into_iter().chain(given).collect())
        }
        ("ne", Some(left), Some(right), 0) => {
            Expression::Not(Box::new(Expression::Equal(Box::new(left), vec![right])))
        }
        (function, ..) => return Err(format!("{function} has the wrong number of operands")),
    };
    match &expression {
        Expression::Not(inner) if !is_comparable(inner) => Err(COMPARED.to_owned()),
        one if !is_comparable(one) => Err(COMPARED.to_owned()),
        _ => Ok(expression),
    }
}

const COMPARED: &str = "eq and ne compare texts only";

/// Returns whether a comparison is one of texts.
fn is_comparable(expression: &Expression) -> bool {
    match expression {
        Expression::Equal(left, right) => left.is_text() && right.iter().all(Expression::is_text),
        _ => true,
    }
}

fn unknown(word: &str) -> String {
    let why = if OTHERS.contains(&word) { "is not supported" } else { "is not a function" };
    format!("{word} {why}; want if, else, end, index, eq, ne, and, or, not")
}

fn is_at_end(tokens: &slice::Iter<'_, Token<'_>>) -> bool {
    matches!(tokens.as_slice().first(), None | Some(Token::Close))
}

fn operand(tokens: &mut slice::Iter<'_, Token<'_>>, depth: usize) -> Result<Expression, String> {
    match tokens.next() {
        Some(Token::Text(text)) => Ok(Expression::Text(text.clone())),
        Some(Token::Chain(names)) => field(names),
        Some(Token::Open) => {
            let inner = call(tokens, deeper(depth)?)?;
            match tokens.next() {
                Some(Token::Close) => Ok(inner),
                _ => Err("( has no )".to_owned()),
            }
        }
        Some(Token::Word(word @ ("index" | "eq" | "ne" | "and" | "or" | "not"))) => {
            Err(format!("{word} needs parentheses around it and its operands here"))
        }
        Some(Token::Word(word)) => Err(unknown(word)),
        Some(Token::Close) => Err("a value is missing before )".to_owned()),
        None => Err("a value is missing".to_owned()),
    }
}

fn index(tokens: &mut slice::Iter<'_, Token<'_>>) -> Result<Expression, String> {
    let want = r#"index wants .Labels or .Annotations, and a key in quotes, as in {{index .Labels "app"}}"#;
    let (Some(Token::Chain(names)), Some(Token::Text(key))) = (tokens.next(), tokens.next()) else {
        return Err(want.to_owned());
    };
    let of = if let [name] = names.as_slice() { entries(name) } else { None };
    match of {
        Some(of) if is_at_end(tokens) => Ok(Expression::Entry { of, key: key.clone(), is_needed: false }),
        _ => Err(want.to_owned()),
    }
}

fn entries(name: &str) -> Option<Entries> {
    Entries::ALL.into_iter().find(|entries| entries.name() == name)
}

fn field(names: &[&str]) -> Result<Expression, String> {
    let field = |name: &str| Field::ALL.into_iter().find(|field| field.name() == name);
    match names {
        [name] if entries(name).is_some() => Err(format!(".{name} needs a key, as in .{name}.app")),
        [name] => field(name).map(Expression::Field).ok_or_else(|| unknown_field(names)),
        [of, key] if !key.is_empty() => {
            let of = entries(of).ok_or_else(|| unknown_field(names))?;
            Ok(Expression::Entry { of, key: (*key).to_owned(), is_needed: true })
        }
        _ => Err(unknown_field(names)),
    }
}

fn unknown_field(names: &[&str]) -> String {
    let names = names.join(".");
    format!(".{names} does not exist; want .Name, .Namespace, .Domain, .Tag, .Labels.KEY or .Annotations.KEY")
}
