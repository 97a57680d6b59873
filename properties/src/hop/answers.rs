//! All that a client heard on its connection, read as strictly as what the app receives.

use ebb_hops::message::{Framing, Head};

/// How many of the answers on `tape` are the app's. Each of the others is the hop's own, and gives a reason.
///
/// # Errors
///
/// What cannot be read without doubt by a client that has sent `bytes`.
pub(super) fn of_the_app(tape: &[u8], bytes: &[u8]) -> Result<usize, String> {
    let asks_for_head = bytes.windows(5).any(|window| window == b"HEAD ");
    let (mut count, mut rest) = (0, tape);
    while !rest.is_empty() {
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n").ok_or("closed within a head")? + 4;
        let head = Head::parse(&rest[..end])?;
        rest = &rest[end..];
        // Which of its requests was refused a client knows, and this does not: no body of the hop's begins like an answer.
        let to_head = asks_for_head && (rest.is_empty() || rest.starts_with(b"HTTP/1."));
        let length = match head.answer_framing(to_head)? {
            Framing::Nothing => 0,
            Framing::Length(length) => usize::try_from(length).unwrap_or(usize::MAX),
            other => return Err(format!("neither the app nor the hop says {other:?}: {head:?}")),
        };
        rest = rest.get(length..).ok_or_else(|| format!("closed within a body: {head:?}"))?;
        if (100..200).contains(&head.status()?) {
            continue;
        }
        match (head.all("x-app").len(), head.all("ebb-reason").len()) {
            (1, 0) => count += 1,
            (0, 1) => {}
            _ => return Err(format!("neither the app's answer nor the hop's: {head:?}")),
        }
        let closes = head.all("connection").iter().any(|value| value.eq_ignore_ascii_case(b"close"));
        if closes && !rest.is_empty() {
            return Err(format!("more comes after the last answer: {head:?}"));
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_answers_are_counted_and_nothing_else_passes() {
        let app = "HTTP/1.1 200 OK\r\nx-app: yes\r\ncontent-length: 0\r\n\r\n";
        let own =
            "HTTP/1.1 400 Bad Request\r\nebb-reason: x\r\ncontent-length: 3\r\nconnection: close\r\n\r\n";
        let count = |tape: &[&str], sent: &str| of_the_app(tape.concat().as_bytes(), sent.as_bytes()).ok();
        assert_eq!(count(&[], "GET"), Some(0));
        assert_eq!(count(&["HTTP/1.1 100 Continue\r\n\r\n", app, app, own, "no\n"], "GET / "), Some(2));
        assert_eq!(count(&[app, own], "HEAD / "), Some(1));
        for wrong in [
            &[app, own][..],
            &[app, own, "no"],
            &[app, "\r\n", app],
            &[app, "x"],
            &[own, "no\n", app],
            &["HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"],
            &["HTTP/1.1 200 OK\r\nx-app: yes\r\n\r\n"],
            &["HTTP/1.1 200 OK\r\nx-app: yes\r\nx-app: yes\r\ncontent-length: 0\r\n\r\n"],
        ] {
            assert_eq!(count(wrong, "GET / "), None, "{wrong:?}");
        }
    }
}
