//! Writes to the API server.

use ebb_cluster::{CallError, Calls};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::DynamicObject,
};
use serde_json::{Value, from_value};

use crate::{
    outcome::{Reference, Write},
    world::{Fact, Found, Plan},
};

/// The field manager of these writes.
const MANAGER: &str = "ebb-serving";
/// The field manager of new objects. What is applied later belongs to [`MANAGER`]; what only this one named, as the
/// number of pods, stays as others change it.
const CREATOR: &str = "ebb-serving-create";

/// Writes to the API server.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    pub(super) calls: Calls,
}

/// What came of the writes for one object.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// What the API server answered.
    pub(super) facts: Vec<Fact>,
    /// The first write that failed, if it was none of the status, and why.
    pub(super) failed: Option<(Option<Write>, CallError)>,
}

impl Writer {
    /// Carries out a plan, one write after the other. A failure ends it, except that the status, which is last, is
    /// written nevertheless: it says what is known.
    pub(super) async fn carry_out(&self, plan: Plan) -> Written {
        let mut written = Written::default();
        for write in plan.writes {
            if let Err(error) = self.write(&write, &mut written.facts).await {
                written.failed = Some((Some(write), error));
                break;
            }
        }
        if let Some((of, object)) = plan.status {
            // Its own metadata has changed; it is examined again as it is now.
            if written.facts.iter().any(|fact| fact.is_about(&of)) {
                return written;
            }
            match self.status(&of, object).await {
                Ok(fact) => written.facts.extend(fact),
                Err(error) => {
                    written.failed.get_or_insert((None, error));
                }
            }
        }
        written
    }

    async fn write(&self, write: &Write, facts: &mut Vec<Fact>) -> Result<(), CallError> {
        match write {
            Write::Create(object) => {
                let of = object.reference();
                match self.create(&of, object.to_value()).await {
                    Ok(fact) => facts.extend(fact),
                    Err(error) => {
                        // What is in the way may be of no kind of ours, and not followed.
                        if error.is_conflict() {
                            facts.extend(self.get(&of).await.ok().flatten());
                        }
                        return Err(error);
                    }
                }
            }
            Write::Replace(object) => {
                facts.extend(self.replace(&object.reference(), object.to_value()).await?);
            }
            Write::Apply(object) => {
                let params = PatchParams::apply(MANAGER).force();
                facts.extend(
                    self.patch(&object.reference(), &params, &Patch::Apply(object.to_value())).await?,
                );
            }
            Write::Merge(of, patch) => {
                let params =
                    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
                facts.extend(self.patch(of, &params, &Patch::Merge(patch.clone())).await?);
            }
            Write::Delete(of, uid) => {
                self.delete(of, uid).await?;
                // It may stay for a while, until its finalizers are done; the watch tells when it is gone.
            }
        }
        Ok(())
    }

    async fn create(&self, of: &Reference, object: Value) -> Result<Option<Fact>, CallError> {
        let Some(object) = dynamic(object) else { return Ok(None) };
        let params = PostParams { field_manager: Some(CREATOR.to_owned()), ..PostParams::default() };
        let created = self.calls.call("create", self.api(of).create(&params, &object)).await?;
        Ok(fact(of, created))
    }

    async fn replace(&self, of: &Reference, object: Value) -> Result<Option<Fact>, CallError> {
        let Some(object) = dynamic(object) else { return Ok(None) };
        let replaced =
            self.calls.call("replace", self.api(of).replace(&of.name, &replacing(), &object)).await?;
        Ok(fact(of, replaced))
    }

    async fn status(&self, of: &Reference, object: Value) -> Result<Option<Fact>, CallError> {
        let Some(object) = dynamic(object) else { return Ok(None) };
        let api = self.api(of);
        let written = self.calls.call("status", api.replace_status(&of.name, &replacing(), &object)).await?;
        Ok(fact(of, written))
    }

    async fn patch(
        &self,
        of: &Reference,
        params: &PatchParams,
        patch: &Patch<Value>,
    ) -> Result<Option<Fact>, CallError> {
        let patched = self.calls.call("patch", self.api(of).patch(&of.name, params, patch)).await?;
        Ok(fact(of, patched))
    }

    async fn get(&self, of: &Reference) -> Result<Option<Fact>, CallError> {
        Ok(fact(of, self.calls.call("get", self.api(of).get(&of.name)).await?))
    }

    async fn delete(&self, of: &Reference, uid: &str) -> Result<(), CallError> {
        let only = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams { preconditions: Some(only), ..DeleteParams::background() };
        match self.calls.call("delete", self.api(of).delete(&of.name, &params)).await {
            // Gone, or another one of the same name.
            Err(error) if error.is_missing() || error.is_conflict() => Ok(()),
            deleted => deleted.map(drop),
        }
    }

    fn api(&self, of: &Reference) -> Api<DynamicObject> {
        let client = self.calls.client.clone();
        let resource = of.kind.resource();
        if of.namespace.is_empty() {
            Api::all_with(client, &resource)
        } else {
            Api::namespaced_with(client, &of.namespace, &resource)
        }
    }
}

fn replacing() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}

/// Returns an object as the client takes it.
fn dynamic(object: Value) -> Option<DynamicObject> {
    // Whatever has metadata is one.
    from_value(object).ok()
}

/// Returns what an answer tells. An answer that cannot be read tells nothing; the watch will.
fn fact(of: &Reference, object: DynamicObject) -> Option<Fact> {
    Found::read(of.kind, object).map(Fact::Is)
}
