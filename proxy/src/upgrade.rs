//! After `101 Switching Protocols` the hop only copies bytes, until either side closes.

use http::{HeaderValue, Response, StatusCode, header};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;
use tracing::debug;

use crate::{
    body::ResponseBody,
    drain::{Drain, Stage},
    reply::Reply,
};

/// Bytes buffered in each direction of an upgraded connection. They are resident for each idle socket.
const BUFFER: usize = 4 * 1024;

/// Answers 101 and joins the two sides in a task that the drain waits for.
pub(crate) fn switch<G: Send + 'static>(
    mut response: Response<Incoming>,
    client: Option<OnUpgrade>,
    guard: G,
    drain: &Drain,
) -> Response<ResponseBody<G>> {
    let Some(client) = client else {
        return Reply::new(StatusCode::BAD_GATEWAY, "unasked-upgrade", "upstream switched protocols unasked")
            .into_response();
    };
    let upstream = hyper::upgrade::on(&mut response);
    let task = drain.clone();
    // For hyper the connection ends with the upgrade: from here on it is counted here.
    let open = drain.connection();
    drain.tasks().spawn(async move {
        let _until_closed = (guard, open);
        tokio::select! {
            ended = join(client, upstream) => if let Err(error) = ended {
                debug!(%error, "upgraded connection ended");
            },
            () = task.reached(Stage::Aborted) => {}
        }
    });
    let mut answer = Response::new(ResponseBody::own(""));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = std::mem::take(response.headers_mut());
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer
}

async fn join(
    client: OnUpgrade,
    upstream: OnUpgrade,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (client, upstream) = tokio::try_join!(client, upstream)?;
    let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
    copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER).await?;
    Ok(())
}
