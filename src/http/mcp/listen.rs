//! `subscriptions/listen`: a stream on which a client hears that resources are different from what they
//! were, and that other ones are there. Only what the principal may see is told.
//!
//! Nothing is queued: while a client does not read, changes become one.

use axum::extract::Request;
use http::Method;
use rmcp::{
    ErrorData,
    model::SubscriptionFilter,
    service::{SubscriptionContext, SubscriptionSendError},
};

use super::resources;
use crate::{
    app::changes::{Changes, Since, Topic},
    auth::{Principal, Scope},
};

/// Most addresses on one stream: twice as many as a fleet has agents, usually.
const MAX_ADDRESSES: usize = 256;

/// Whether this request wants such a stream. rmcp refuses a request whose header is not true to its
/// body.
pub(in crate::http) fn wants_stream(request: &Request) -> bool {
    let method = request.headers().get("mcp-method");
    request.method() == Method::POST
        && matches!(request.uri().path(), "/mcp" | "/" | "/mcp/")
        && method.is_some_and(|method| method == "subscriptions/listen")
}

/// What of it can be listened to.
pub(super) fn accepted(requested: &SubscriptionFilter) -> SubscriptionFilter {
    let mut accepted = SubscriptionFilter::new();
    accepted.resources_list_changed = requested.resources_list_changed;
    if !asks_too_much(requested) {
        let addresses = requested.resource_subscriptions.iter().flatten();
        let ours = addresses.filter(|uri| resources::topic(uri).is_some());
        accepted.resource_subscriptions = Some(ours.cloned().collect());
    }
    accepted
}

/// Tells what changes until the client goes away or the daemon stops.
pub(super) async fn run(
    since: Since,
    principal: &Principal,
    context: &SubscriptionContext,
) -> Result<(), ErrorData> {
    if !principal.allows(Scope::Read) {
        let message = format!("token `{}` lacks the scope `read`", principal.name());
        return Err(ErrorData::invalid_params(message, None));
    }
    if asks_too_much(context.requested()) {
        let message = format!("more than {MAX_ADDRESSES} resources on one stream; open another");
        return Err(ErrorData::invalid_params(message, None));
    }
    let (addresses, topics) = topics(context.accepted());
    let mut listener = since.listen(principal.projects().clone(), topics);
    let listen = async {
        while let Some(changes) = listener.next().await {
            if tell(context, &addresses, &changes).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = listen => {}
        () = context.cancelled() => {}
    }
    Ok(())
}

fn asks_too_much(requested: &SubscriptionFilter) -> bool {
    requested.resource_subscriptions.as_ref().is_some_and(|uris| uris.len() > MAX_ADDRESSES)
}

/// Each address once, and its topic at the same place.
fn topics(accepted: &SubscriptionFilter) -> (Vec<String>, Vec<Topic>) {
    let mut addresses: Vec<_> = accepted.resource_subscriptions.iter().flatten().cloned().collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.into_iter().filter_map(|uri| resources::topic(&uri).map(|topic| (uri, topic))).unzip()
}

async fn tell(
    context: &SubscriptionContext,
    addresses: &[String],
    changes: &Changes,
) -> Result<(), SubscriptionSendError> {
    let sink = context.sink();
    if changes.names && context.accepted().resources_list_changed == Some(true) {
        sink.notify_resource_list_changed().await?;
    }
    for &at in &changes.topics {
        sink.notify_resource_updated(addresses[at].clone()).await?;
    }
    Ok(())
}
